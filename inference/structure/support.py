"""Whether data lie in the support of the sites that observe them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.distributions.util import sum_rightmost
from torch import Tensor
from torch.distributions import constraints

from ppgen.batch import split_batch, tensors_of
from ppgen.distributions.units.supports import spins
from ppgen.inference.structure.missing import filled, numbers_that_count
from ppgen.inference.structure.traces import data_frame, of_data, sites, undirected_law
from ppgen.pair import keeping_buffers
from ppgen.undisturbed import device_of, forked

MASKS = (
    "Leave missing values out with a mask, with pyro.poutine.mask(mask=x.isfinite()): pyro.sample(..., obs=x), and "
    "give networks that read x numbers in their place."
)


@contextmanager
def explaining_missing(batch: Any, argument: str = "x") -> Iterator[None]:
    """Context in which a law that refuses its parameters because data are missing is told with what to do.

    Args:
        batch: The data, as tensors.
        argument: Name of the argument, for the message.

    Raises:
        ValueError: In the place of that of the law.
    """
    try:
        yield
    except ValueError as error:
        told = str(error).partition("\n")[0]
        missing = not all(bool(part.isfinite().all()) for part in tensors_of(batch))
        if not told.startswith(("Expected parameter", "Expected value")) or not missing:
            raise
        raise ValueError(
            f"{argument} holds NaN or infinity, and the programs cannot run on it. {MASKS} They raised: {told}"
        ) from error


_ABOVE = 1e-3  # nats for each count of a value; a log-mass so far above 0 is none of rounding


@torch.no_grad()
def check_support(pair: Any, batch: Any, *, first_row: int = 0) -> bool:
    """Raise if observed values lie outside the support of their distribution; the random state is restored.

    Each value is held against the law of its own site and row, as the programs state it for this batch. What stands
    under a mask is not looked at.

    Args:
        pair: A pair.
        batch: Data to check: a tensor, a tuple or a mapping.
        first_row: Number of the first of its rows among all data, for messages.

    Returns:
        Whether any bits are in the support, so that data known to be bits need not be looked at.

    Raises:
        ValueError: Names the site, what was expected, the range found and what to do.
    """
    args, kwargs = split_batch(batch)
    with forked(device_of(pair, args, kwargs)), pair.running(), keeping_buffers(pair):
        guide_trace = poutine.trace(pair.guide).get_trace(*args, **kwargs)
        model_trace = poutine.trace(poutine.replay(pair.model, trace=guide_trace)).get_trace(*args, **kwargs)
    any_bits = True
    for site in sites(model_trace).values():
        if not site["is_observed"] or not isinstance(site["value"], torch.Tensor):
            continue
        _check_site(site, pair.plate, first_row)
        if of_data(site, pair.plate):  # a prior of parameters says nothing of the data
            any_bits &= takes_bits(site["fn"].support)
    return any_bits


def _check_site(site: Any, plate: str | None, first_row: int) -> None:
    """Raise where an observed value is no event of its law, is missing under no mask, or lies outside the support."""
    name, fn, value = site["name"], site["fn"], site["value"]
    sizes = zip(reversed(value.shape), reversed(fn.event_shape), strict=False)
    if any(given == 1 < wanted for given, wanted in sizes) and undirected_law(fn) is None:
        given, wanted = tuple(value.shape[-fn.event_dim :]), tuple(fn.event_shape)
        raise ValueError(
            f"Data at site {name!r} have event shape {given}, and its law {wanted}: one number would be observed in "
            f"the place of several. Give the whole event, or write obs=value.expand(..., {', '.join(map(str, wanted))})"
            " if that is meant."
        )
    missing = ~value.isfinite() & torch.as_tensor(numbers_that_count(site), device=value.device)
    if missing.any():
        lacking = _rows_first(missing, site, plate, fn.event_dim)
        rows = lacking.reshape(len(lacking), -1).any(-1).nonzero()
        raise ValueError(
            f"Data at site {name!r} hold NaN or infinity: {len(rows)} of {len(lacking)} rows do, the first is row "
            f"{first_row + int(rows[0])}. {MASKS}"
        )
    values = filled(site)
    inside = fn.support.check(values)
    if not inside.all():
        rows_inside = _rows_first(inside, site, plate, 0)
        rows_of_values = _rows_first(values, site, plate, fn.event_dim)
        raise ValueError(f"Data at site {name!r} {outside(fn.support, rows_inside, rows_of_values, first_row)}")
    if fn.support.is_discrete and value.numel() and undirected_law(fn) is None:
        with pyro.validation_enabled(False), forked(values.device):  # an estimate of a log-density draws
            log_mass = fn.log_prob(values, *site["args"], **site["kwargs"])
        above = log_mass > _ABOVE * (1 + sum_rightmost(values.abs(), fn.event_dim))
        if above.any():
            rows = _rows_first(above, site, plate, 0)
            row = rows.reshape(len(rows), -1).any(-1).nonzero()[0]
            raise ValueError(
                f"The law at the discrete site {name!r} gives row {first_row + int(row)} a log-probability of "
                f"{log_mass.max().item():g}, and no probability is above 1: it is not normalised, or holds other "
                "values than those of its support. Use another law, or scale the data to its support."
            )


def _rows_first(values: Tensor, site: Any, plate: str | None, event_dim: int) -> Tensor:
    """Numbers at a site with the rows of the data plate first; one of a single number has one row."""
    frame = data_frame(site, plate)
    axis = -1 if frame is None or frame.dim is None else values.dim() - event_dim + frame.dim
    return values.movedim(axis, 0) if axis > 0 else torch.atleast_1d(values)


def takes_bits(support: Any) -> bool:
    """Whether a support is all vectors of bits; counts and one-hot groups hold 0 and 1 too, but not any of them."""
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    return support is constraints.boolean


def outside(support: Any, inside: torch.Tensor, values: torch.Tensor, first_row: int = 0) -> str:
    """What is wrong with data outside a support, and what to do: the rest of a sentence.

    Args:
        support: Constraint of the distribution that observes them.
        inside: Whether each row, or each value, lies in it.
        values: The data, (rows, ...).
        first_row: Number of the first of these rows among all data.
    """
    values = torch.atleast_1d(values)
    rows = (~inside).reshape(len(values), -1).any(-1).nonzero()
    low, high = values.min().item(), values.max().item()
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    bits = support is constraints.boolean
    levels = isinstance(support, constraints.integer_interval)
    wanted = "bits, 0 or 1" if bits else str(support)
    if levels:
        wanted = f"whole numbers from {support.lower_bound} to {support.upper_bound}"
    advice = ""
    if bits and low >= 0 and high <= 1:
        advice = ' Binarise grey values: datasets.load(name, binarize="threshold"), "fixed" or "dynamic".'
    elif bits:
        advice = " Rescale them to [0, 1] and binarise them, or use another likelihood."
    elif levels and low >= 0 and high <= 1:
        advice = ' Keep levels as whole numbers: datasets.load(name, integers="levels").'
    elif support is spins and bool(((values == 0) | (values == 1)).all()):
        advice = " Bits x are spins 2 x - 1."
    return (
        f"must lie in the support of its law ({wanted}): {len(rows)} of {len(values)} "
        f"rows do not, the first is row {first_row + int(rows[0])}; values range from {low:g} to {high:g}.{advice}"
    )
