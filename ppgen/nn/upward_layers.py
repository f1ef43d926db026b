"""Fully connected layers from the data up to a code, alone: what a classifier stands on."""

from collections.abc import Sequence

from torch import Tensor, nn

from ppgen.nn.activations import Activation


class UpwardLayers(nn.Module):
    r"""Layers upwards, with weights of their own.

    .. math:: h_l = f_l(h_{l-1} W_l + b_l)

    Args:
        layers: Weight (below, above) and bias (above,) of each layer, from the input up; copied.
        activations: Non-linearity of each layer.
        counting: Whether the input are counts of words, for each of which the lowest bias counts once.

    Raises:
        ValueError: If there is no layer, or not one non-linearity for each.

    Example:
        >>> import torch
        >>> from ppgen.nn.activations import activation_named
        >>> layers = UpwardLayers([(torch.zeros(4, 3), torch.zeros(3))], [activation_named("sigmoid")])
        >>> layers(torch.zeros(5, 4)).shape, layers.num_features
        (torch.Size([5, 3]), 3)
    """

    def __init__(
        self, layers: Sequence[tuple[Tensor, Tensor]], activations: Sequence[Activation], counting: bool = False
    ) -> None:
        super().__init__()
        if not layers or len(layers) != len(activations):
            raise ValueError(
                f"activations must hold one for each layer, got {len(activations)} for {len(layers)} layers."
            )
        self.weights = nn.ParameterList(nn.Parameter(weight.detach().clone()) for weight, _ in layers)
        self.biases = nn.ParameterList(nn.Parameter(bias.detach().clone()) for _, bias in layers)
        self.activations, self.counting = tuple(activations), counting

    @property
    def num_features(self) -> int:
        """Units of the uppermost layer."""
        return len(self.biases[-1])

    def reset_parameters(self) -> None:
        """Start all layers at random: weights at Glorot's uniform law times the gain, biases at zero."""
        for weight, bias, activation in zip(self.weights, self.biases, self.activations, strict=True):
            nn.init.xavier_uniform_(weight, activation.gain)
            nn.init.zeros_(bias)

    def forward(self, x: Tensor) -> Tensor:
        """Units of the uppermost layer: (..., input) -> (..., features)."""
        times = x.sum(-1, keepdim=True) if self.counting else 1.0
        for weight, bias, activation in zip(self.weights, self.biases, self.activations, strict=True):
            x, times = activation.apply(x @ weight + times * bias), 1.0
        return x
