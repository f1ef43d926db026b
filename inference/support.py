"""Whether data lie in the support of the sites that observe them."""

from typing import Any

import torch
from pyro import poutine
from torch.distributions import constraints

from ppgen.distributions.supports import spins
from ppgen.inference.layout import data_frame, sites
from ppgen.pair import keeping_buffers, split_batch
from ppgen.undisturbed import device_of, forked


@torch.no_grad()
def check_support(pair: Any, batch: Any) -> bool:
    """Raise if observed values lie outside the support of their distribution; the random state is restored.

    Args:
        pair: A pair.
        batch: Data to check: a tensor, a tuple or a mapping.

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
    for name, site in sites(model_trace).items():
        value = site["value"]
        if not site["is_observed"] or not isinstance(value, torch.Tensor):
            continue
        inside = site["fn"].support.check(value)
        if not inside.all():
            raise ValueError(f"Data at site {name!r} {outside(site['fn'].support, inside, value)}")
        if data_frame(site, pair.plate) is not None:  # a prior of parameters says nothing of the data
            any_bits &= takes_bits(site["fn"].support)
    return any_bits


def takes_bits(support: Any) -> bool:
    """Whether a support is all vectors of bits; counts and one-hot groups hold 0 and 1 too, but not any of them."""
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    return support is constraints.boolean


def outside(support: Any, inside: torch.Tensor, values: torch.Tensor) -> str:
    """What is wrong with data outside a support, and what to do: the rest of a sentence.

    Args:
        support: Constraint of the distribution that observes them.
        inside: Whether each row, or each value, lies in it.
        values: The data, (rows, ...).
    """
    values = torch.atleast_1d(values)
    rows = (~inside).reshape(len(values), -1).any(-1).nonzero()
    low, high = values.min().item(), values.max().item()
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    bits = support is constraints.boolean
    advice = ""
    if bits and low >= 0 and high <= 1:
        advice = ' Binarise grey values: datasets.load(name, binarize="threshold"), "fixed" or "dynamic".'
    elif bits:
        advice = " Rescale them to [0, 1] and binarise them, or use another likelihood."
    elif support is spins and bool(((values == 0) | (values == 1)).all()):
        advice = " Bits x are spins 2 x - 1."
    return (
        f"must lie in the support of its law ({'bits, 0 or 1' if bits else support}): {len(rows)} of {len(values)} "
        f"rows do not, the first is row {int(rows[0])}; values range from {low:g} to {high:g}.{advice}"
    )
