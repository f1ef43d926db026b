"""Features of images: convolutions and poolings, then one layer of units."""

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import max_pool2d, relu

from ppgen.checks.arguments import check_count
from ppgen.nn.convolution import Convolution


class ImageFeatures(nn.Module):
    r"""Rectified features of images: at each stage filters of 3 x 3 and a pooling by the largest of 2 x 2, then units.

    .. math:: h_l = \mathrm{pool}(\mathrm{relu}(W_l * h_{l-1} + b_l)), \quad h_0 = x, \qquad
              f = \mathrm{relu}(V h_L + c)

    Where a number of rows or columns is odd, the last block of a pooling is smaller.

    Args:
        image_shape: Shape of a row as an image: (rows, columns), (channels, rows, columns) or, with 1 or 3 channels,
            (rows, columns, channels).
        filters: Filters of each stage.
        width: Features F.

    Raises:
        TypeError: If filters are no sequence.
        ValueError: If a size is no whole number of at least 1, or the shape is none of these.

    Example:
        >>> import torch
        >>> from ppgen.nn import ImageFeatures
        >>> ImageFeatures((8, 8), filters=(4, 8), width=16)(torch.zeros(5, 64)).shape
        torch.Size([5, 16])
    """

    def __init__(self, image_shape: Sequence[int], filters: Sequence[int] = (16, 32), width: int = 128) -> None:
        super().__init__()
        self.image_shape = channels_first(image_shape)
        self.last = tuple(image_shape) != self.image_shape[-len(image_shape) :]
        if not isinstance(filters, Sequence) or isinstance(filters, str) or not filters:
            raise TypeError(f"filters must be a sequence of whole numbers, one for each stage, got {filters!r}.")
        for size in filters:
            check_count("each number in filters", size)
        check_count("width", width)
        channels, *sides = self.image_shape
        counts = [channels, *filters]
        self.stages = nn.ModuleList(
            Convolution(below, above, size=3, gain=math.sqrt(2))
            for below, above in zip(counts[:-1], counts[1:], strict=True)
        )
        for _ in filters:
            sides = [-(-side // 2) for side in sides]
        self.units = nn.Linear(counts[-1] * math.prod(sides), width)

    @property
    def num_pixels(self) -> int:
        """Numbers of a row: channels, rows and columns together."""
        return math.prod(self.image_shape)

    def forward(self, x: Tensor) -> Tensor:
        """Features: (..., pixels) -> (..., width)."""
        images = self.images(x)
        for stage in self.stages:
            images = max_pool2d(relu(stage(images)), 2, ceil_mode=True)
        return relu(self.units(images.flatten(1))).reshape(*x.shape[:-1], -1)

    def images(self, x: Tensor) -> Tensor:
        """Rows as images: (..., pixels) -> (rows, channels, rows, columns)."""
        channels, rows, columns = self.image_shape
        if self.last:
            return x.reshape(-1, rows, columns, channels).movedim(-1, 1)
        return x.reshape(-1, channels, rows, columns)

    def rows(self, images: Tensor) -> Tensor:
        """The inverse of `images`: (rows, channels, rows, columns) -> (rows, pixels)."""
        return (images.movedim(1, -1) if self.last else images).flatten(1)


def channels_first(image_shape: Sequence[int]) -> tuple[int, int, int]:
    """Channels, rows and columns of a shape that may have its channels last, or none.

    Raises:
        ValueError: If it is no shape of an image.

    Example:
        >>> channels_first((8, 8)), channels_first((28, 20, 3))
        ((1, 8, 8), (3, 28, 20))
    """
    sizes = tuple(image_shape) if isinstance(image_shape, Sequence) and not isinstance(image_shape, str) else ()
    if len(sizes) not in (2, 3) or not all(type(size) is int and size >= 1 for size in sizes):
        raise ValueError(
            f"image_shape must be (rows, columns), (channels, rows, columns) or (rows, columns, channels), "
            f"got {image_shape!r}."
        )
    if len(sizes) == 2:
        return 1, sizes[0], sizes[1]
    if sizes[0] not in (1, 3) and sizes[2] in (1, 3):  # as data sets and figures read it
        return sizes[2], sizes[0], sizes[1]
    return sizes[0], sizes[1], sizes[2]
