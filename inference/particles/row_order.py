"""Whether the rows of a batch are told apart by their places, so that another order is another data set."""

from contextlib import nullcontext
from typing import Any

import pyro
import torch
from pyro import poutine
from torch import Tensor

from ppgen.batch import changed, split_batch
from ppgen.inference.particles.log_prob import summed_log_prob
from ppgen.inference.structure.layout import Layout
from ppgen.inference.structure.recognition import moved_parameters
from ppgen.inference.structure.traces import data_frame, sites
from ppgen.pair import keeping_buffers
from ppgen.undisturbed import device_of, evaluating, forked

_TOLERANCE = 1e-3  # nats, relative or absolute; far above rounding, far below what another row's place gives


def rows_have_places(pair: Any, batch: Any, layout: Layout) -> bool:
    """Whether the log-density of a row changes when all rows, with their latents, are moved by one place.

    Such are guides with parameters for each row, `pyro.param("loc", torch.zeros(N))`, models that take constants by
    row from outside of their arguments, and Markov chains over the rows. Programs that cannot be told are taken to have
    none: those that draw at random beside their sites, those with other sites at another call, and machines.

    Args:
        pair: A pair, whose training flags, buffers and random state are as before afterwards.
        batch: All rows of its data.
        layout: Its structure.
    """
    rows = layout.num_rows
    if layout.plate is None or rows < 2 or layout.laws or layout.marginalised:
        return False

    def moved(part: Any) -> Any:
        return part.roll(1, 0) if isinstance(part, Tensor) and part.dim() and len(part) == rows else part

    with evaluating(pair), keeping_buffers(pair), pair.running(), pyro.validation_enabled(False):
        for parameters in (nullcontext(), moved_parameters(pair, batch)):  # those of all rows may start as the same
            with parameters:
                if _placed(pair, batch, changed(batch, moved), layout):
                    return True
    return False


def _placed(pair: Any, batch: Any, other: Any, layout: Layout) -> bool:
    """Whether the terms of the rows differ where the batch, and the latents with it, is moved by one row."""
    args, kwargs = split_batch(batch)
    device = device_of(pair, args, kwargs)
    told = []
    try:
        drawn = poutine.trace(pair.guide).get_trace(*args, **kwargs)
        for seed, (given, values) in enumerate(((batch, drawn), (batch, drawn), (other, _moved(drawn, layout)))):
            with forked(device, seed):
                told.append(_terms(pair, given, values, layout))
    except (RuntimeError, ValueError, IndexError, NotImplementedError, KeyError):
        return False
    first, again, after = told
    if not (first.keys() == again.keys() == after.keys()) or not all(_close(first[key], again[key]) for key in first):
        return False
    return not all(_close(value.roll(1, 1), after[key]) for key, value in first.items())


def _moved(trace: poutine.Trace, layout: Layout) -> poutine.Trace:
    """A trace with the values of each site in the data plate moved by one row."""
    other = trace.copy()
    for name, site in sites(trace).items():
        value = site["value"]
        axis = value.dim() - site["fn"].event_dim + layout.row_dim
        if data_frame(site, layout.plate) is not None and axis >= 0 and value.shape[axis] == layout.num_rows:
            other.nodes[name] = {**site, "value": value.roll(1, axis)}
    return other


def _terms(pair: Any, batch: Any, values: poutine.Trace, layout: Layout) -> dict[tuple[str, str], Tensor]:
    """Log-density of each site of both programs, (1, rows), or (1, 1) outside the data plate."""
    args, kwargs = split_batch(batch)
    found = {}
    for whose, program in (("guide", pair.guide), ("model", pair.model)):
        trace = poutine.trace(poutine.replay(program, trace=values)).get_trace(*args, **kwargs)
        for name, site in sites(trace).items():
            if not site["infer"].get("_deterministic"):
                found[whose, name] = summed_log_prob(site, layout)
    return found


def _close(first: Tensor, second: Tensor) -> bool:
    return first.shape == second.shape and torch.allclose(first, second, _TOLERANCE, _TOLERANCE, equal_nan=True)
