"""Training rows that are not in the device's memory: read ahead, in the order in which steps take them.

Only rows are read ahead. Nothing random happens there: bits are drawn from grey levels when a batch is taken, so
that a streamed run draws what a run in memory draws, and a checkpoint need not know what was read.
"""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as MapStyle

AHEAD = 2  # batches that are read while a step runs: one being read, one ready
CHUNK_BYTES = 2**24  # read at a time where all rows are gone through
_PINNING = ("cuda", "xpu")  # types of devices that read memory of the CPU by themselves, if it stays where it is


class Mapped:
    """An array mapped from disk that gives tensors of its own type and row shape, of the rows asked for alone.

    Args:
        array: (N, ...), any type that torch has.

    Raises:
        TypeError: If torch has no such type.

    Example:
        >>> Mapped(np.arange(6, dtype=np.uint8).reshape(3, 2))[torch.tensor([2, 0])]
        tensor([[4, 5],
                [0, 1]], dtype=torch.uint8)
    """

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.dtype = torch.from_numpy(np.empty(0, dtype=array.dtype)).dtype
        self.shape, self.ndim = torch.Size(array.shape), array.ndim

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, index: Tensor | np.ndarray) -> Tensor:
        return torch.from_numpy(np.array(self.array[np.asarray(index)]))


def is_stored(leaf: Any) -> bool:
    """Whether rows are read from an array when they are asked for, as those of a mapped file are."""
    return not isinstance(leaf, Tensor)


def num_bytes(leaf: Any) -> int:
    """Size of all rows as one tensor."""
    return leaf.shape.numel() * leaf.dtype.itemsize


def pieces(leaf: Any) -> Sequence[Tensor]:
    """Positions of all rows in turn, a bounded number of bytes at a time."""
    return torch.arange(len(leaf)).split(max(1, CHUNK_BYTES * len(leaf) // max(1, num_bytes(leaf))))


def held(leaf: Any, device: torch.device) -> Tensor:
    """All rows as one tensor on a device; those of a mapped file go there piece by piece.

    Example:
        >>> held(Mapped(np.eye(2)), torch.device("cpu"))
        tensor([[1., 0.],
                [0., 1.]], dtype=torch.float64)
    """
    if isinstance(leaf, Tensor):
        return leaf.to(device)
    whole = torch.empty(leaf.shape, dtype=leaf.dtype, device=device)
    for index in pieces(leaf):
        whole[int(index[0]) : int(index[-1]) + 1] = leaf[index].to(device)
    return whole


class Stream:
    """Batches along an order of the rows, each read by a `DataLoader` on a thread of its own before it is wanted.

    Args:
        leaves: What batches are made of, each with the same number of rows: tensors, `Mapped` or `datasets.Rows`.
        order: (N,) rows of an epoch.
        start: Place in the order of the first row wanted.
        size: Rows of a batch; the last one may be smaller.
        device: Where batches are going: on the way to a GPU they lie in pinned memory.

    Example:
        >>> stream = Stream([torch.arange(5)], torch.tensor([4, 2, 0, 1, 3]), 2, 2, torch.device("cpu"))
        >>> stream.take(), stream.take()
        ([tensor([0, 1])], [tensor([3])])
    """

    def __init__(self, leaves: Sequence[Any], order: Tensor, start: int, size: int, device: torch.device) -> None:
        self.order, self.position, self.size = order, start, size
        batches = order[start:].split(size)
        self._unread = len(batches)
        module = torch.get_device_module(device) if device.type in _PINNING else None
        loader: DataLoader[Any] = DataLoader(
            _Gather(leaves),
            batch_sampler=batches,
            collate_fn=_as_it_is,
            pin_memory=module is not None and all(is_stored(leaf) or leaf.device.type == "cpu" for leaf in leaves),
            generator=torch.Generator(),  # the loader draws a seed for workers: not from the run's random state
        )
        self._batches = iter(loader)
        # Given up together with the stream: an executor that nobody holds ends its thread.
        # Memory is pinned for the current device, which each thread has of its own.
        on_device = partial(module.set_device, device) if module is not None and device.index is not None else None
        self._reader = ThreadPoolExecutor(1, "ppgen-reader", on_device)
        self._read: deque[Future[list[Tensor]]] = deque()
        for _ in range(AHEAD):
            self._read_on()

    def is_at(self, order: Tensor, start: int, size: int) -> bool:
        """Whether the next batch is that of `order[start : start + size]`."""
        return self.order is order and self.position == start and self.size == size

    def take(self) -> list[Tensor]:
        """The next batch: rows of each leaf, in the memory of the CPU.

        Raises:
            IndexError: If the order is used up.
        """
        rows = self._read.popleft().result()
        self.position += self.size
        self._read_on()
        return rows

    def _read_on(self) -> None:
        if self._unread:
            self._unread -= 1
            self._read.append(self._reader.submit(next, self._batches))


class _Gather(MapStyle[Any]):
    """Map-style data set whose batches are gathered by one indexing of each leaf."""

    def __init__(self, leaves: Sequence[Any]) -> None:
        self.leaves = leaves

    def __len__(self) -> int:
        return len(self.leaves[0])

    def __getitem__(self, position: int) -> list[Tensor]:
        return [rows[0] for rows in self.__getitems__(torch.tensor([position]))]

    def __getitems__(self, index: Tensor) -> list[Tensor]:
        return [leaf[index] for leaf in self.leaves]


def _as_it_is(batch: list[Tensor]) -> list[Tensor]:
    return batch
