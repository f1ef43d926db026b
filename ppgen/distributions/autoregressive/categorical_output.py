"""Whole numbers with a probability each."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from ppgen.checks.arguments import check_count
from ppgen.distributions.autoregressive.output_law import OutputLaw, inverse_cdf


@dataclass(frozen=True)
class CategoricalOutput(OutputLaw):
    r"""Whole number from 0 to `levels - 1`, with a logit for each.

    .. math:: \log p(x \mid a) = a_x - \log \sum_l e^{a_l}

    Networks see the numbers scaled to [-1, 1].

    References:
        | Pixel Recurrent Neural Networks (van den Oord, Kalchbrenner and Kavukcuoglu, 2016)
        | https://arxiv.org/abs/1601.06759

    Args:
        levels: How many values there are.

    Raises:
        ValueError: If there are fewer than two.

    Example:
        >>> import torch
        >>> from ppgen.distributions import CategoricalOutput
        >>> CategoricalOutput(4).log_prob(torch.zeros(3, 4), torch.tensor([0.0, 1.0, 3.0]))
        tensor([-1.3863, -1.3863, -1.3863])
    """

    levels: int

    def __post_init__(self) -> None:
        check_count("levels", self.levels, 2)

    @property
    def num_parameters(self) -> int:
        """One logit for each value."""
        return self.levels

    @property
    def support(self) -> Any:
        """0, ..., levels - 1."""
        return constraints.integer_interval(0, self.levels - 1)

    @property
    def wanted(self) -> str:
        """Whole numbers up to the last level."""
        return f"whole numbers from 0 to {self.levels - 1}"

    @property
    def values(self) -> Tensor:
        """0, ..., levels - 1."""
        return torch.arange(self.levels, dtype=torch.get_default_dtype())

    def log_prob(self, parameters: Tensor, value: Tensor) -> Tensor:
        """log p in nats: (..., levels) and (...,) -> (...,)."""
        logits, index = torch.broadcast_tensors(parameters, value.long().unsqueeze(-1))
        return logits.gather(-1, index[..., :1]).squeeze(-1) - parameters.logsumexp(-1)

    def draw(self, parameters: Tensor, uniforms: Tensor) -> Tensor:
        """Values whose cumulative probability is the first above the uniform: (..., levels), (..., 1) -> (...,)."""
        return inverse_cdf(parameters, uniforms.squeeze(-1)).to(parameters)

    def mean(self, parameters: Tensor) -> Tensor:
        """Mean number: (..., levels) -> (...,)."""
        return parameters.softmax(-1) @ self.values.to(parameters)

    def code(self, value: Tensor) -> Tensor:
        """Value scaled to [-1, 1]."""
        return value * (2 / (self.levels - 1)) - 1

    def start(self, values: Tensor) -> Tensor:
        """Logarithms of the values' frequencies in data, each counted once more: (rows, D) -> (D, levels)."""
        counts = torch.stack([(values == level).sum(0) for level in range(self.levels)], -1).to(values) + 1
        return (counts / counts.sum(-1, keepdim=True)).log()
