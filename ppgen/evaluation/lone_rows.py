"""Whether the log-density of a datum is its own: the same alone as in a batch."""

from typing import Any

import numpy as np
import pyro
import torch
from pyro import poutine
from torch import Tensor

from ppgen import inference
from ppgen.batch import split_batch
from ppgen.evaluation.rows import CheckedRows
from ppgen.inference.particles.factors import summed_log_prob
from ppgen.inference.structure.layout import Layout
from ppgen.inference.structure.traces import data_frame, sites
from ppgen.pair import AnyPair, keeping_buffers

TOLERANCE = 1e-4  # of the larger of 1 nat and the log-densities that are added up
_COARSE = 1e-2  # from here on a difference is none of rounding
_LOOKED_AT = 1000  # rows among which one that differs from the first is looked for

Terms = dict[tuple[str, str], Tensor]  # by program and site, (rows,), nats


@torch.no_grad()
def check_lone_rows(pair: AnyPair, rows: CheckedRows, layout: Layout, at_once: int = 4) -> None:
    """Raise if the log-density of a row depends on the other rows of its batch; up to four rows are looked at.

    The guide's draws are replayed, each row alone with its own. Sites at which a program draws by itself from torch are
    not comparable, and left out.

    Args:
        pair: A pair, prepared and in evaluation mode; torch's random state moves.
        rows: The data.
        layout: Structure of the pair, without latents outside its data plate.
        at_once: Rows that may run together, at most.

    Raises:
        ValueError: Names the site, the row and the two values, and says what to do.
    """
    picked = _some(rows)[:at_once]
    if len(picked) < 2:
        return
    batch = rows.at(picked)
    args, kwargs = split_batch(batch)
    with keeping_buffers(pair), pair.running(), inference.attach(log_partition=0.0), pyro.validation_enabled(False):
        drawn = poutine.trace(pair.guide).get_trace(*args, **kwargs)
        if layout.marginalised:
            stated = poutine.trace(poutine.replay(pair.model, trace=drawn)).get_trace(*args, **kwargs)
            for name in layout.marginalised:
                drawn.add_node(name, **stated.nodes[name])
        together = _terms(pair, batch, drawn, layout)
        for term in together.values():
            if len(term) not in (1, len(picked)):
                raise ValueError(
                    f"The data plate has {len(term)} entries for {len(picked)} rows of x: write it over the rows of "
                    "the first argument, pyro.plate(name, len(x))."
                )
        for place, row in enumerate(picked):
            index = torch.tensor([place], device=pair.device)
            alone = _terms(pair, rows.at([row]), _rows_of(drawn, index, layout), layout)
            in_batch = {key: _at(value, place) for key, value in together.items()}
            if not _differ(in_batch, alone, TOLERANCE):
                continue
            again = _terms(pair, batch, drawn, layout)
            noisy = {key for key in together if not torch.allclose(again[key], together[key], TOLERANCE, TOLERANCE)}
            in_batch, alone = ({k: v for k, v in each.items() if k not in noisy} for each in (in_batch, alone))
            copies = index.expand(len(picked))
            repeated = _terms(pair, rows.at(picked[[place] * len(picked)]), _rows_of(drawn, copies, layout), layout)
            rounding = abs(_total({k: _at(v, 0) for k, v in repeated.items() if k not in noisy}) - _total(alone))
            if not _differ(in_batch, alone, TOLERANCE) or (
                not _differ(in_batch, alone, _COARSE) and abs(_total(in_batch) - _total(alone)) < 10 * rounding
            ):
                continue
            raise ValueError(_told(in_batch, alone, int(row), len(picked)))


def _told(in_batch: Terms, alone: Terms, row: int, number: int) -> str:
    nothing = torch.zeros(1)
    whose, name = max(
        {**in_batch, **alone}, key=lambda key: float(abs(in_batch.get(key, nothing) - alone.get(key, nothing)))
    )
    values = (float(each.get((whose, name), nothing)) for each in (in_batch, alone))
    return (
        f"Rows depend on each other: site {name!r} of the {whose} gives row {row} {next(values):.6g} nats in a batch "
        f"of {number} rows and {next(values):.6g} alone, so that log p(x) would depend on the rows that happen to be "
        "evaluated together. Compute each row from itself (no mean or sum over rows; batch normalisation in evaluation "
        "mode), and observe every row at its own place, obs=x with a row for each of the plate."
    )


def _some(rows: CheckedRows) -> np.ndarray:
    """A few rows, the first of which is not like the second where rows differ."""
    last, unlike = len(rows) - 1, []
    for part in rows.tensors():
        differs = part[:_LOOKED_AT] != part[:1]
        differs = differs.flatten(1).any(-1) if differs.dim() > 1 else differs
        unlike += differs.nonzero()[:1, 0].tolist()
    return np.unique([0, *unlike[:1], last // 2, last])


def _terms(pair: AnyPair, batch: Any, values: poutine.Trace, layout: Layout) -> Terms:
    """Log-densities of the sites inside the data plate; those of the guide negative, as a log-weight has them."""
    args, kwargs = split_batch(batch)
    found: Terms = {}
    for whose, sign, program in (("model", 1, pair.model), ("guide", -1, pair.guide)):
        trace = poutine.trace(poutine.replay(program, trace=values)).get_trace(*args, **kwargs)
        for name, site in sites(trace).items():
            frame = data_frame(site, layout.plate)
            if frame is not None and not site["infer"].get("_deterministic"):
                found[whose, name] = sign * summed_log_prob(site, layout)[0].double()
    return found


def _rows_of(trace: poutine.Trace, index: Tensor, layout: Layout) -> poutine.Trace:
    """Values of some rows of a run alone, without the plates, which have other sizes then."""
    chosen = poutine.Trace()
    for name, site in sites(trace).items():
        value = site["value"]
        axis = value.dim() - site["fn"].event_dim + layout.row_dim
        if data_frame(site, layout.plate) is not None and axis >= 0 and value.shape[axis] > 1:
            value = value.index_select(axis, index)
        chosen.add_node(name, **{**site, "value": value})
    return chosen


def _at(term: Tensor, place: int) -> Tensor:
    return term[place : place + 1] if len(term) > 1 else term


def _total(terms: Terms) -> float:
    return float(sum(value.sum() for value in terms.values()))


def _differ(first: Terms, second: Terms, tolerance: float) -> bool:
    """Whether two sums of log-densities differ: sites of which only one has a term, such as masked ones, may be 0."""
    sums = _total(first), _total(second)
    scale = max([1.0, *(float(value.abs().sum()) for each in (first, second) for value in each.values())])
    return not (sums[0] == sums[1] or abs(sums[0] - sums[1]) <= tolerance * scale or np.isnan(sums).all())
