"""The law of one entry of a vector, given the parameters that a causal network computes."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor


class OutputLaw(ABC):
    """Law of one entry, from its parameters; what `distributions.Autoregressive` is made of beside a network.

    A subclass says how many parameters there are, the log-probability of a value, how uniform numbers become a draw,
    and how the network sees a value. It has no weights.
    """

    num_uniforms: int = 1

    @property
    @abstractmethod
    def num_parameters(self) -> int:
        """Parameters P of an entry: outputs of the network at each position."""

    @property
    @abstractmethod
    def support(self) -> Any:
        """Constraint that each value meets."""

    @property
    def levels(self) -> Tensor | None:
        """All values of an entry, (levels,), if they are finitely many."""
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
