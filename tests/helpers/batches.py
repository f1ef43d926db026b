"""Small batches of every type of data, in float64."""

from typing import Any

import torch
from torch import Tensor


def bits(*shape: int) -> Tensor:
    return torch.rand(shape, dtype=torch.float64).lt(0.4).double()


def reals(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


def levels(*shape: int, values: int) -> Tensor:
    """Whole numbers from 0 on, each of so many values."""
    return torch.randint(0, values, shape).double()


def classes(rows: int, number: int) -> Tensor:
    """One-hot classes, all of them in turn."""
    return torch.eye(number, dtype=torch.float64)[torch.arange(rows) % number]


def counts(*shape: int) -> Tensor:
    """Documents of unequal length, none of them empty."""
    return torch.randint(0, 4, shape).double() + torch.eye(*shape, dtype=torch.float64) + 1.0 * bits(shape[0], 1)


def ratings(rows: int, items: int, scale: int) -> Tensor:
    """One-hot ratings, every other one missing, at least one in each row."""
    given = torch.randint(1, scale + 1, (rows, items)) * (torch.rand(rows, items) < 0.5)
    given[torch.arange(rows), torch.arange(rows) % items] = 1
    return torch.nn.functional.one_hot(given, scale + 1)[..., 1:].flatten(1).double()


def moved(batch: Any, *args: Any) -> Any:
    """A tensor or a tuple of them on a device or in a dtype; labels of a tuple, whole numbers a row, stay such."""
    if not isinstance(batch, tuple):
        return batch.to(*args)
    return tuple(part.to(*args).to(part.dtype) if part.dtype == torch.int64 else part.to(*args) for part in batch)
