"""Maps made large again: by switches, or by repetition."""

import torch
from torch import Tensor

from ppgen.nn.pooling import from_blocks


def unpool_by_switches(values: Tensor, switches: Tensor, size: int) -> Tensor:
    """Each number at its place in a block, zeros elsewhere.

    With the switches of `max_pool` every largest number comes back where it was: so much of where things are passes
    around the code (`switch_bits`).

    Args:
        values: (..., rows, columns).
        switches: Places 0, ..., size^2 - 1 of the same shape, whole numbers of any type.
        size: Rows and columns of a block.

    Returns:
        (..., size x rows, size x columns).

    References:
        | Adaptive Deconvolutional Networks for Mid and High Level Feature Learning (Zeiler, Taylor and Fergus, 2011)
        | https://doi.org/10.1109/ICCV.2011.6126474

    Example:
        >>> from ppgen.nn import unpool_by_switches
        >>> import torch
        >>> unpool_by_switches(torch.tensor([[2.0, 5.0]]), torch.tensor([[1, 0]]), 2).tolist()
        [[0.0, 2.0, 5.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    """
    places = torch.arange(size**2, device=values.device, dtype=switches.dtype)
    here = switches.unsqueeze(-1) == places
    return from_blocks(torch.where(here, values.unsqueeze(-1), values.new_zeros(())), size)


def unpool_by_repetition(values: Tensor, size: int) -> Tensor:
    """Each number at all places of its block: (..., rows, columns) -> (..., size x rows, size x columns).

    Example:
        >>> from ppgen.nn import unpool_by_repetition
        >>> import torch
        >>> unpool_by_repetition(torch.tensor([[2.0, 5.0]]), 2).tolist()
        [[2.0, 2.0, 5.0, 5.0], [2.0, 2.0, 5.0, 5.0]]
    """
    return from_blocks(values.unsqueeze(-1).expand(*values.shape, size**2), size)
