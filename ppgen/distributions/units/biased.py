"""What units with a linear energy have in common: a bias each, added to the input as the natural parameter."""

from typing import Any, TypeVar

from torch import Tensor

from ppgen.checks.arguments import check_count, check_tensors
from ppgen.distributions.units.units import Units, at_positions

T = TypeVar("T", bound="Biased")


class Biased(Units):
    """Units with an energy -b x and a bias each, which `positions` of them next to each other may share.

    The law depends on the input through b + input alone, so that an inverse temperature multiplies the bias.

    Args:
        bias: Biases b, shape (size / positions,).
        positions: Units next to each other that share a bias.

    Raises:
        ValueError: If the bias is not one-dimensional.
    """

    def __init__(self, bias: Tensor, positions: int = 1) -> None:
        check_tensors(bias=bias)
        check_count("positions", positions)
        if bias.dim() != 1:
            raise ValueError(f"bias must have shape (units,), got {tuple(bias.shape)}.")
        self.shared, self.positions = bias, positions

    @property
    def bias(self) -> Tensor:
        """Bias of every unit, (size,)."""
        return at_positions(self.shared, self.positions)

    @property
    def size(self) -> int:
        """Number of units."""
        return len(self.shared) * self.positions

    def parameters(self) -> list[Tensor]:
        """Tensors that the energy depends on: the biases, each once."""
        return [self.shared]

    def energy_terms(self, value: Tensor) -> Tensor:
        """Energy of each unit, -b x, nats: (..., size)."""
        return -(value * self.bias)

    def energy(self, value: Tensor) -> Tensor:
        """-b.x: (..., size) -> (...,), nats."""
        return -(value @ self.bias)

    def scaled(self: T, factor: float | Tensor) -> T:
        """Units with bias factor * b."""
        return type(self)(factor * self.bias)

    def interpolated(self: T, base: T, beta: float | Tensor) -> T:
        """Units with bias (1 - beta) b_base + beta b."""
        name = type(self).__name__
        if not isinstance(base, type(self)):
            raise TypeError(f"base must be {name} units, got {type(base).__name__}.")
        return type(self)((1 - beta) * base.bias + beta * self.bias)

    def to(self: T, *args: Any) -> T:
        """The units with their tensors on another device or in another dtype."""
        return type(self)(self.shared.to(*args), self.positions)
