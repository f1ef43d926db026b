"""Data that a user gives as arrays, made into the tensors that a pair takes."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ppgen.checks.arrays import TorchData, as_tensor, in_dtype, is_array, parameter_dtype
from ppgen.pair import AnyPair, GenerativeModel


def as_batch(x: Any, pair: AnyPair, argument: str = "x") -> Any:
    """The data as tensors, floating-point ones in the type of the pair's parameters, arrays on its device.

    Args:
        x: A tensor, an array or a data frame, or a tuple or mapping of those and of other arguments of the program.
        pair: The pair that will see them.
        argument: Name of the argument, for messages.

    Raises:
        TypeError: If the data are a list or the like, or hold no real numbers.
        ValueError: If there is no row, or a row does not have the features of a model of the zoo.

    Example:
        >>> import numpy as np
        >>> from ppgen import models
        >>> as_batch(np.eye(4), models.RBM(visible=4, hidden=3)).dtype
        torch.float32
    """
    if isinstance(x, Mapping):
        return {name: _as_tensor(value, f"{argument}[{name!r}]", pair) for name, value in x.items()}
    if isinstance(x, tuple):
        return tuple(_as_tensor(value, f"{argument}[{index}]", pair) for index, value in enumerate(x))
    if not (is_array(x) or isinstance(x, TorchData)):
        raise TypeError(
            f"{argument} must be a tensor or an array of data, or a tuple or mapping of them, got {type(x).__name__}."
        )
    rows = _as_tensor(x, argument, pair)
    if rows.dim() == 0 or len(rows) == 0:
        raise ValueError(f"{argument} must hold at least one row, got shape {tuple(rows.shape)}.")
    check_features(rows, pair, argument)
    return rows


def check_features(rows: Any, pair: AnyPair, argument: str = "x") -> None:
    """Raise unless a tensor of data is a table with as many columns as a model of the zoo has observed variables.

    Raises:
        ValueError: Names the argument, the shape wanted and the one given.
    """
    features = getattr(pair, "num_features", None) if isinstance(pair, GenerativeModel) else None
    if features is None or not isinstance(rows, Tensor):
        return
    given = tuple(rows.shape)
    if rows.dim() != 2:
        raise ValueError(f"{argument} must have shape (rows, features), got {given}; one row is {argument}[None].")
    if rows.shape[1] != features:
        raise ValueError(f"{argument} must have shape (rows, {features}), as {type(pair).__name__} takes; got {given}.")


def _as_tensor(value: Any, name: str, pair: AnyPair) -> Any:
    if not (is_array(value) or isinstance(value, TorchData)):
        return value
    tensor = as_tensor(value, name)
    placed = tensor if isinstance(value, Tensor) else tensor.to(pair.device)
    return in_dtype(placed, parameter_dtype(pair))
