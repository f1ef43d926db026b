"""Sums over the processes of one machine through memory that all of them see."""

import os
import secrets
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

_MEMORY = Path("/dev/shm")  # files here never reach a disk
_TOKEN = 16  # numbers at the start of the file by which a process knows that it opened the right one


class SharedSum:
    r"""Adds vectors of the processes of one machine: $\sum_r v_r$, in the order of the ranks, so alike in each.

    Each process writes its vector where all can read it, waits until all have written, and adds them up for itself.
    Gloo's ring sends the vectors through sockets, which takes two to three times as long. Two sets of places are used
    in turn: a process writes into one only after a meeting at which all had read it. The meeting is a reduction of one
    number by gloo, which also orders the memory.

    Args:
        group: Group of the processes, by gloo; None is the default one.
        rank: Number of this process.
        places: Places of all processes, of shape `(2, processes, size)`.

    Example:
        >>> SharedSum(None, 0, torch.zeros(2, 1, 3)).add(lambda place: place.fill_(2.0), meet=lambda: None).tolist()
        [2.0, 2.0, 2.0]
    """

    def __init__(self, group: Any, rank: int, places: Tensor) -> None:
        self._group, self._rank, self._places = group, rank, places
        self._turn = 0
        self._meeting = torch.zeros(1, dtype=torch.int32)

    @classmethod
    def between(cls, group: Any, size: int, dtype: torch.dtype) -> "SharedSum | None":
        """Memory for vectors of `size` numbers; None unless every process of the group can open and fill it.

        Must be called by all processes. The file's name is gone when this returns, so that nothing is left behind by
        a process that is killed.
        """
        rank, processes = dist.get_rank(), dist.get_world_size()
        offer: list[Any] = [None]
        if rank == 0:
            offer[0] = _make(2 * processes * size * dtype.itemsize)
        dist.broadcast_object_list(offer, src=0, group=group)
        places = _open(offer[0], (2, processes, size), dtype)
        opened = torch.tensor([places is not None], dtype=torch.int32)
        dist.all_reduce(opened, dist.ReduceOp.MIN, group=group)
        if rank == 0 and offer[0] is not None:
            os.unlink(offer[0][0])
        return cls(group, rank, places) if places is not None and bool(opened) else None

    def add(self, write: Callable[[Tensor], object], meet: Callable[[], object] | None = None) -> Tensor:
        """Sum of what `write` puts into this process's place and what the others put into theirs.

        Args:
            write: Called with a tensor of shape `(size,)`, to be filled.
            meet: Waits for all processes; gloo by default.

        Returns:
            A tensor of the caller's own, of shape `(size,)`.
        """
        places = self._places[self._turn]
        self._turn = 1 - self._turn
        write(places[self._rank])
        (meet or self._meet)()
        if len(places) == 1:
            return places[0].clone()
        total = torch.add(places[0], places[1])
        for place in places[2:]:
            total += place
        return total

    def _meet(self) -> None:
        dist.all_reduce(self._meeting, group=self._group)


def join_into(tensors: Sequence[Tensor], place: Tensor, scale: float) -> None:
    """Write tensors one after another into a vector, times a number.

    Example:
        >>> place = torch.empty(3)
        >>> join_into([torch.ones(2), torch.tensor(4.0)], place, 0.5)
        >>> place.tolist()
        [0.5, 0.5, 2.0]
    """
    torch.cat([tensor.to(place.dtype).flatten() for tensor in tensors], out=place)
    place.mul_(scale)


def _make(size: int) -> tuple[str, list[int]] | None:
    """A file for `size` bytes behind a token; None where there is no room for it."""
    token = [secrets.randbelow(2**31) for _ in range(_TOKEN)]
    try:
        number, name = tempfile.mkstemp(prefix="ppgen-", dir=_MEMORY)
    except OSError:  # no such place on this system
        return None
    try:
        # Reserved now: writing to a file without room for it would end the process by a signal.
        os.posix_fallocate(number, 0, 4 * _TOKEN + size)
        os.write(number, b"".join(each.to_bytes(4, "little") for each in token))
    except OSError:
        os.unlink(name)
        return None
    finally:
        os.close(number)
    return name, token


def _open(offer: tuple[str, list[int]] | None, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor | None:
    """The shared places, if the file is here and is the one that was offered."""
    if offer is None:
        return None
    name, token = offer
    count = torch.Size(shape).numel() * dtype.itemsize
    try:
        whole = torch.from_file(name, shared=True, size=4 * _TOKEN + count, dtype=torch.uint8)
    except (RuntimeError, OSError):  # another machine
        return None
    if whole[: 4 * _TOKEN].view(torch.int32).tolist() != token:
        return None
    return whole[4 * _TOKEN :].view(dtype).view(shape)
