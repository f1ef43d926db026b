"""Random states: one seed, a stream of its own for each purpose, and the caller's state left as it was."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def derive(seed: int, *purpose: str | int) -> int:
    """Seed of the stream for one purpose: streams do not overlap, and one can change without the others.

    Example:
        >>> derive(0, "order", 1) == derive(0, "order", 2)
        False
    """
    text = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """CPU generator at the start of the stream for one purpose."""
    return torch.Generator().manual_seed(derive(seed, *purpose))


@contextmanager
def forked(seed: int, device: torch.device) -> Iterator[None]:
    """Context whose draws start from `seed`; the states of the CPU and of `device` are put back afterwards.

    `torch.manual_seed` would seed every CUDA device, also those that nobody puts back.
    """
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        if devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def random_state(device: torch.device) -> dict[str, Tensor]:
    """States of torch's generators of the CPU and of `device`, as byte tensors."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state: dict[str, Tensor], device: torch.device) -> None:
    """Put back what `random_state` gave; a state of a device that is not used now is left out."""
    torch.set_rng_state(state["cpu"].cpu())
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)
