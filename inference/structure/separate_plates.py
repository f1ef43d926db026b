"""Plates beside that of the data whose elements do not see each other's draws, as a plate promises."""

from collections.abc import Callable, Collection, Iterator
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from ppgen.inference.structure.held_draws import held_draws
from ppgen.inference.structure.layout import Layout
from ppgen.inference.structure.plates import Frame, frames_of
from ppgen.inference.structure.row_dependence import next_value
from ppgen.inference.structure.traces import element_law, sites
from ppgen.pair import split_batch
from ppgen.undisturbed import device_of, forked

_BIT = torch.distributions.Bernoulli

# Log-density of each site of guide (False) and model (True) by element of its plates, and the plates.
Densities = dict[tuple[bool, str], tuple[Tensor, tuple[Frame, ...]]]


def separate_plates(pair: Any, batch: Any, layout: Layout, names: Collection[str]) -> frozenset[str]:
    """Plates around some sites, without the data plate, whose elements are seen to be independent.

    The latents of some elements of a plate are given other values. If that changes the log-density of another element,
    the plate joins what it should keep apart (a convolution over it, attention, a sum). Each element is moved once
    while any other one is held. The random state is restored.

    Args:
        pair: A pair.
        batch: A batch of data.
        layout: Its structure.
        names: Sites of the guide.
    """
    frames = {frame.name: frame for name in names for frame in layout.sites[name].frames if frame.name != layout.plate}
    if not frames:
        return frozenset()
    args, kwargs = split_batch(batch)
    device = device_of(pair, args, kwargs)

    def densities(values: poutine.Trace) -> Densities:
        found: Densities = {}
        for of_model, program in ((False, pair.guide), (True, pair.model)):
            with forked(device, 0):  # from one random state, because dropout is not to look like a dependence
                trace = poutine.trace(poutine.replay(program, trace=values)).get_trace(*args, **kwargs)
            for name, site in sites(trace).items():
                if not site["infer"].get("_deterministic"):
                    density = site["fn"].log_prob(site["value"], *site["args"], **site["kwargs"])
                    found[of_model, name] = density, frames_of(site)
        return found

    with held_draws(pair, batch, layout) as (drawn, _):
        before = densities(drawn)
        return frozenset(name for name, frame in frames.items() if _separate(drawn, frame, before, densities))


def _separate(
    drawn: poutine.Trace, frame: Frame, before: Densities, densities: Callable[[poutine.Trace], Densities]
) -> bool:
    """Whether elements of a plate that are held do not change when the others move."""
    laws = [element_law(site["fn"]) for site in sites(drawn).values() if frame in frames_of(site)]
    several = any(getattr(law, "has_enumerate_support", False) and not isinstance(law, _BIT) for law in laws)
    for moved in _halves(frame.size):
        for step in (True, False) if several else (True,):  # of two values, or with a density, one other tells all
            after = densities(_with_others(drawn, frame, moved, step))
            if before.keys() != after.keys():
                return False
            for key, (density, frames) in before.items():
                if frame in frames and not _held(density, after[key][0], frame, moved):
                    return False
    return True


def _held(before: Tensor, after: Tensor, frame: Frame, moved: Tensor) -> bool:
    if before.shape != after.shape:
        return False
    held = (~moved).nonzero().squeeze(1).to(before.device)
    at = before.dim() + frame.dim
    return torch.allclose(before.index_select(at, held), after.index_select(at, held), 1e-4, equal_nan=True)


def _halves(size: int) -> Iterator[Tensor]:
    """Halves of the elements of a plate, by the binary digits of their numbers: any two are told apart, both ways."""
    number = torch.arange(size)
    for digit in range((size - 1).bit_length()):
        chosen = number // 2**digit % 2 == 1
        yield chosen
        yield ~chosen


def _with_others(drawn: poutine.Trace, frame: Frame, moved: Tensor, step: bool) -> poutine.Trace:
    """A trace with other values of the latents in some elements of a plate: the next ones of finite support, or new."""
    other = drawn.copy()
    for name, site in sites(drawn).items():
        if site["is_observed"] or frame not in frames_of(site):
            continue
        value = next_value(site["fn"], site["value"]) if step else None
        value = site["fn"].sample() if value is None else value
        chosen = moved.to(value.device).reshape(-1, *[1] * (-frame.dim - 1 + site["fn"].event_dim))
        other.nodes[name] = {**site, "value": torch.where(chosen, value, site["value"])}
    return other
