"""Data that a user gives as arrays, made into the tensors that a pair takes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppgen.pair import AnyPair


def as_batch(x: Any, pair: AnyPair) -> Any:
    """The data with arrays as tensors on the device of the pair, numbers in the dtype of its parameters.

    Tensors are left as they are.

    Args:
        x: A tensor or array, or a tuple or mapping of those and of other arguments of the program.
        pair: The pair that will see them.

    Raises:
        TypeError: If the data are a list, a data frame or the like.

    Example:
        >>> from ppgen import models
        >>> as_batch(np.eye(4), models.RBM(visible=4, hidden=3)).dtype
        torch.float32
    """
    if isinstance(x, Mapping):
        return {name: _as_tensor(value, pair) for name, value in x.items()}
    if isinstance(x, tuple):
        return tuple(_as_tensor(value, pair) for value in x)
    if not isinstance(x, (Tensor, np.ndarray)):
        raise TypeError(
            f"x must be a tensor or an array of data, or a tuple or mapping of them, got {type(x).__name__}."
        )
    return _as_tensor(x, pair)


def _as_tensor(value: Any, pair: AnyPair) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    tensor = torch.as_tensor(value if value.flags.writeable else value.copy())
    like = next((each for each in pair.parameters() if each.is_floating_point()), None)
    if like is None:
        return tensor
    return tensor.to(like.device, like.dtype) if tensor.is_floating_point() else tensor.to(like.device)
