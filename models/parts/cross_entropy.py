"""Minus the cross-entropy between grey levels and probabilities, which looks like a log-likelihood and is none."""

from typing import Any

import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor
from torch.nn.functional import softplus


class CrossEntropy(TorchDistribution):
    r"""Score of numbers x in [0, 1] by probabilities p, which is no law of x.

    .. math:: x \log p + (1 - x) \log (1 - p), \quad p = \sigma(\ell)

    For bits it is the Bernoulli's log-probability. Its exponential does not integrate to 1 over [0, 1], so values are
    no nats of a density and compare with no other model's; the continuous Bernoulli is the law with that kernel.

    References:
        | The Continuous Bernoulli: Fixing a Pervasive Error in Variational Autoencoders (Loaiza-Ganem and Cunningham,
          2019)
        | https://arxiv.org/abs/1907.06845

    Args:
        logits: (...), one for each number.

    Example:
        >>> CrossEntropy(torch.zeros(2)).log_prob(torch.tensor([0.3, 1.0]))
        tensor([-0.6931, -0.6931])
    """

    arg_constraints = {"logits": constraints.real}
    support = constraints.unit_interval
    has_rsample = False

    def __init__(self, logits: Tensor, validate_args: bool | None = None) -> None:
        self.logits = logits
        super().__init__(logits.shape, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "CrossEntropy":
        """Scores with logits of a larger batch shape."""
        new: CrossEntropy = self._get_checked_instance(CrossEntropy, _instance)
        new.logits = self.logits.expand(batch_shape)
        super(CrossEntropy, new).__init__(torch.Size(batch_shape), validate_args=False)
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        """The score of each number, of the broadcast shape."""
        return value * self.logits - softplus(self.logits)

    @property
    def mean(self) -> Tensor:
        """The probabilities, at which the expected score of x is largest where E[x] is given."""
        return torch.sigmoid(self.logits)

    def sample(self, sample_shape: Any = None) -> Tensor:
        """Refuses.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            "A cross-entropy is no law of grey levels, so that nothing can be drawn from it. Take "
            "likelihood='continuous-bernoulli', or 'bernoulli' on bits."
        )
