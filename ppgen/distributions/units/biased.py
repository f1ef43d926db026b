"""What units with a linear energy have in common: a bias each, added to the input as the natural parameter."""

from typing import Any, TypeVar

from torch import Tensor

from ppgen.checks.arguments import check_count, check_tensors
from ppgen.distributions.units.units import Units, at_positions

T = TypeVar("T", bound="Biased")


class Biased(Units):
    """Units with an energy -b x and a bias each, which `positions` of them next to each other may share.

    The law depends on the input through b + input alone, so that an inverse temperature multiplies the bias. Units that
    take other arguments too write `with_bias(bias, positions=1)`, which hands them on; units with an energy beside -b x
    write `energy_terms`, `energy`, `scaled` and `interpolated`.

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

    def with_bias(self: T, bias: Tensor, positions: int = 1) -> T:
        """Units of the same kind with other biases, (size / positions,); by default one a unit."""
        return type(self)(bias, positions)

    def scaled(self: T, factor: float | Tensor) -> T:
        """Units with bias factor * b."""
        return self.with_bias(factor * self.bias)

    def interpolated(self: T, base: T, beta: float | Tensor) -> T:
        """Units with bias (1 - beta) b_base + beta b."""
        name = type(self).__name__
        if not isinstance(base, type(self)):
            raise TypeError(f"base must be {name} units, got {type(base).__name__}.")
        return self.with_bias((1 - beta) * base.bias + beta * self.bias)

    def to(self: T, *args: Any) -> T:
        """The units with their tensors on another device or in another dtype."""
        return self.with_bias(self.shared.to(*args), self.positions)
