"""Fully connected networks."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn


class MLP(nn.Sequential):
    """Fully connected layers, each but the last followed by a non-linearity.

    Weights start at Glorot's uniform law and biases at zero (Glorot and Bengio, 2010).

    Args:
        sizes: Units of the input, of every hidden layer and of the output; the output layer has the non-linearity
            too if `activate_last`.
        activation: Class of the non-linearity.
        activate_last: Whether the last layer is followed by the non-linearity.

    Raises:
        ValueError: If fewer than two sizes are given or one is not positive.

    Example:
        >>> import torch
        >>> from ppgen.nn import MLP
        >>> MLP((4, 8, 2))(torch.zeros(3, 4)).shape
        torch.Size([3, 2])
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: Callable[[], nn.Module] = nn.Tanh,
        activate_last: bool = False,
    ) -> None:
        if len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(f"sizes must be at least two positive numbers of units, got {tuple(sizes)}.")
        layers: list[nn.Module] = []
        for index, (fan_in, fan_out) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
            linear = nn.Linear(fan_in, fan_out)
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
            layers.append(linear)
            if activate_last or index < len(sizes) - 2:
                layers.append(activation())
        super().__init__(*layers)

    @property
    def output(self) -> nn.Linear:
        """The last linear layer."""
        return next(layer for layer in reversed(list(self)) if isinstance(layer, nn.Linear))

    def forward(self, input: Tensor) -> Tensor:
        """Output of the last layer: (..., sizes[0]) -> (..., sizes[-1])."""
        return super().forward(input)
