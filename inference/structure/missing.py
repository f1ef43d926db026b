"""Values that are missing: what stands under a mask of an observed site counts for nothing, whatever it is."""

from typing import Any

import torch
from pyro.distributions import Independent, MaskedDistribution
from torch import Tensor
from torch.distributions import biject_to, constraints

from ppgen.distributions.units.supports import spins


def numbers_that_count(site: Any) -> Tensor | bool:
    """Which numbers of an observed value are under no mask, broadcastable to the value; True for all of them."""
    found: Tensor | bool = _over_events(site["mask"], site["fn"].event_dim)
    law = site["fn"]
    while isinstance(law, (MaskedDistribution, Independent)):
        if isinstance(law, MaskedDistribution):
            found = found & _over_events(law._mask, law.event_dim)
        law = law.base_dist
    return found


def filled(site: Any) -> Any:
    """The value of an observed site with numbers inside its support in the place of those under a mask.

    A mask takes them out of the log-density, but not NaN out of its gradient: 0 times NaN is NaN.
    """
    value = site["value"]
    kept = numbers_that_count(site)
    if kept is True or not isinstance(value, Tensor) or not value.numel():
        return value
    return torch.where(torch.as_tensor(kept, device=value.device), value, _inside(site["fn"].support, value))


def _over_events(mask: Any, event_dim: int) -> Tensor | bool:
    if not isinstance(mask, Tensor):
        return mask is not False
    return mask.bool().reshape(mask.shape + (1,) * event_dim)


def _inside(support: Any, like: Tensor) -> Tensor:
    """A value in a support, of the shape of another or one that broadcasts to it."""
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    zeros = torch.zeros_like(like)
    if support is constraints.one_hot:
        zeros[..., 0] = 1
        return zeros
    if support is spins:
        return zeros + 1
    if support.is_discrete:
        return zeros + getattr(support, "lower_bound", 0)
    try:
        transform = biject_to(support)
        return transform(zeros.new_zeros(transform.inverse_shape(zeros.shape)))
    except NotImplementedError:
        return zeros
