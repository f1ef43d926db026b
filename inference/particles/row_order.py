"""Whether rows are told apart by their places: by parameters or constants of each, which no other order fits."""

from typing import Any

import pyro
import torch
from pyro import poutine
from torch import Tensor

from ppgen.batch import Arguments, split_batch
from ppgen.inference.particles.given_values import factors_at, with_same_rows
from ppgen.inference.structure.layout import Layout
from ppgen.inference.structure.recognition import moved_parameters
from ppgen.inference.structure.traces import data_frame, sites
from ppgen.pair import keeping_buffers
from ppgen.undisturbed import device_of, forked


def rows_by_place(pair: Any, batch: Any, layout: Layout) -> bool:
    r"""Whether a datum has another log-density in another place of the batch.

    .. math:: \log p(x_{\pi(b)}, z_{\pi(b)}) \ne (\log p(x, z))_{\pi(b)}

    So it is where a guide has one parameter per row (`pyro.param("loc", torch.zeros(len(x)))`), or a program reads
    constants of the rows from outside. Tried by moving all rows, and the latents with them, by one place. Programs that
    cannot be told, as they draw at random beside their sites, are taken to be as most are.

    Args:
        pair: A pair.
        batch: All its data.
        layout: Its structure.
    """
    if layout.plate is None or layout.num_rows < 2 or layout.laws:
        return False
    device = device_of(pair, *split_batch(batch))
    with torch.no_grad(), keeping_buffers(pair), pyro.validation_enabled(False), forked(device):
        try:
            # Parameters of the rows may all start from one value, so others are looked at.
            with pair.running(), moved_parameters(pair, batch):
                args, kwargs = split_batch(batch)
                drawn = poutine.trace(pair.guide).get_trace(*args, **kwargs)
                stated = poutine.trace(poutine.replay(pair.model, trace=drawn)).get_trace(*args, **kwargs)
                values = with_same_rows(drawn, stated)
                first, again = (_densities(pair, batch, values, layout) for _ in range(2))
                moved = _densities(pair, _moved_batch(batch, layout), _moved_values(values, layout), layout)
        except (RuntimeError, ValueError, IndexError, NotImplementedError, KeyError):
            return False
    if first.keys() != again.keys() or any(not _close(first[name], again[name]) for name in first):
        return False
    return first.keys() == moved.keys() and any(not _close(first[name].roll(1, 1), moved[name]) for name in first)


def _densities(pair: Any, batch: Any, values: poutine.Trace, layout: Layout) -> dict[tuple[str, str], Tensor]:
    """Log-densities of the sites in the data plate: (1, rows) each."""
    return {key: factor.columns for key, factor in factors_at(pair, batch, values, layout).items() if factor.inside}


def _moved_batch(batch: Any, layout: Layout) -> Arguments:
    def moved(value: Any) -> Any:
        rows = isinstance(value, Tensor) and value.dim() and len(value) == layout.num_rows
        return value.roll(1, 0) if rows else value

    args, kwargs = split_batch(batch)
    return Arguments(tuple(map(moved, args)), {name: moved(value) for name, value in kwargs.items()})


def _moved_values(drawn: poutine.Trace, layout: Layout) -> poutine.Trace:
    values = drawn.copy()
    for name, site in sites(drawn).items():
        value, dim = site["value"], layout.row_dim - site["fn"].event_dim
        if data_frame(site, layout.plate) is not None and value.dim() >= -dim:
            values.nodes[name] = {**site, "value": value.roll(1, dim)}
    return values


def _close(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-3, atol=1e-3, equal_nan=True)
