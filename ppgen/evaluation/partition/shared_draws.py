"""Sampling that the processes of `torch.distributed` share out: streams of their own, draws brought together."""

import hashlib

import torch
import torch.distributed as dist
from torch import Tensor

from ppgen import messages


def world_size() -> int:
    """Number of processes.

    Raises:
        ValueError: If there is no process group.
    """
    if not (dist.is_available() and dist.is_initialized()):
        raise ValueError(
            "distributed=True needs the process group of torch.distributed: start the program by torchrun and call "
            "torch.distributed.init_process_group() or ppgen.fit first."
        )
    return dist.get_world_size()


def own_seed(seed: int, rank: int | str) -> int:
    """Seed of the stream of one process, or for another purpose; that of process 0 is the seed itself.

    Example:
        >>> own_seed(3, 0), own_seed(3, 1) == own_seed(3, 2)
        (3, False)
    """
    return int.from_bytes(hashlib.sha256(f"{seed}/{rank}".encode()).digest()[:7], "big") if rank else seed


def gathered(draws: Tensor, size: int) -> Tensor:
    """Draws of all processes, in their order, along the first dimension; each may have another number of them."""
    if size == 1:
        return draws
    place = torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")
    return torch.cat(messages.gather_tensors(draws.to(place))).to(draws.device)
