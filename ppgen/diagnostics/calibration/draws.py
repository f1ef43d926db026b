"""Posterior draws of every simulation, and the truth beside them: by the guide, by chains."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ppgen import inference
from ppgen.diagnostics.calibration.latents import Latents, Sites
from ppgen.inference.structure.points import check_no_points
from ppgen.inference.structure.traces import sites
from ppgen.pair import AnyPair
from ppgen.rhat import effective_sample_size


@dataclass(frozen=True)
class Drawn:
    """Simulated latents, and draws of the posterior given the data that were simulated from them.

    Attributes:
        truth: The latents, (simulations, ...).
        dims: Names of their dimensions after the first.
        method: Where the draws come from, in words.
        num_samples: Draws of each simulation.
        draws: Draws of some simulations, from the first, to the last, and their data: (draws, rows, ...).
        densities: log p(z) and log p(x | z) of those at draws: each (draws, rows), nats, up to a constant of each row.
        autocorrelation_time: Of chains, in steps.
    """

    truth: Latents
    dims: dict[str, list[str]]
    method: str
    num_samples: int
    draws: Callable[[int, int, Any], Latents]
    densities: Callable[[int, int, Any, Latents], tuple[Tensor, Tensor]]
    autocorrelation_time: float | None = None


def drawn_by_pair(
    pair: AnyPair,
    x: Any,
    truth: Mapping[str, Tensor],
    rows: int,
    kernel: inference.PosteriorKernel | None,
    settings: Mapping[str, Any],
    vectorize: bool,
) -> Drawn:
    """Independent draws of the guide, or thinned ones of chains of all data at once.

    Args:
        pair: A pair.
        x: Simulated data.
        truth: Latents that they came from, as the model draws them.
        rows: Number of simulations.
        kernel: What moves chains; None for the guide.
        settings: Of `inference.sample_posterior`; of the guide `num_samples` alone.
        vectorize: False for programs that cannot broadcast over draws.
    """
    found = Sites(pair, x, vectorize)
    latents = {name: place.rows_first(truth[name], 1, rows)[0] for name, place in found.places.items()}
    dims = {name: place.dims for name, place in found.places.items()}

    def densities(first: int, last: int, part: Any, values: Latents) -> tuple[Tensor, Tensor]:
        return found.densities(part, values)

    if kernel is None:
        check_no_points(
            found.layout.points,
            "ranks among its draws, which are all the same,",
            "Rank chains, posterior=ppgen.inference.HMC() or another kernel of posteriors, or give a guide that draws "
            "the site.",
        )
        count = settings["num_samples"]

        def by_guide(first: int, last: int, part: Any) -> Latents:
            return guide_draws(found, part, last - first, count)

        return Drawn(latents, dims, "the guide", count, by_guide, densities)
    chains = inference.sample_posterior(pair, x, kernel=kernel, **settings).draws
    method = "Hamiltonian Monte Carlo" if isinstance(kernel, inference.HMC) else type(kernel).__name__
    return drawn_by_chains(latents, dims, method, chains, densities)


def guide_draws(found: Sites, batch: Any, rows: int, count: int) -> Latents:
    """Independent draws of the guide, (count, rows, ...)."""
    with inference.attach(log_partition=0.0):  # a constant, of which no draw depends
        weights = inference.log_weights(found.pair, batch, count, vectorize=found.vectorize, layout=found.layout)
    each = count // len(weights.guide_traces)
    return {
        name: torch.cat([place.rows_first(sites(trace)[name]["value"], each, rows) for trace in weights.guide_traces])
        for name, place in found.places.items()
    }


def drawn_by_chains(
    truth: Latents, dims: dict[str, list[str]], method: str, chains: Mapping[str, Tensor], densities: Any
) -> Drawn:
    """Every so-manieth draw of chains, (chains, steps, rows, ...), by the autocorrelation time of the slowest unit.

    Raises:
        ValueError: If that leaves none.
    """
    time, steps = slowest(chains), next(iter(chains.values())).shape[1]
    each = max(1, round(time))
    if each > steps:
        raise ValueError(
            f"The autocorrelation time of the chains, {time:.0f} steps, is longer than num_samples={steps}, so that no "
            "draw is left after thinning. Ask for more, or for a kernel that moves farther."
        )
    kept = {name: value[:, each - 1 :: each].flatten(0, 1) for name, value in chains.items()}

    def draws(first: int, last: int, part: Any) -> Latents:
        return {name: value[:, first:last] for name, value in kept.items()}

    return Drawn(truth, dims, method, len(next(iter(kept.values()))), draws, densities, time)


def slowest(draws: Mapping[str, Tensor]) -> float:
    """Longest autocorrelation time of all units, in steps, where chains of all rows are taken together.

    Args:
        draws: By site, (chains, steps, rows, ...).
    """
    times = [1.0]
    for value in draws.values():
        chains, steps, rows = value.shape[:3]
        values = value.reshape(chains, steps, rows, -1).double()
        spread = values.std((0, 1), correction=0).clamp(min=1e-300)
        values = (values - values.mean((0, 1))) / spread  # each row has a posterior of its own
        for unit in values.movedim(-1, 0):
            told = unit.permute(0, 2, 1).reshape(chains * rows, steps)
            told = told[told.var(-1) > 0]
            size = effective_sample_size(told) if len(told) else math.nan
            if size == size:
                times.append(told.numel() / size)
    return max(times)
