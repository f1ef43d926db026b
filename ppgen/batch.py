"""What a batch is: one tensor, a tuple of positional arguments or a mapping of keyword arguments of model and guide."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from ppgen.checks.arrays import TorchData, as_tensor, in_dtype, is_array, parameter_dtype

if TYPE_CHECKING:
    from ppgen.pair import AnyPair

Batch = Tensor | tuple[Any, ...] | dict[str, Any]


@dataclass(frozen=True)
class Arguments:
    """A batch given as positional and keyword arguments together."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


def split_batch(batch: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments that a batch stands for: a tensor is the first, a tuple the positional, a mapping the keyword ones.

    Example:
        >>> split_batch((1, 2))
        ((1, 2), {})
        >>> split_batch({"x": 1})
        ((), {'x': 1})
    """
    if isinstance(batch, Arguments):
        return batch.args, dict(batch.kwargs)
    if isinstance(batch, Mapping):
        return (), dict(batch)
    if isinstance(batch, tuple) and not isinstance(batch, PackedSequence):  # which is a tuple, too, and one argument
        return batch, {}
    return (batch,), {}


def parts_of(batch: Any) -> list[Any]:
    """All arguments that a batch stands for, the positional ones first; `rebuilt` makes a batch of them again.

    Example:
        >>> parts_of({"x": 1, "y": None})
        [1, None]
    """
    args, kwargs = split_batch(batch)
    return [*args, *kwargs.values()]


def tensors_of(batch: Any) -> list[Tensor]:
    """The tensors with rows, those of one dimension or more, in the order of the arguments."""
    return [part for part in parts_of(batch) if isinstance(part, Tensor) and part.dim()]


def all_tensors_of(batch: Any) -> list[Tensor]:
    """All tensors of a batch, single numbers too; the other arguments are constants of the programs."""
    return [part for part in parts_of(batch) if isinstance(part, Tensor)]


def with_tensors(batch: Any, tensors: Sequence[Tensor]) -> Any:
    """A batch of the same form and constants, with other tensors in the order of `all_tensors_of`.

    Example:
        >>> with_tensors((torch.zeros(2), "constant"), [torch.ones(1)])
        (tensor([1.]), 'constant')
    """
    given = iter(tensors)
    return changed(batch, lambda part: next(given) if isinstance(part, Tensor) else part)


def rebuilt(batch: Any, parts: Sequence[Any]) -> Any:
    """A batch of the same form, with other arguments in the order of `parts_of`.

    Example:
        >>> rebuilt({"x": 1, "y": 2}, [3, 4])
        {'x': 3, 'y': 4}
    """
    if isinstance(batch, Arguments):
        count = len(batch.args)
        return Arguments(tuple(parts[:count]), dict(zip(batch.kwargs, parts[count:], strict=True)))
    if isinstance(batch, Mapping):
        return dict(zip(batch, parts, strict=True))
    return tuple(parts) if isinstance(batch, tuple) and not isinstance(batch, PackedSequence) else parts[0]


def changed(batch: Any, change: Callable[[Any], Any]) -> Any:
    """A batch of the same form, with every argument changed by a function.

    Example:
        >>> changed((1, 2), lambda part: 10 * part)
        (10, 20)
    """
    return rebuilt(batch, [change(part) for part in parts_of(batch)])


def num_rows(batch: Any) -> int:
    """Rows of a batch: the length of its first part, of packed sequences their number; 0 if there is none.

    Example:
        >>> num_rows((torch.zeros(3, 2), torch.zeros(3)))
        3
    """
    parts = parts_of(batch)
    if parts and isinstance(parts[0], PackedSequence):
        return int(parts[0].batch_sizes[0])
    return len(parts[0]) if parts else 0


def table_of(batch: Any, like: Tensor, whole: bool = False) -> Tensor:
    """The batch as one table, (rows, features), of the type of log-weights (particles, rows).

    Args:
        batch: A batch of data.
        like: Log-weights.
        whole: Whether all of it is one row, as without a data plate.
    """
    rows = like.shape[1]
    tensors = all_tensors_of(batch) if whole else tensors_of(batch)
    known = [value for value in tensors if whole or len(value) == rows]
    flat = [value.detach().reshape(rows, -1).to(like.dtype) for value in known]
    return torch.cat(flat, -1) if flat else like.new_zeros(rows, 1)


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
    if isinstance(x, PackedSequence):
        return (x,)
    if isinstance(x, tuple):
        return tuple(_as_tensor(value, f"{argument}[{index}]", pair) for index, value in enumerate(x))
    if not (is_array(x) or isinstance(x, TorchData)):
        raise TypeError(
            f"{argument} must be a tensor or an array of data, or a tuple or mapping of them, got {type(x).__name__}."
        )
    rows = _as_tensor(x, argument, pair)
    if not rows.dim() and not hasattr(pair, "config"):
        return rows  # of a program of one's own, which may have no plate over rows
    if rows.dim() == 0 or len(rows) == 0:
        raise ValueError(f"{argument} must hold at least one row, got shape {tuple(rows.shape)}.")
    check_features(rows, pair, argument)
    return rows


def check_features(rows: Any, pair: AnyPair, argument: str = "x") -> None:
    """Raise unless a tensor of data is a table with as many columns as a model of the zoo has observed variables.

    Raises:
        ValueError: Names the argument, the shape wanted and the one given.
    """
    pair.check_batch(rows)
    features = getattr(pair, "num_features", None)
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
