"""Discrete laws with log-densities at values between those that they draw."""

import copy
from typing import Any

import torch
from pyro.distributions import Independent, MaskedDistribution, OneHotCategorical
from torch import Tensor


class LinearOneHot(OneHotCategorical):
    """One-hot law whose log-density is linear in the value, which need not be a vertex."""

    def log_prob(self, value: Tensor) -> Tensor:
        """Sum of value times log-probability, in nats: (..., categories) -> (...,)."""
        return (value * self.logits).sum(-1)


def continued(fn: Any) -> Any:
    """A law of binary or one-hot variables whose log-density takes values between them; masks are kept.

    That of Bernoulli variables is linear as it stands, and only no longer checks its values.

    Example:
        >>> from pyro.distributions import Bernoulli
        >>> continued(Bernoulli(torch.tensor(0.5))).log_prob(torch.tensor(0.3))
        tensor(-0.6931)
    """
    if isinstance(fn, Independent):
        return Independent(continued(fn.base_dist), fn.reinterpreted_batch_ndims, validate_args=False)
    if isinstance(fn, MaskedDistribution):
        return continued(fn.base_dist).mask(fn._mask)
    if isinstance(fn, torch.distributions.OneHotCategorical):
        return LinearOneHot(logits=fn.logits, validate_args=False)
    law = copy.copy(fn)
    law._validate_args = False
    return law
