"""The law of one entry of a vector, given the parameters that a causal network computes."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor


class OutputLaw(ABC):
    """Law of one entry, from its parameters; what `distributions.Autoregressive` is made of beside a network.

    A subclass says how many parameters there are, the log-probability of a value, how uniform numbers become a draw,
    and how the network sees a value. It has no weights.
    """

    num_uniforms: int = 1  # that a draw takes

    @property
    @abstractmethod
    def num_parameters(self) -> int:
        """Parameters P of an entry: outputs of the network at each position."""

    @property
    @abstractmethod
    def support(self) -> Any:
        """Constraint that each value meets."""

    @property
    @abstractmethod
    def wanted(self) -> str:
        """What values are, in words, as errors say it."""

    @property
    def values(self) -> Tensor | None:
        """All values of an entry, shape (values,), if they are finitely many."""
        return None

    @abstractmethod
    def log_prob(self, parameters: Tensor, value: Tensor) -> Tensor:
        """log p in nats: (..., P) and (...,) -> (...,)."""

    @abstractmethod
    def draw(self, parameters: Tensor, uniforms: Tensor) -> Tensor:
        """Values from uniform numbers in [0, 1): (..., P) and (..., num_uniforms) -> (...,)."""

    def mean(self, parameters: Tensor) -> Tensor:
        """Mean of each entry: (..., P) -> (...,).

        Raises:
            NotImplementedError: If the law has none in closed form.
        """
        raise NotImplementedError(f"{type(self).__name__} has no mean in closed form.")

    def code(self, value: Tensor) -> Tensor:
        """What the network sees of a value, about [-1, 1] or standardised; by default the value itself."""
        return value

    def start(self, values: Tensor) -> Tensor | None:
        """Parameters of the law of each entry by itself, (D, P), from data (rows, D): what biases start from.

        None where the network's own start is as good.
        """
        return None


def inverse_cdf(logits: Tensor, uniforms: Tensor) -> Tensor:
    """Index whose cumulative probability is the first above a uniform number: (..., K) and (...,) -> (...,)."""
    cumulative = logits.softmax(-1).cumsum(-1)
    # In parts of the sum, as rounding may leave it below the largest uniform number.
    passed = cumulative <= (uniforms * cumulative[..., -1]).unsqueeze(-1)
    return passed.sum(-1).clamp(max=logits.shape[-1] - 1)


def inside(uniforms: Tensor) -> Tensor:
    """Uniform numbers in [0, 1) as ones in (0, 1), at which quantiles are finite."""
    return uniforms.clamp(min=torch.finfo(uniforms.dtype).eps / 4)
