"""Plates beside that of the data whose elements do not see each other's draws, as a plate promises."""

from collections.abc import Collection
from typing import Any

import pyro
import torch
from pyro import poutine
from torch import Tensor

from ppgen.inference.structure.layout import Layout
from ppgen.inference.structure.plates import Frame, frames_of
from ppgen.inference.structure.row_dependence import next_value
from ppgen.inference.structure.traces import sites
from ppgen.pair import keeping_buffers, split_batch
from ppgen.undisturbed import device_of, forked

_TRIALS = 4  # every value of finite support is moved in the first; values are drawn anew in the others


def separate_plates(pair: Any, batch: Any, layout: Layout, names: Collection[str]) -> frozenset[str]:
    """Plates around some sites, without the data plate, whose elements are seen to be independent.

    The latents of some elements of a plate are given other values; if that changes the log-density of another element,
    the plate joins what it should keep apart (a convolution over it, attention, a sum). The random state is restored.

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
    with (
        forked(device),
        torch.no_grad(),
        pair.running(),
        keeping_buffers(pair),
        pyro.validation_enabled(False),
    ):
        drawn = poutine.trace(pair.guide).get_trace(*args, **kwargs)
        stated = poutine.trace(poutine.replay(pair.model, trace=drawn)).get_trace(*args, **kwargs)
        for name in layout.marginalised:
            drawn.add_node(name, **stated.nodes[name])

        def densities(values: poutine.Trace) -> dict[tuple[bool, str], Tensor]:
            found = {}
            for of_model, program in enumerate((pair.guide, pair.model)):
                with forked(device):  # from one random state, because dropout is not to look like a dependence
                    trace = poutine.trace(poutine.replay(program, trace=values)).get_trace(*args, **kwargs)
                for name, site in sites(trace).items():
                    if not site["infer"].get("_deterministic"):
                        value = site["fn"].log_prob(site["value"], *site["args"], **site["kwargs"])
                        found[bool(of_model), name] = value, frames_of(site)
            return found

        first = densities(drawn)
        return frozenset(
            name for name, frame in frames.items() if _separate(drawn, frame, first, densities)
        )


def _separate(drawn: poutine.Trace, frame: Frame, first: Any, densities: Any) -> bool:
    for trial in range(_TRIALS):
        moved = torch.rand(frame.size).argsort().argsort() % 2 == trial % 2 if frame.size > 1 else None
        if moved is None:
            return True
        other = drawn.copy()
        for name, site in sites(drawn).items():
            if frame not in frames_of(site) or site["is_observed"]:
                continue
            value = next_value(site["fn"], site["value"]) if trial == 0 else None
            value = site["fn"].sample() if value is None else value
            chosen = moved.to(value.device).reshape(-1, *[1] * (-frame.dim - 1 + site["fn"].event_dim))
            other.nodes[name] = {**site, "value": torch.where(chosen, value, site["value"])}
        second = densities(other)
        if first.keys() != second.keys():
            return False
        for key, (before, frames) in first.items():
            after = second[key][0]
            if frame not in frames:
                continue
            if before.shape != after.shape:
                return False
            kept = (~moved).nonzero().squeeze(1).to(before.device)
            pair = [each.index_select(each.dim() + frame.dim, kept) for each in (before, after)]
            if not torch.allclose(*pair, 1e-4, equal_nan=True):
                return False
    return True
