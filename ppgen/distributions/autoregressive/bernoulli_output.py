"""Bits."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid

from ppgen.distributions.autoregressive.output_law import OutputLaw


@dataclass(frozen=True)
class BernoulliOutput(OutputLaw):
    r"""Bit with a logit.

    .. math:: \log p(x \mid a) = x a - \log(1 + e^a)

    Example:
        >>> import torch
        >>> from ppgen.distributions import BernoulliOutput
        >>> BernoulliOutput().log_prob(torch.zeros(3, 1), torch.ones(3))
        tensor([-0.6931, -0.6931, -0.6931])
    """

    @property
    def num_parameters(self) -> int:
        """One, the logit."""
        return 1

    @property
    def support(self) -> Any:
        """0 or 1."""
        return constraints.boolean

    @property
    def wanted(self) -> str:
        """Bits."""
        return "bits, 0 or 1"

    @property
    def values(self) -> Tensor:
        """0 and 1."""
        return torch.tensor([0.0, 1.0])

    def log_prob(self, parameters: Tensor, value: Tensor) -> Tensor:
        """log p in nats: (..., 1) and (...,) -> (...,)."""
        logits = parameters.squeeze(-1)
        return value * logits + logsigmoid(-logits)  # exact where softplus rounds, above 20

    def draw(self, parameters: Tensor, uniforms: Tensor) -> Tensor:
        """Bits `u < p`: (..., 1) and (..., 1) -> (...,)."""
        return (uniforms < parameters.sigmoid()).to(parameters).squeeze(-1)

    def mean(self, parameters: Tensor) -> Tensor:
        """Probability of 1: (..., 1) -> (...,)."""
        return parameters.sigmoid().squeeze(-1)

    def start(self, values: Tensor) -> Tensor:
        """Logits of the means of data, held within [.001, .999]: (rows, D) -> (D, 1)."""
        return torch.logit(values.mean(0).clamp(0.001, 0.999)).unsqueeze(-1)
