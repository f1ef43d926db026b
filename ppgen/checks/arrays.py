"""What a user gives as numbers, as one tensor: arrays, tables and tensors, with what cannot be one refused by name."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

_COMPLEX = "{} must be booleans, integers or floats, got complex numbers; give .real, or both parts as features."
TorchData = (torch.utils.data.DataLoader, torch.utils.data.Dataset)


def is_array(value: Any) -> bool:
    """Whether something is a tensor, or an array, table or sparse matrix of any library; no list, no single number.

    Example:
        >>> is_array(np.zeros(3)), is_array([0.0]), is_array(1.0)
        (True, False, False)
    """
    if isinstance(value, (np.generic, int, float)):
        return False
    return isinstance(value, (Tensor, np.ndarray)) or hasattr(value, "__array__") or hasattr(value, "toarray")


def checked_array(value: Any, name: str) -> Tensor | np.ndarray:
    """A tensor as it is, or anything with an array inside as a plain NumPy array, perhaps one mapped from disk.

    Masked entries of floating-point arrays become NaN, which is how a missing value is told. A data frame is a table.

    Args:
        value: Tensor, array, data frame or series.
        name: Argument that messages name.

    Raises:
        TypeError: If it is sparse, complex, no array of numbers, or nothing that holds rows.
        ValueError: If entries of an array of whole numbers are masked.

    Example:
        >>> checked_array(np.ma.masked_array([1.0, 2.0], mask=[False, True]), "x")
        array([ 1., nan])
    """
    if isinstance(value, Tensor):
        if value.is_meta:
            raise TypeError(f"{name} is a tensor of the device meta, which holds no numbers.")
        if value.layout != torch.strided:
            raise TypeError(f"{name}: a sparse tensor where a dense one is expected; give its .to_dense().")
        if value.is_complex():
            raise TypeError(_COMPLEX.format(name))
        return value
    if hasattr(value, "toarray"):
        raise TypeError(
            f"{name}: a sparse {type(value).__name__} where a dense array is expected; give its .toarray()."
        )
    if isinstance(value, TorchData):
        raise TypeError(
            f"{name}: a {type(value).__name__} where tensors or arrays with one row a datum are expected; batches are "
            "made here (batch_size=...). Give what it holds, such as dataset.tensors of a TensorDataset."
        )
    if isinstance(value, (list, np.generic)) or not hasattr(value, "__array__"):
        raise TypeError(
            f"{name} must be a tensor or an array of numbers, got {type(value).__name__}. Make a list of numbers an "
            "array by numpy.asarray; several arguments of a program are a tuple."
        )
    array = value if isinstance(value, np.ndarray) else np.asarray(value)
    if isinstance(array, np.ma.MaskedArray):
        array = _filled(array, name)
    if array.dtype.kind == "c":
        raise TypeError(_COMPLEX.format(name))
    if array.dtype.kind not in "buif" or array.dtype.itemsize > 8:
        raise TypeError(f"{name} must be booleans, integers or floats, got dtype {array.dtype}{_columns(value)}.")
    return array


def as_tensor(value: Any, name: str) -> Tensor:
    """An array, checked, as one tensor; it shares the memory of an array that may be written to.

    Example:
        >>> as_tensor(np.eye(2)[::-1], "x").dtype
        torch.float64
    """
    array = checked_array(value, name)
    if isinstance(array, Tensor):
        return array
    if not array.flags.writeable or not array.dtype.isnative or any(stride < 0 for stride in array.strides):
        array = array.astype(array.dtype.newbyteorder("="))  # what torch cannot read, or warns of
    return torch.from_numpy(np.asarray(array))


def parameter_dtype(pair: Any) -> torch.dtype | None:
    """Type of the first floating-point parameter of a pair, which floating-point data take; None if there is none."""
    return next((each.dtype for each in pair.parameters() if each.is_floating_point()), None)


def is_label(part: Any) -> bool:
    """Whether a part of a batch beside others holds labels: whole numbers (rows,), which models get as int64.

    Example:
        >>> is_label(torch.tensor([2, 0], dtype=torch.uint8)), is_label(torch.tensor([True, False]))
        (True, False)
    """
    return part.ndim == 1 and not (part.dtype.is_floating_point or part.dtype.is_complex or part.dtype == torch.bool)


def in_dtype(batch: Any, dtype: torch.dtype | None) -> Any:
    """The batch with its floating-point tensors in a type; as it is without one."""
    if isinstance(batch, Mapping):
        return {name: in_dtype(value, dtype) for name, value in batch.items()}
    if isinstance(batch, tuple) and not isinstance(batch, PackedSequence):
        return tuple(in_dtype(value, dtype) for value in batch)
    if dtype is None or not isinstance(batch, Tensor) or not batch.is_floating_point():
        return batch
    return batch.to(dtype)


def holds_other_dtype(batch: Any, dtype: torch.dtype | None) -> bool:
    """Whether `in_dtype` would change any tensor of the batch.

    Example:
        >>> holds_other_dtype((torch.zeros(2), torch.arange(3)), torch.float32)
        False
    """
    if isinstance(batch, Mapping):
        return any(holds_other_dtype(value, dtype) for value in batch.values())
    if isinstance(batch, tuple) and not isinstance(batch, PackedSequence):
        return any(holds_other_dtype(value, dtype) for value in batch)
    return dtype is not None and isinstance(batch, Tensor) and batch.is_floating_point() and batch.dtype != dtype


def _filled(array: np.ma.MaskedArray, name: str) -> np.ndarray:
    if not np.ma.is_masked(array):
        return array.data
    if array.dtype.kind != "f":
        raise ValueError(
            f"{name}: {int(np.ma.count_masked(array))} masked entries in an array of dtype {array.dtype}, where only "
            "floating-point numbers can tell what is missing, as NaN. Give .astype(float), or the rows without them."
        )
    return array.filled(np.nan)


def _columns(value: Any) -> str:
    """The columns of a data frame that hold no numbers."""
    dtypes = getattr(value, "dtypes", None)
    if dtypes is None or not hasattr(dtypes, "items"):
        return ""
    wrong = [str(column) for column, dtype in dtypes.items() if getattr(dtype, "kind", "O") not in "buif"]
    return f" (columns without numbers: {', '.join(wrong)})" if wrong else ""
