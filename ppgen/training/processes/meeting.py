"""Meetings of the processes of one machine, by counters that all of them see."""

import os
import platform
import time
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ppgen import messages

_PATIENCE = 2e-3  # seconds of looking without a pause: longer than processes of one step are apart
_ALIVE = 1.0  # seconds between two looks whether the others are alive
# Processors that let no later write be seen before an earlier one: a counter speaks for what was written before it.
_ORDERED = ("x86_64", "AMD64")


class Meeting:
    """Waits until all processes have come as often as this one.

    Each process counts its own calls where all can read, and looks at the others' counters until none is behind. That
    takes microseconds where a reduction by gloo takes a quarter of a millisecond or, with every processor busy, one.
    It looks without a pause for two milliseconds, then lets other processes run between two looks.

    Args:
        rank: Number of this process.
        counters: Counters of all processes, (processes, ...) int64 in shared memory, zero at the start.
        processes: Their process numbers, by which it is seen that one has ended.

    Example:
        >>> counters = torch.zeros(1, 1, dtype=torch.int64)
        >>> Meeting(0, counters, [os.getpid()])()
        >>> counters.tolist()
        [[1]]
    """

    def __init__(self, rank: int, counters: Tensor, processes: list[int]) -> None:
        self._rank, self._processes = rank, processes
        self._counters = counters[:, 0].numpy()  # its entries are read in a tenth of the time
        self._others = [other for other in range(len(counters)) if other != rank]
        self._count = 0

    @classmethod
    def between(cls, group: Any, rank: int, counters: Tensor) -> Any:
        """The meeting of a group's processes; a reduction by gloo where memory is not ordered or processes are hidden.

        Must be called by all processes.
        """
        processes = messages.gather(os.getpid(), group)
        usable = platform.machine() in _ORDERED and all(_alive(process) for process in processes)
        agreed = torch.tensor([usable], dtype=torch.int32)
        dist.all_reduce(agreed, dist.ReduceOp.MIN, group=group)
        if bool(agreed):
            return cls(rank, counters, processes)
        number = torch.zeros(1, dtype=torch.int32)
        return lambda: dist.all_reduce(number, group=group)

    def __call__(self) -> None:
        """Come, and wait for the others.

        Raises:
            RuntimeError: If one of them has ended.
        """
        self._count += 1
        count, counters = self._count, self._counters
        counters[self._rank] = count
        start = time.perf_counter()
        looked = start
        for other in self._others:
            while counters[other] < count:
                now = time.perf_counter()
                if now - start > _PATIENCE:
                    os.sched_yield()
                if now - looked > _ALIVE:
                    looked = now
                    self._look(other)

    def _look(self, other: int) -> None:
        if not _alive(self._processes[other]):
            raise RuntimeError(f"Process {other} of the run has ended, so the others cannot go on; see what it said.")


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
