"""Rows of a stored array, read and converted to float32 when they are asked for."""

import math
import mmap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppgen.datasets.binarization import binarized

# Values converted at a time: 16 MiB of float32, small against any data set that needs chunks.
CHUNK_VALUES = 2**22


def is_mapped(array: Any) -> bool:
    """Whether an array's values lie in a mapped file: a `numpy.memmap`, or any view of one.

    Example:
        >>> is_mapped(np.zeros(3))
        False
    """
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array, mmap.mmap)


@dataclass(frozen=True, eq=False, repr=False)
class Rows:
    """One split of an array of any type, possibly mapped from disk, seen as float32 or int64 rows x features.

    Indexing reads only the rows asked for and gives a tensor; nothing else of the array is touched. It stands
    where a tensor of rows stands: `len(rows)`, `rows.shape`, `rows[:128]`, `rows[index]`, `rows.to(device)`.

    Args:
        array: Rows as stored, (M, ...); trailing dimensions are flattened.
        index: (N,) positions in `array` of the rows of this split.
        scale: Stored values are divided by it.
        num_bits: Number of features when `array` holds eight bits a byte (`numpy.packbits` along the rows).
        method: None, `"threshold"` or `"fixed"`: the binarisation of each row.
        stream: Seed of the split's stream, used by `"fixed"`.
        device: Where the tensors are put.
        columns: Features that are given, by their positions; all without.
        integers: Whether values stay whole numbers, int64, as stored and not scaled.

    Example:
        >>> from ppgen.datasets import Rows
        >>> import numpy as np
        >>> rows = Rows(np.array([[0, 128], [255, 0]], dtype=np.uint8), np.array([1, 0]), scale=255.0)
        >>> rows[:1]
        tensor([[1., 0.]])
    """

    array: np.ndarray
    index: np.ndarray
    scale: float = 1.0
    num_bits: int | None = None
    method: str | None = None
    stream: int = 0
    device: torch.device = torch.device("cpu")
    columns: np.ndarray | None = None
    integers: bool = False

    @property
    def dtype(self) -> torch.dtype:
        return torch.int64 if self.integers else torch.float32

    @property
    def num_features(self) -> int:
        if self.columns is not None:
            return len(self.columns)
        if self.num_bits is not None:
            return self.num_bits
        return math.prod(self.array.shape[1:])

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self.index), self.num_features))

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, key: Any) -> Tensor:
        if isinstance(key, (int, np.integer)):
            return self[[int(key)]][0]
        positions = self._positions(key)
        values = binarized(self.grey(self.stored(positions)), self.method, self.stream, positions)
        if self.columns is not None:  # cut at the end: a fixed draw is one of the whole row
            values = np.ascontiguousarray(values[:, self.columns])
        return torch.from_numpy(values).to(self.device)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[position] for position in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].cpu().numpy().astype(dtype or (np.int64 if self.integers else np.float32), copy=False)

    def __repr__(self) -> str:
        return f"Rows({len(self)} x {self.num_features}, stored as {self.array.dtype}, read when indexed)"

    def to(self, device: torch.device | str) -> "Rows":
        """Rows that are given as tensors on `device`."""
        return replace(self, device=torch.device(device))

    def features(self, start: int, stop: int) -> "Rows":
        """Rows of the features from `start` up to `stop` alone."""
        return self.chosen(slice(start, stop))

    def chosen(self, features: Any) -> "Rows":
        """Rows of some features alone: a slice of them, or their positions, in that order."""
        held = np.arange(self.num_features) if self.columns is None else self.columns
        return replace(self, columns=held[features])

    def chunks(self) -> Iterator[np.ndarray]:
        """Positions (B,) of consecutive rows, all rows in turn, a bounded number of values at a time."""
        length = max(1, CHUNK_VALUES // max(1, self.num_features))
        for start in range(0, len(self), length):
            yield np.arange(start, min(start + length, len(self)))

    def stored(self, positions: np.ndarray) -> np.ndarray:
        """Rows (B, ...) at these positions of the split, as stored."""
        return np.asarray(self.array[self.index[positions]])

    def grey(self, stored: np.ndarray) -> np.ndarray:
        """Stored rows as float32 (B, F), before any binarisation; whole numbers as int64."""
        flat = stored.reshape(len(stored), math.prod(stored.shape[1:]))
        if self.integers:
            return flat.astype(np.int64)
        if self.num_bits is not None:
            return np.unpackbits(flat, axis=1, count=self.num_bits).astype(np.float32)
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and that is checked for
            flat = flat.astype(np.float32)  # a copy always: no tensor of ours shares the user's memory
        return flat if self.scale == 1.0 else np.divide(flat, np.float32(self.scale), out=flat)

    def _positions(self, key: Any) -> np.ndarray:
        if isinstance(key, slice):
            return np.arange(*key.indices(len(self)))
        if isinstance(key, Tensor):
            key = key.detach().cpu().numpy()
        positions = np.asarray(key)
        if positions.size == 0:
            positions = positions.astype(np.int64)
        if positions.dtype == bool and positions.shape == (len(self),):
            return np.flatnonzero(positions)
        if positions.ndim != 1 or not np.issubdtype(positions.dtype, np.integer):
            raise TypeError(
                "Rows are indexed along their first dimension by an integer, a slice, a mask of as many "
                f"entries as rows, or a vector of integers, got {key!r}."
            )
        if positions.size and (positions.min() < -len(self) or positions.max() >= len(self)):
            raise IndexError(f"Row index out of range for {len(self)} rows.")
        return np.where(positions < 0, positions + len(self), positions).astype(np.int64)
