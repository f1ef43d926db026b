"""Shapes that must fit each other."""

from collections.abc import Sequence

import torch


def broadcast_shapes(*shapes: Sequence[int]) -> torch.Size:
    """Shape to which tensors of several shapes are broadcast, as `torch.broadcast_shapes` finds it.

    Torch's own imports SymPy at its first call, which takes from half a second to five. It is left to say what is
    wrong with shapes that do not fit, and to answer where sizes are symbols or recorded by `torch.jit.trace`.

    Raises:
        RuntimeError: If the shapes do not fit each other.

    Example:
        >>> broadcast_shapes((4, 1), (3,), ())
        torch.Size([4, 3])
    """
    found = [1] * max(map(len, shapes), default=0)
    for shape in shapes:
        for index in range(-len(shape), 0):
            size = shape[index]
            if type(size) is not int or size < 0 or (size != found[index] != 1 and size != 1):
                return torch.broadcast_shapes(*shapes)
            if size != 1:
                found[index] = size
    return torch.broadcast_shapes(*shapes) if torch.jit.is_tracing() else torch.Size(found)
