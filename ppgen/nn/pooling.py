"""Pooling of maps by the largest number of each block, and where it stood."""

import math
from collections.abc import Sequence

from torch import Tensor


def max_pool(maps: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Largest number of each block of size x size that does not overlap others, and its place, the switch.

    Written by reshaping: the gradient goes to one number of each block, the first of equal ones, on every device.

    Args:
        maps: (..., rows, columns), both multiples of `size`.
        size: Rows and columns of a block.

    Returns:
        The numbers and their places 0, ..., size^2 - 1, row by row: (..., rows / size, columns / size) each.

    Example:
        >>> import torch
        >>> from ppgen.nn import max_pool
        >>> values, switches = max_pool(torch.tensor([[0.0, 2.0, 5.0, 1.0], [1.0, 0.0, 3.0, 0.0]]), 2)
        >>> values.tolist(), switches.tolist()
        ([[2.0, 5.0]], [[1, 0]])
    """
    values, switches = in_blocks(maps, size).max(-1)
    return values, switches


def in_blocks(maps: Tensor, size: int) -> Tensor:
    """Numbers of each block side by side: (..., rows, columns) -> (..., rows / size, columns / size, size^2)."""
    rows, columns = maps.shape[-2:]
    apart = maps.unflatten(-2, (rows // size, size)).unflatten(-1, (columns // size, size))
    return apart.transpose(-3, -2).flatten(-2)


def from_blocks(blocks: Tensor, size: int) -> Tensor:
    """The inverse of `in_blocks`: (..., rows / size, columns / size, size^2) -> (..., rows, columns)."""
    return blocks.unflatten(-1, (size, size)).transpose(-3, -2).flatten(-4, -3).flatten(-2)


def switch_bits(shape: Sequence[int], size: int) -> float:
    """Bits that the switches of maps carry beside the numbers: log2(size^2) for each block.

    What unpooling by switches passes around the code, as long as nothing makes some places likelier than others.

    Args:
        shape: Of the maps: (maps, rows, columns).
        size: Rows and columns of a block.

    Example:
        >>> from ppgen.nn import switch_bits
        >>> switch_bits((8, 8, 8), 2)
        256.0
    """
    return math.prod(shape) / size**2 * math.log2(size**2)
