"""Convolutions and pooling from images up to a code, alone: what a classifier stands on."""

import math
from collections.abc import Sequence

from torch import Tensor, nn

from ppgen.nn.activations import Activation
from ppgen.nn.convolution import Convolution
from ppgen.nn.pooling import max_pool


class UpwardMaps(nn.Module):
    r"""Layers of convolution, non-linearity and max-pooling upwards, with weights of their own.

    .. math:: h_l = \mathrm{pool}\big(f(W_l * h_{l-1} + b_l)\big)

    Args:
        layers: Filters (maps, channels, rows, columns) and biases (maps,) of each layer, from the image up; copied.
        activation: Non-linearity of all layers.
        image_shape: Channels, rows and columns; the rows and columns are multiples of `pool` at every layer.
        pool: Rows and columns of a block.

    Raises:
        ValueError: If there is no layer.

    Example:
        >>> import torch
        >>> from ppgen.nn.activations import activation_named
        >>> layers = UpwardMaps([(torch.ones(3, 1, 3, 3), torch.zeros(3))], activation_named("relu"), (1, 8, 8), pool=2)
        >>> layers(torch.zeros(5, 64)).shape, layers.num_features
        (torch.Size([5, 48]), 48)
    """

    def __init__(
        self, layers: Sequence[tuple[Tensor, Tensor]], activation: Activation, image_shape: Sequence[int], pool: int
    ) -> None:
        super().__init__()
        if not layers:
            raise ValueError("layers must hold the filters and biases of one layer or more, got none.")
        self.image_shape, self.pool, self.activation = tuple(image_shape), pool, activation
        self.layers = nn.ModuleList()
        for weight, bias in layers:
            maps, channels, size, _ = weight.shape
            layer = Convolution(channels, maps, size).to(weight)
            layer.weight, layer.bias = (nn.Parameter(each.detach().clone()) for each in (weight, bias))
            self.layers.append(layer)

    @property
    def num_features(self) -> int:
        """Numbers that come out for each image: the pooled maps of the uppermost layer."""
        _, rows, columns = self.image_shape
        whole = self.pool ** len(self.layers)
        return math.prod((len(self.layers[-1].get_parameter("bias")), rows // whole, columns // whole))

    def reset_parameters(self) -> None:
        """Start all layers at random: filters at Glorot's uniform law times the gain, biases at zero."""
        for layer in self.layers:
            nn.init.xavier_uniform_(layer.get_parameter("weight"), self.activation.gain)
            nn.init.zeros_(layer.get_parameter("bias"))

    def forward(self, x: Tensor) -> Tensor:
        """Pooled maps of the uppermost layer: (..., pixels) -> (..., features)."""
        maps = x.unflatten(-1, self.image_shape)
        for layer in self.layers:
            maps, _ = max_pool(self.activation.apply(layer(maps)), self.pool)
        return maps.flatten(-3)
