"""Sums over the processes of one machine through memory that all of them see."""

import os
import secrets
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ppgen import messages
from ppgen.training.processes.meeting import Meeting

_MEMORY = Path("/dev/shm")  # files here never reach a disk
_TOKEN = 64  # bytes at the start of the file by which a process knows that it opened the right one
_APART = 8  # counters of one process: a line of the cache, so that waiting for one does not slow down another


class SharedSum:
    r"""Adds vectors of the processes of one machine: $\sum_r v_r$, in the order of the ranks, so alike in each.

    Each process writes its vector where all can read it, waits until all have written, and adds them up for itself.
    Gloo's ring sends the vectors through sockets, which takes two to three times as long. Two sets of places are used
    in turn: a process writes into one only after a meeting at which all had read it.

    Args:
        rank: Number of this process.
        places: Places of all processes, of shape `(2, processes, size)`.
        meet: Waits until all processes have called it as often as this one.

    Example:
        >>> SharedSum(0, torch.zeros(2, 1, 3), lambda: None).add(lambda place: place.fill_(2.0)).tolist()
        [2.0, 2.0, 2.0]
    """

    def __init__(self, rank: int, places: Tensor, meet: Callable[[], object]) -> None:
        self._rank, self._places, self._meet = rank, places, meet
        self._turn = 0

    @classmethod
    def between(cls, group: Any, size: int, dtype: torch.dtype) -> "SharedSum | None":
        """Memory for vectors of `size` numbers; None unless every process of the group can open and fill it.

        Must be called by all processes. The file's name is gone when this returns, so that nothing is left behind by
        a process that is killed.
        """
        rank, processes = dist.get_rank(), dist.get_world_size()
        needed = 8 * _APART * processes + 2 * processes * size * dtype.itemsize
        made = _make(needed) if rank == 0 else None
        message = messages.packed(None if made is None else (made.name, made.token.hex()))
        told = messages.unpacked(messages.broadcast(message, group))
        memory = None if told is None else _open(_Offer(told[0], bytes.fromhex(told[1]), needed))
        opened = torch.tensor([memory is not None], dtype=torch.int32)
        dist.all_reduce(opened, dist.ReduceOp.MIN, group=group)
        if made is not None:
            os.unlink(_MEMORY / made.name)
        if memory is None or not bool(opened):
            return None
        counters, places = memory.split([8 * _APART * processes, len(memory) - 8 * _APART * processes])
        meeting = Meeting.between(group, rank, counters.view(torch.int64).view(processes, _APART))
        return cls(rank, places.view(dtype).view(2, processes, size), meeting)

    def add(self, write: Callable[[Tensor], object]) -> Tensor:
        """Sum of what `write` puts into this process's place and what the others put into theirs.

        Args:
            write: Called with a tensor of shape `(size,)`, to be filled.

        Returns:
            A tensor of the caller's own, of shape `(size,)`.
        """
        places = self._places[self._turn]
        self._turn = 1 - self._turn
        write(places[self._rank])
        self._meet()
        if len(places) == 1:
            return places[0].clone()
        total = torch.add(places[0], places[1])
        for place in places[2:]:
            total += place
        return total


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


@dataclass(frozen=True)
class _Offer:
    """Name of a file of shared memory, and the token by which it is known."""

    name: str
    token: bytes
    size: int


def _make(size: int) -> _Offer | None:
    """A file for `size` bytes behind a token; None where there is no room for it."""
    token = secrets.token_bytes(_TOKEN)
    try:
        number, name = tempfile.mkstemp(prefix="ppgen-", dir=_MEMORY)
    except OSError:  # no such place on this system
        return None
    try:
        # Reserved now: writing to a file without room for it would end the process by a signal.
        os.posix_fallocate(number, 0, _TOKEN + size)
        os.write(number, token)
    except OSError:
        os.unlink(name)
        return None
    finally:
        os.close(number)
    return _Offer(Path(name).name, token, size)


def _open(offer: _Offer) -> Tensor | None:
    """The bytes behind the token, if the file is here and is the one that was offered."""
    path = _MEMORY / Path(offer.name).name
    if not path.is_file():  # another machine, where opening the file would make it
        return None
    try:
        whole = torch.from_file(str(path), shared=True, size=_TOKEN + offer.size, dtype=torch.uint8)
    except (RuntimeError, OSError):
        return None
    return whole[_TOKEN:] if bytes(whole[:_TOKEN].tolist()) == offer.token else None
