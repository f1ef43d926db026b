"""Data simulated from a pair, a row for each simulation, with the latents that they came from."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ppgen import inference
from ppgen.batch import changed, parts_of
from ppgen.diagnostics.converters.machine_groups import MAX_EXACT_STATES
from ppgen.evaluation.likelihood.bidirectional import simulate
from ppgen.evaluation.rows import CheckedRows
from ppgen.inference.structure.machine_sites import undirected_sites
from ppgen.pair import AnyPair
from ppgen.training.data.batch_source import from_example


def simulated(pair: AnyPair, like: Any, count: int, sampler: Any, *, replaced: bool) -> tuple[Any, dict[str, Tensor]]:
    """Data and latents by site, drawn from the model by torch's global random state.

    Args:
        pair: A pair.
        like: A batch with a row for each simulation; None for models that take `num_rows`.
        count: Number of simulations.
        sampler: Sampler of undirected sites; None enumerates small machines.
        replaced: Whether all of the batch must be replaced, because it was made up.

    Raises:
        ValueError: If a machine is too large to be enumerated, a sampler was given for none, or data have no place.
    """
    energies = undirected_sites(pair, like)
    if sampler is None:
        for site, energy in energies.items():
            if energy.num_states(energy.smaller_side) > MAX_EXACT_STATES:
                raise ValueError(
                    f"The Boltzmann machine at site {site!r} is too large to be sampled exactly. Give a sampler of its "
                    "prior: sampler=ppgen.distributions.GibbsSampler(sweeps=1000), to whose draws the ranks then refer."
                )
    elif not energies:
        raise ValueError("sampler was given, but the model has no undirected site (no BoltzmannMachine).")
    with inference.attach(sampler="exact" if sampler is None else sampler) if energies else inference.attach():
        batch, latents = simulate(pair, count, like)
    if like is not None and replaced:
        if any(old is new for old, new in zip(parts_of(like), parts_of(batch), strict=True)):
            raise ValueError("The model takes arguments that it does not observe: give them as x=batch.")
    return batch, latents


def batch_like(run: Any, pair: AnyPair, x: Any, count: int) -> Any:
    """A batch with a row for each simulation; None for models that need none.

    Args:
        run: The run or the pair that was given.
        pair: Its pair.
        x: Rows given by the user, which are used in turn.
        count: Number of simulations.

    Raises:
        ValueError: If rows are needed, and there are none.
    """
    if x is not None:
        rows = CheckedRows(x, pair)
        index = torch.arange(count, device=pair.device) % len(rows)
        return changed(rows(0, min(len(rows), count)), lambda part: part[index])
    if "num_rows" in inspect.signature(pair.model).parameters:
        return None
    config = getattr(run, "config", {})
    content = config.get("model", {}).get("example") if isinstance(config, Mapping) else None
    if content is None:
        raise ValueError(
            f"x is needed to simulate data of a {type(pair).__name__}: a few rows as the model takes them."
        )
    return changed(from_example(content), lambda part: part.new_zeros(count, *part.shape[1:]).to(pair.device))
