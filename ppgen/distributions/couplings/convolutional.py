"""Coupling of two layers of feature maps by filters that every position shares."""

import math
from collections.abc import Sequence

import torch
from torch import Size, Tensor
from torch.nn.functional import conv2d, conv_transpose2d

from ppgen.checks.arguments import check_count, check_kind, check_tensors


class Convolutional:
    r"""Every position of an image joined to the upper maps by the same filters.

    .. math:: x^\top W y = \sum_k \sum_{ij} y^k_{ij} \sum_c \sum_{rs} W^k_{c,rs} \, x^c_{i + r, j + s}

    Filters stay within the image, so that maps are smaller than it by the size of a filter less one. Values are flat:
    an image channel by channel, row by row. Where the upper units are `MaxPooled`, the units of a block of `pool` x
    `pool` positions stand next to each other, block after block. Where the lower ones are, in blocks of `pool_below` x
    `pool_below`, the image is that of their pooling units, and what they hear is heard by every unit of a block.

    References:
        | Convolutional Deep Belief Networks for Scalable Unsupervised Learning of Hierarchical Representations (Lee,
          Grosse, Ranganath and Ng, 2009)

    Args:
        weight: Filters W, shape (upper maps, channels, rows, columns).
        image_shape: Rows and columns of the lower image; of its pooling units where it has them.
        pool: Side of the blocks of upper units.
        pool_below: Side of the blocks of lower units.

    Raises:
        ValueError: If the shapes do not fit, or the maps cannot be cut into blocks.

    Example:
        >>> import torch
        >>> from ppgen.distributions import Convolutional
        >>> coupling = Convolutional(torch.ones(2, 1, 2, 2), (5, 5), pool=2)
        >>> coupling.map_shape, coupling.forward(torch.ones(25)).unique()
        ((2, 4, 4), tensor([4.]))
    """

    def __init__(self, weight: Tensor, image_shape: Sequence[int], *, pool: int = 1, pool_below: int = 1) -> None:
        check_tensors(weight=weight)
        check_count("pool", pool)
        check_count("pool_below", pool_below)
        if weight.dim() != 4:
            raise ValueError(
                f"weight must have shape (upper maps, channels, rows, columns), got {tuple(weight.shape)}."
            )
        self.weight, self.pool, self.pool_below = weight, pool, pool_below
        maps, channels, *size = weight.shape
        check_kind("image_shape", image_shape, (tuple, list, Size), "the rows and columns of an image")
        if len(image_shape) != 2:
            raise ValueError(f"image_shape must be (rows, columns), got {tuple(image_shape)}.")
        for length in image_shape:
            check_count("each number in image_shape", length)
        self.image_shape = (channels, int(image_shape[0]), int(image_shape[1]))
        self.map_shape = (maps, *map_shape(self.image_shape[1:], size, pool))

    def parameters(self) -> list[Tensor]:
        """Tensors that the term depends on: the filters."""
        return [self.weight]

    def forward(self, lower: Tensor) -> Tensor:
        """Response of every filter at every position: (..., lower units) -> (..., upper units)."""
        lead = lower.shape[:-1]
        blocks = lower.reshape(lead.numel(), *self.image_shape, self.pool_below**2)
        image = blocks.squeeze(-1) if self.pool_below == 1 else blocks.sum(-1)
        return in_blocks(conv2d(image, self.weight), self.pool).reshape(*lead, math.prod(self.map_shape))

    def backward(self, upper: Tensor) -> Tensor:
        """Sum of the filters at the units that are on: (..., upper units) -> (..., lower units)."""
        lead, (maps, rows, columns) = upper.shape[:-1], self.map_shape
        placed = in_maps(upper.reshape(lead.numel(), maps, rows * columns), (rows, columns), self.pool)
        image = conv_transpose2d(placed, self.weight).flatten(1)
        if self.pool_below > 1:
            image = image.unsqueeze(-1).expand(-1, -1, self.pool_below**2)
        return image.reshape(*lead, math.prod(self.image_shape) * self.pool_below**2)

    def check(self, lower_size: int, upper_size: int, names: tuple[str, str]) -> None:
        """Raise ValueError unless the layers hold as many units as the image and the maps have positions."""
        expected = math.prod(self.image_shape) * self.pool_below**2, math.prod(self.map_shape)
        if (lower_size, upper_size) != expected:
            raise ValueError(
                f"The coupling of layers {names[0]!r} and {names[1]!r} joins {expected[0]} units (an image of "
                f"{self.image_shape}, blocks of {self.pool_below**2}) to {expected[1]} (maps of {self.map_shape}), "
                f"got layers of {lower_size} and {upper_size}."
            )

    def to(self, *args: torch.device | torch.dtype) -> "Convolutional":
        """The coupling with its tensors on another device or in another dtype."""
        weight: Tensor = self.weight.to(*args)  # type: ignore[call-overload]
        return Convolutional(weight, self.image_shape[1:], pool=self.pool, pool_below=self.pool_below)

    def __repr__(self) -> str:
        maps, channels, rows, columns = self.weight.shape
        return f"Convolutional({channels} to {maps} maps, filters {rows} x {columns}, blocks {self.pool} x {self.pool})"


def map_shape(image_shape: Sequence[int], filter_shape: Sequence[int], pool: int) -> tuple[int, int]:
    """Rows and columns of the maps that filters make of an image.

    Raises:
        ValueError: If a filter does not fit into the image, or blocks of `pool` x `pool` do not fill a map.

    Example:
        >>> map_shape((28, 28), (7, 7), 2)
        (22, 22)
    """
    rows, columns = (image - size + 1 for image, size in zip(image_shape, filter_shape, strict=True))
    if rows < 1 or columns < 1:
        raise ValueError(f"A filter of {tuple(filter_shape)} does not fit into an image of {tuple(image_shape)}.")
    if pool < 1 or rows % pool or columns % pool:
        raise ValueError(
            f"Filters of {tuple(filter_shape)} make maps of {rows} x {columns} of an image of {tuple(image_shape)}, "
            f"which blocks of {pool} x {pool} do not fill. Choose another filter size or pool."
        )
    return rows, columns


def in_blocks(maps: Tensor, pool: int) -> Tensor:
    """Maps with the units of each block next to each other: (..., rows, columns) -> (..., rows x columns).

    Example:
        >>> in_blocks(torch.arange(8).reshape(2, 4), 2).tolist()
        [0, 1, 4, 5, 2, 3, 6, 7]
    """
    if pool == 1:
        return maps.flatten(-2)
    rows, columns = maps.shape[-2:]
    return maps.unflatten(-2, (rows // pool, pool)).unflatten(-1, (columns // pool, pool)).transpose(-3, -2).flatten(-4)


def in_maps(blocks: Tensor, shape: tuple[int, int], pool: int) -> Tensor:
    """The inverse of `in_blocks`: (..., rows x columns) -> (..., rows, columns).

    Example:
        >>> in_maps(in_blocks(torch.arange(8).reshape(2, 4), 2), (2, 4), 2).tolist()
        [[0, 1, 2, 3], [4, 5, 6, 7]]
    """
    if pool == 1:
        return blocks.unflatten(-1, shape)
    grid = (shape[0] // pool, shape[1] // pool, pool, pool)
    return blocks.unflatten(-1, grid).transpose(-3, -2).flatten(-2).flatten(-3, -2)
