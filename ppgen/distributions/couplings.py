"""Couplings between two layers of a Boltzmann machine: linear maps with an adjoint."""

from typing import Protocol

import torch
from torch import Tensor


class Coupling(Protocol):
    """Bilinear term -lower' W upper of the energy, as the linear map W and its adjoint."""

    def parameters(self) -> list[Tensor]:
        """Tensors that the term depends on."""
        ...

    def forward(self, lower: Tensor) -> Tensor:
        """Input of the upper layer: (..., lower size) -> (..., upper size)."""
        ...

    def backward(self, upper: Tensor) -> Tensor:
        """Input of the lower layer: (..., upper size) -> (..., lower size)."""
        ...

    def check(self, lower_size: int, upper_size: int, names: tuple[str, str]) -> None:
        """Raise ValueError if layers of these sizes cannot be joined."""
        ...

    def to(self, *args: torch.device | torch.dtype) -> "Coupling":
        """The same coupling on another device or in another dtype."""
        ...


class Dense:
    """Every lower unit joined to every upper unit.

    Args:
        weight: Weights W, shape (lower units, upper units).

    Raises:
        ValueError: If the weight is not two-dimensional.

    Example:
        >>> import torch
        >>> Dense(torch.zeros(3, 2)).forward(torch.ones(5, 3)).shape
        torch.Size([5, 2])
    """

    def __init__(self, weight: Tensor) -> None:
        if weight.dim() != 2:
            raise ValueError(f"weight must have shape (lower units, upper units), got {tuple(weight.shape)}.")
        self.weight = weight

    def parameters(self) -> list[Tensor]:
        """The weights."""
        return [self.weight]

    def forward(self, lower: Tensor) -> Tensor:
        """lower W: (..., lower units) -> (..., upper units)."""
        return lower @ self.weight

    def backward(self, upper: Tensor) -> Tensor:
        """upper W': (..., upper units) -> (..., lower units)."""
        return upper @ self.weight.mT

    def check(self, lower_size: int, upper_size: int, names: tuple[str, str]) -> None:
        """Raise ValueError unless the weights have shape (lower_size, upper_size)."""
        if tuple(self.weight.shape) != (lower_size, upper_size):
            raise ValueError(
                f"The coupling of layers {names[0]!r} and {names[1]!r} needs weights of shape "
                f"({lower_size}, {upper_size}), got {tuple(self.weight.shape)}."
            )

    def to(self, *args: torch.device | torch.dtype) -> "Dense":
        """The same coupling on another device or in another dtype."""
        return Dense(self.weight.to(*args))  # type: ignore[call-overload]

    def __repr__(self) -> str:
        return f"Dense({self.weight.shape[0]}, {self.weight.shape[1]})"
