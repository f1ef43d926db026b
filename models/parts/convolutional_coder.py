"""Convolutions from images to a grid of vectors, and back."""

import math
from typing import Any

from torch import Tensor, nn


class ConvolutionalCoder(nn.Module):
    """Strided convolutions that halve rows and columns, and transposed ones that double them, with relu units between.

    Args:
        shape: Channels, rows and columns of the images; the last two are multiples of 2^halvings.
        channels: Maps of the hidden layers.
        halvings: How often rows and columns are halved.
        size: Numbers at each place of the grid.

    Example:
        >>> import torch
        >>> coder = ConvolutionalCoder((1, 8, 8), channels=4, halvings=1, size=3)
        >>> vectors = coder.encode(torch.zeros(5, 64))
        >>> vectors.shape, coder.decode(vectors.flatten(1)).shape
        (torch.Size([5, 16, 3]), torch.Size([5, 64]))
    """

    def __init__(self, shape: tuple[int, int, int], channels: int, halvings: int, size: int) -> None:
        super().__init__()
        maps, rows, columns = shape
        self.image_shape, self.size = shape, size
        self.grid = (rows >> halvings, columns >> halvings)
        halved: list[nn.Module] = []
        doubled: list[nn.Module] = []
        for layer in range(halvings):
            halved += [nn.Conv2d(channels if layer else maps, channels, 4, 2, 1), nn.ReLU()]
            last = layer == halvings - 1
            doubled += [
                nn.ConvTranspose2d(channels, maps if last else channels, 4, 2, 1),
                *([] if last else [nn.ReLU()]),
            ]
        middle = channels if halvings else maps
        self.up = nn.Sequential(*halved, nn.Conv2d(middle, channels, 3, 1, 1), nn.ReLU(), nn.Conv2d(channels, size, 1))
        last_layer = [] if halvings else [nn.Conv2d(channels, maps, 3, 1, 1)]
        self.down = nn.Sequential(nn.Conv2d(size, channels, 3, 1, 1), nn.ReLU(), *doubled, *last_layer)

    @property
    def output_bias(self) -> nn.Parameter:
        """Bias of the images, one for each channel."""
        last: Any = self.down[-1]
        bias: nn.Parameter = last.bias
        return bias

    def encode(self, x: Tensor) -> Tensor:
        """Vectors at each place: (..., features) -> (..., places, size)."""
        images = x.reshape(-1, *self.image_shape)
        return self.up(images).flatten(2).mT.reshape(*x.shape[:-1], math.prod(self.grid), self.size)

    def decode(self, vectors: Tensor) -> Tensor:
        """Outputs of each pixel: (..., places x size) -> (..., features)."""
        maps = vectors.reshape(-1, math.prod(self.grid), self.size).mT.unflatten(2, self.grid)
        return self.down(maps).reshape(*vectors.shape[:-1], math.prod(self.image_shape))
