"""The processes of a run under `torchrun`: who takes which rows and chains, and what they tell each other."""

import atexit
import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from ppgen import messages, seeds
from ppgen.devices import best_device, is_accelerator
from ppgen.inference.state_roles import Roles
from ppgen.training.processes.shared_sum import SharedSum, join_into

T = TypeVar("T")

_TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class World:
    """This process among those of a run. Alone, by default, when every method gives back what it was given.

    Every method but `seed`, `share`, `weight`, `own` and `sharded` must be called by all processes, in the same order.

    Args:
        rank: Number of this process, from 0.
        size: Number of processes.
        control: Group for tensors on the CPU; None is the default one.
    """

    def __init__(self, rank: int = 0, size: int = 1, control: Any = None) -> None:
        self.rank, self.size, self._control = rank, size, control
        self._sum: SharedSum | None = None
        self._size_of_sum: tuple[int, torch.dtype] | None = None

    @property
    def writes(self) -> bool:
        """Whether this process is the one that prints and writes files."""
        return self.rank == 0

    def seed(self, seed: int, *purpose: str | int) -> int:
        """Seed of this process's own stream; that of process 0 is the seed itself."""
        return seeds.derive(seed, "process", self.rank, *purpose) if self.rank or purpose else seed

    def share(self, index: Tensor) -> Tensor:
        """Entries of a batch's index for this process; the first one if there are fewer entries than processes.

        Example:
            >>> World(1, 2).share(torch.arange(5)).tolist()
            [1, 3]
        """
        own = index[self.rank :: self.size]
        return own if len(own) else index[:1]

    def weight(self, num_rows: int) -> float:
        """Part of a batch's rows that is this process's own; 0 if it was given a row that is another's.

        Example:
            >>> [World(rank, 2).weight(5) for rank in (0, 1)], World(1, 2).weight(1)
            ([0.6, 0.4], 0.0)
        """
        return len(range(self.rank, num_rows, self.size)) / num_rows

    def own(self, state: Mapping[str, Tensor], roles: Roles) -> dict[str, Tensor]:
        """State with this process's share of the chains, as aligned as new tensors; the inverse of `whole`.

        Args:
            state: State of an inference.
            roles: What its tensors are to many processes, by name; what has none is left as it is.
        """
        if self.size == 1:
            return dict(state)
        return {
            name: value.tensor_split(self.size)[self.rank].clone() if roles.get(name) == "chains" else value
            for name, value in state.items()
        }

    def whole(self, state: Mapping[str, Tensor], roles: Roles) -> dict[str, Tensor]:
        """State with the chains of all processes, in the order of the processes.

        Args:
            state: State of an inference.
            roles: As `own` takes them.
        """
        return {name: self.gather(value) if roles.get(name) == "chains" else value for name, value in state.items()}

    def sharded(self, inference: Any) -> Any:
        """Inference of this process alone: it has an equal share of the persistent chains.

        Raises:
            ValueError: If the chains cannot be divided evenly.
        """
        phase = inference.negative_phase
        names = ("num_chains", "log_partition_chains")
        totals = {name: getattr(phase, name) for name in names if getattr(phase, name, 0)}
        if self.size == 1 or not totals:
            return inference
        for name, total in totals.items():
            if total % self.size or total == self.size and name != "num_chains":
                least = max(-(-total // self.size), 1 if name == "num_chains" else 2)
                raise ValueError(
                    f"{name} must be a multiple of the number of processes, which share the chains; got {total} chains "
                    f"for {self.size} processes. Take {least * self.size}."
                )
        own = {name: total // self.size for name, total in totals.items()}
        return dataclasses.replace(inference, negative_phase=dataclasses.replace(phase, **own))

    def average(self, tensors: Sequence[Tensor], weight: float) -> list[Tensor]:
        """Weighted sums over the processes, by one reduction of all tensors together.

        Args:
            tensors: Tensors to be summed, of equal shapes in every process.
            weight: Weight of this process; the weights of all sum to 1.
        """
        if self.size == 1:
            return list(tensors)
        dtype = reduce(torch.promote_types, (tensor.dtype for tensor in tensors))
        tensors = [tensor.detach() for tensor in tensors]
        sizes = [tensor.numel() for tensor in tensors]
        shared = None if is_accelerator(tensors[0].device) else self._shared_sum(sum(sizes), dtype)
        if shared is not None:
            flat = shared.add(lambda place: join_into(tensors, place, weight))
        else:
            flat = torch.cat([tensor.to(dtype).flatten() for tensor in tensors])
            dist.all_reduce(flat.mul_(weight), group=self._group(flat))
        pieces = flat.split(sizes)
        return [piece.view_as(tensor).to(tensor.dtype) for piece, tensor in zip(pieces, tensors, strict=True)]

    def _shared_sum(self, size: int, dtype: torch.dtype) -> SharedSum | None:
        """Memory of this machine for vectors of that size, made when the first one comes; None between machines."""
        if self._size_of_sum != (size, dtype):
            self._sum = SharedSum.between(self._control, size, dtype)
            self._size_of_sum = (size, dtype)
        return self._sum

    def gather(self, tensor: Tensor) -> Tensor:
        """Tensors of all processes, of one shape, joined along their first dimension."""
        if self.size == 1:
            return tensor
        tensor = tensor.detach().contiguous()
        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        dist.all_gather(parts, tensor, group=self._group(tensor))
        return torch.cat(parts)

    @torch.no_grad()
    def broadcast(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite tensors by those of process 0."""
        if self.size == 1:
            return
        for tensor in tensors:
            value = tensor.detach().contiguous()
            dist.broadcast(value, src=0, group=self._group(value))
            tensor.copy_(value)

    def agree(self, *numbers: int) -> list[int]:
        """Largest of each number over the processes: a wish of one is a decision of all."""
        if self.size == 1:
            return list(numbers)
        largest = torch.tensor(numbers)
        dist.all_reduce(largest, dist.ReduceOp.MAX, group=self._control)
        return [int(number) for number in largest]

    def first(self, function: Callable[[], T]) -> T:
        """What a function gives in process 0, which alone calls it; what it raises there is raised in all."""
        if self.size == 1:
            return function()
        raised, message = None, b""
        if self.rank == 0:
            try:
                result = function()
                message = messages.packed((result, None))
            except Exception as error:
                raised, message = error, messages.packed((None, error))
        message = messages.broadcast(message, self._control)
        if self.rank:
            result, raised = messages.unpacked(message)
        if raised is not None:
            raise raised
        return result

    def any(self, found: T | None) -> T | None:
        """What the first process that found something found; None if none did."""
        if self.size == 1:
            return found
        return next((each for each in messages.gather(found, self._control) if each is not None), None)

    def all_of(self, value: T) -> list[T]:
        """What each process has, in their order: whatever a message holds, tensors of any shapes too."""
        return [value] if self.size == 1 else messages.gather(value, self._control)

    def _group(self, tensor: Tensor) -> Any:
        return None if is_accelerator(tensor.device) else self._control


def local_device(device: Any) -> Any:
    """Device of this process: under `torchrun`, `"auto"` and a type such as `"cuda"` are the one of its local rank."""
    if _started_by_torchrun():
        best = best_device()
        if is_accelerator(best) and str(device) in ("auto", best.type):
            return f"{best.type}:{os.environ.get('LOCAL_RANK', '0')}"
    return device


def join(device: torch.device) -> World:
    """The world of the process group that exists, or that `torchrun` asks for; else that of one process.

    A group that is made here (NCCL for CUDA, gloo for the CPU, else what PyTorch has for the device) lasts until the
    process ends; the user's own is left alone.

    Args:
        device: Where this process computes.
    """
    if not dist.is_available():
        return World()
    if not dist.is_initialized():
        if not _started_by_torchrun():
            return World()
        if is_accelerator(device):
            torch.accelerator.set_device_index(device)
            dist.init_process_group(dist.get_default_backend_for_device(device), device_id=device)
        else:
            dist.init_process_group("gloo")
        atexit.register(_leave)
    if dist.get_world_size() == 1:
        return World()
    # Decisions and files are agreed on by the CPU, so that nothing in a step waits for the device.
    control = None if dist.get_backend() == "gloo" else dist.new_group(backend="gloo")
    return World(dist.get_rank(), dist.get_world_size(), control)


def is_writer() -> bool:
    """Whether this process is the one that prints and writes, also before it has joined the others."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank() == 0
    return not _started_by_torchrun() or os.environ["RANK"] == "0"


def launcher() -> list[str]:
    """Words that start the command as this process was started."""
    if not _started_by_torchrun():
        return ["ppgen"]
    count = os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"])
    return ["torchrun", f"--nproc-per-node={count}", "-m", "ppgen"]


def _started_by_torchrun() -> bool:
    return all(name in os.environ for name in _TORCHRUN) and os.environ["WORLD_SIZE"] != "1"


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
