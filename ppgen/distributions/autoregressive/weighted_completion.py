"""Weighted draws of vectors of which any entries are known."""

import math
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class WeightedCompletion:
    """Weighted draws of vectors given a part of them, an estimate: no single draw is one of the law.

    Args:
        samples: Draws with the known entries as they are, (draws, ..., D).
        log_weights: Logarithms of their weights, in nats, (draws, ...): log p(known entries, each given those before).

    Example:
        >>> import torch
        >>> from ppgen import distributions, nn
        >>> law = distributions.Autoregressive(nn.CausalLinear(3), distributions.BernoulliOutput())
        >>> completion = law.weighted_completion(torch.tensor([float("nan"), 1.0, 0.0]), num_samples=50)
        >>> completion.samples.shape, float(completion.ess.round()), float(completion.log_prob_known.exp())
        (torch.Size([50, 3]), 50.0, 0.25)
    """

    samples: Tensor
    log_weights: Tensor

    @property
    def ess(self) -> Tensor:
        """Effective number of draws of each vector, (sum w)^2 / sum w^2, (...,)."""
        return (2 * self.log_weights.logsumexp(0) - (2 * self.log_weights).logsumexp(0)).exp()

    @property
    def log_prob_known(self) -> Tensor:
        """Estimate of log p(known) in nats, the logarithm of the mean weight: a lower bound in expectation, (...,)."""
        return self.log_weights.logsumexp(0) - math.log(len(self.log_weights))

    @property
    def mean(self) -> Tensor:
        """Weighted mean of the draws, (..., D), biased as 1 / ess."""
        weights = self.log_weights.softmax(0).unsqueeze(-1)
        return (weights * self.samples).sum(0)

    def __repr__(self) -> str:
        smallest = float(self.ess.min()) if self.ess.numel() else math.nan
        shape = tuple(self.samples.shape)
        return f"WeightedCompletion({shape}, smallest effective size {smallest:.1f} of {len(self.samples)} draws)"
