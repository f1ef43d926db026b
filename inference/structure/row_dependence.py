"""Sites outside the data plate that depend on latents inside of it, and so join rows that are else independent."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from ppgen.batch import split_batch
from ppgen.inference.structure.held_draws import held_draws
from ppgen.inference.structure.layout import Layout
from ppgen.inference.structure.traces import data_frame, element_law, sites, undirected_law
from ppgen.undisturbed import device_of, forked

_REDRAWN = 3  # trials beside the one in which every value of finite support is moved


def with_coupled(pair: Any, batch: Any, layout: Layout) -> Layout:
    """The structure with `coupled` filled in, found by other values of the latents of the rows.

    A site outside the data plate is seen to depend on a latent inside of it if its log-density changes when the latent
    does, all latents outside of the plate being held. The random state is restored.

    Args:
        pair: A pair.
        batch: A batch of data.
        layout: Its structure.
    """
    if layout.plate is None:
        return layout
    args, kwargs = split_batch(batch)
    device = device_of(pair, args, kwargs)
    with held_draws(pair, batch, layout) as (drawn, stated):
        if not _outside(drawn, layout.plate) and not _outside(stated, layout.plate):
            return layout
        found: set[str] = set()
        for other in _moved(drawn, layout):
            # From one random state, because dropout is not to look like a dependence.
            with forked(device):
                first = _densities(pair, drawn, layout, args, kwargs)
            with forked(device):
                second = _densities(pair, other, layout, args, kwargs)
            found |= first.keys() ^ second.keys()  # whether it is drawn at all depends on them
            found |= {
                name
                for name in first.keys() & second.keys()
                if not torch.allclose(first[name], second[name], 1e-4, equal_nan=True)
            }
    return replace(layout, coupled=tuple(sorted(found)))


def _outside(trace: poutine.Trace, plate: str | None) -> dict[str, Any]:
    return {
        name: site
        for name, site in sites(trace).items()
        if data_frame(site, plate) is None
        and not site["infer"].get("_deterministic")
        and undirected_law(site["fn"]) is None
    }


def _densities(pair: Any, values: poutine.Trace, layout: Layout, args: Any, kwargs: Any) -> dict[str, Tensor]:
    """Log-densities of the sites outside the data plate; of the guide and the model where both have one."""
    found: dict[str, Tensor] = {}
    for program in (pair.guide, pair.model):
        trace = poutine.trace(poutine.replay(program, trace=values)).get_trace(*args, **kwargs)
        for name, site in _outside(trace, layout.plate).items():
            density = site["fn"].log_prob(site["value"], *site["args"], **site["kwargs"]).sum()
            found[name] = torch.stack([found[name], density]) if name in found else density
    return found


def _moved(trace: poutine.Trace, layout: Layout) -> Iterator[poutine.Trace]:
    """Traces with other values of the latents inside the data plate."""
    for trial in range(1 + _REDRAWN):
        other = trace.copy()
        for name, site in sites(trace).items():
            if data_frame(site, layout.plate) is None or site["is_observed"]:
                continue
            value = next_value(site["fn"], site["value"]) if trial == 0 else None
            other.nodes[name] = {**site, "value": site["fn"].sample() if value is None else value}
        yield other


def next_value(fn: Any, value: Tensor) -> Tensor | None:
    """The next value of finite support at every variable of a site; None at other laws."""
    element = element_law(fn)
    if isinstance(element, torch.distributions.Bernoulli):
        return 1 - value
    if isinstance(element, torch.distributions.Categorical):
        return (value + 1) % element.logits.shape[-1]
    return value.roll(1, -1) if isinstance(element, torch.distributions.OneHotCategorical) else None
