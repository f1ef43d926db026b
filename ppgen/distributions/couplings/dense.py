"""Couplings between two layers of a Boltzmann machine: linear maps with an adjoint."""

from typing import Protocol

import torch
from torch import Tensor

from ppgen.checks.arguments import check_tensors


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
        """The coupling with its tensors on another device or in another dtype."""
        ...


def matrix_of(coupling: Coupling, lower_size: int) -> Tensor:
    """A coupling as weights between single units: (lower size, upper size).

    Example:
        >>> import torch
        >>> matrix_of(Replicated(torch.ones(3, 2), torch.tensor([0.5, -1.0])), 3)[0]
        tensor([1.5000, 0.0000])
    """
    known = getattr(coupling, "matrix", None)
    if known is not None:
        return known()
    like = coupling.parameters()[0]
    return coupling.forward(torch.eye(lower_size, dtype=like.dtype, device=like.device))


class Dense:
    """Every lower unit joined to every upper unit.

    Args:
        weight: Weights W, shape (lower units, upper units).

    Raises:
        ValueError: If the weight is not two-dimensional.

    Example:
        >>> import torch
        >>> from ppgen.distributions import Dense
        >>> Dense(torch.zeros(3, 2)).forward(torch.ones(5, 3)).shape
        torch.Size([5, 2])
    """

    def __init__(self, weight: Tensor) -> None:
        check_tensors(weight=weight)
        if weight.dim() != 2:
            raise ValueError(f"weight must have shape (lower units, upper units), got {tuple(weight.shape)}.")
        self.weight = weight

    def parameters(self) -> list[Tensor]:
        """The weights, (lower units, upper units)."""
        return [self.weight]

    def forward(self, lower: Tensor) -> Tensor:
        """lower W: (..., lower units) -> (..., upper units)."""
        return lower @ self.weight

    def backward(self, upper: Tensor) -> Tensor:
        """upper W': (..., upper units) -> (..., lower units)."""
        return upper @ self.weight.mT

    def matrix(self) -> Tensor:
        """The weights, (lower units, upper units)."""
        return self.weight

    def check(self, lower_size: int, upper_size: int, names: tuple[str, str]) -> None:
        """Raise ValueError unless the weights have shape (lower_size, upper_size)."""
        if tuple(self.weight.shape) != (lower_size, upper_size):
            raise ValueError(
                f"The coupling of layers {names[0]!r} and {names[1]!r} needs weights of shape "
                f"({lower_size}, {upper_size}), got {tuple(self.weight.shape)}."
            )

    def to(self, *args: torch.device | torch.dtype) -> "Dense":
        """The coupling with its tensors on another device or in another dtype."""
        return Dense(self.weight.to(*args))  # type: ignore[call-overload]

    def __repr__(self) -> str:
        return f"Dense({self.weight.shape[0]}, {self.weight.shape[1]})"


class Replicated:
    r"""Every word of a document joined to every upper unit by the weights of its kind and one bias for all.

    .. math:: v^\top W h + D \, c \cdot h, \quad D = \sum_i v_i

    The upper layer's own bias, replicated as often as the document has words; its units have bias zero beside it.

    References:
        | Replicated Softmax: an Undirected Topic Model (Salakhutdinov and Hinton, 2009)

    Args:
        weight: Weights W, shape (vocabulary, upper units).
        bias: Biases c for each word, shape (upper units,).

    Raises:
        ValueError: If a shape does not fit.

    Example:
        >>> import torch
        >>> from ppgen.distributions import Replicated
        >>> Replicated(torch.zeros(3, 2), torch.tensor([0.5, -1.0])).forward(torch.tensor([1.0, 0.0, 3.0]))
        tensor([ 2., -4.])
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        check_tensors(weight=weight, bias=bias)
        if weight.dim() != 2 or bias.shape != weight.shape[1:]:
            raise ValueError(
                "weight must have shape (vocabulary, upper units) and bias (upper units,), got "
                f"{tuple(weight.shape)} and {tuple(bias.shape)}."
            )
        self.weight, self.bias = weight, bias

    def parameters(self) -> list[Tensor]:
        """Tensors that the term depends on: the weights and the biases."""
        return [self.weight, self.bias]

    def forward(self, lower: Tensor) -> Tensor:
        """lower W + D c: (..., vocabulary) -> (..., upper units)."""
        return lower @ self.weight + lower.sum(-1, keepdim=True) * self.bias

    def backward(self, upper: Tensor) -> Tensor:
        """upper W' + upper.c for every word: (..., upper units) -> (..., vocabulary)."""
        return upper @ self.weight.mT + (upper @ self.bias).unsqueeze(-1)

    def check(self, lower_size: int, upper_size: int, names: tuple[str, str]) -> None:
        """Raise ValueError unless the weights have shape (lower_size, upper_size)."""
        Dense(self.weight).check(lower_size, upper_size, names)

    def to(self, *args: torch.device | torch.dtype) -> "Replicated":
        """The coupling with its tensors on another device or in another dtype."""
        return Replicated(self.weight.to(*args), self.bias.to(*args))  # type: ignore[call-overload]

    def __repr__(self) -> str:
        return f"Replicated({self.weight.shape[0]}, {self.weight.shape[1]})"
