"""Fully connected layers up to a code and down again, of the same sizes in reverse."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ppgen.nn.activations import activation_named

Layers = Sequence[tuple[Tensor, Tensor]]


class MirroredLayers(nn.Module):
    r"""An encoder and a decoder that mirrors it; with tied weights the decoder has the encoder's, transposed.

    .. math:: h_l = f(h_{l-1} W_l + b_l), \quad \hat h_{l-1} = f(\hat h_l V_l + c_l), \quad V_l = W_l^T
              \text{ if tied}

    with f of the code as `code_activation` says and the lowest output affine. Weights start at Glorot's uniform law
    times the gain of the non-linearity, which lets deep stacks train without pretraining (tied ones serve both ways and
    have gain 1); biases at zero.

    Args:
        sizes: Units of the input, of each hidden layer and of the code.
        activation: Non-linearity of the hidden layers, a name of `ppgen.nn.activations`.
        code_activation: Non-linearity of the code.
        tied: Whether the decoder has the transposed weights of the encoder, throughout.

    Raises:
        ValueError: If a non-linearity is unknown or there is no layer.

    Example:
        >>> from ppgen.nn import MirroredLayers
        >>> import torch
        >>> layers = MirroredLayers((6, 4, 2))
        >>> code = layers.encode(torch.zeros(3, 6))
        >>> code.shape, layers.decode(code).shape
        (torch.Size([3, 2]), torch.Size([3, 6]))
    """

    def __init__(
        self, sizes: Sequence[int], activation: str = "tanh", code_activation: str = "linear", tied: bool = False
    ) -> None:
        super().__init__()
        if len(sizes) < 2:
            raise ValueError(f"sizes must hold the input and at least one layer, got {tuple(sizes)}.")
        self.sizes, self.tied = tuple(sizes), bool(tied)
        inner = activation_named(activation)
        self.activations = [*(inner for _ in sizes[2:]), activation_named(code_activation, "code_activation")]
        pairs = list(zip(sizes[:-1], sizes[1:], strict=True))
        gains = [1.0 if tied else each.gain for each in self.activations]  # tied ones serve both ways
        self.up = nn.ParameterList(
            _glorot(below, above, gain) for (below, above), gain in zip(pairs, gains, strict=True)
        )
        self.up_bias = nn.ParameterList(torch.zeros(above) for _, above in pairs)
        back = [1.0, *(inner.gain for _ in pairs[1:])]  # what the lowest one gives out is affine
        self.down = nn.ParameterList(
            () if tied else (_glorot(above, below, gain) for (below, above), gain in zip(pairs, back, strict=True))
        )
        self.down_bias = nn.ParameterList(torch.zeros(below) for below, _ in pairs)

    def encode(self, x: Tensor) -> Tensor:
        """Code: (..., input) -> (..., code)."""
        for weight, bias, activation in zip(self.up, self.up_bias, self.activations, strict=True):
            x = activation.apply(x @ weight + bias)
        return x

    def pushed(self, x: Tensor, tangent: Tensor) -> tuple[Tensor, Tensor]:
        """Code, and how it moves when the input moves along a tangent: J v, both (..., code)."""
        for weight, bias, activation in zip(self.up, self.up_bias, self.activations, strict=True):
            x = activation.apply(x @ weight + bias)
            tangent = (tangent @ weight) * activation.slope(x)
        return x, tangent

    def decode(self, code: Tensor) -> Tensor:
        """Affine output below: (..., code) -> (..., input)."""
        for layer in reversed(range(len(self.up))):
            code = code @ self._down(layer) + self.down_bias[layer]
            if layer:
                code = self.activations[layer - 1].apply(code)
        return code

    @property
    def output_bias(self) -> nn.Parameter:
        """Bias of the lowest output, (input,)."""
        return self.down_bias[0]

    def encoder_layers(self) -> list[tuple[Tensor, Tensor]]:
        """Weight (below, above) and bias (above,) of each layer, from the input up."""
        return list(zip(self.up, self.up_bias, strict=True))

    def decoder_layers(self) -> list[tuple[Tensor, Tensor]]:
        """Weight (above, below) and bias (below,) of each layer, from the code down."""
        return [(self._down(layer), self.down_bias[layer]) for layer in reversed(range(len(self.up)))]

    @torch.no_grad()
    def set_layers(self, encoder: Layers, decoder: Layers) -> None:
        """Copy weights and biases, in the order and shapes of `encoder_layers` and `decoder_layers`.

        Raises:
            ValueError: If a number of layers or a shape is another; if tied, if a weight is not the transposed one.
        """
        for name, given, own in (
            ("encoder", encoder, self.encoder_layers()),
            ("decoder", decoder, self.decoder_layers()),
        ):
            shapes = [tuple(tuple(tensor.shape) for tensor in layer) for layer in given]
            wanted = [tuple(tuple(tensor.shape) for tensor in layer) for layer in own]
            if shapes != wanted:
                raise ValueError(f"{name} must hold weights and biases of shapes {wanted}, got {shapes}.")
        if self.tied:
            for (weight, _), (back, _) in zip(encoder, reversed(decoder), strict=True):
                if not torch.equal(weight.T, back):
                    raise ValueError("decoder must have the transposed weights of the encoder, as they are tied.")
        for (weight, bias), (own_weight, own_bias) in zip(encoder, self.encoder_layers(), strict=True):
            own_weight.copy_(weight)
            own_bias.copy_(bias)
        for (weight, bias), (own_weight, own_bias) in zip(decoder, self.decoder_layers(), strict=True):
            own_weight.copy_(weight)
            own_bias.copy_(bias)

    def _down(self, layer: int) -> Tensor:
        return self.up[layer].T if self.tied else self.down[layer]


def _glorot(fan_in: int, fan_out: int, gain: float) -> Tensor:
    weight = torch.empty(fan_in, fan_out)
    nn.init.xavier_uniform_(weight, gain)
    return weight
