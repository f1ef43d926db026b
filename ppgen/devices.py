"""What the devices of PyTorch have and lack, whatever their type."""

import functools
from typing import Any

import torch

_BLOCK = 31 * 2**20  # bytes, just below the size from which on glibc gives every block back


def is_accelerator(device: torch.device) -> bool:
    """Whether tensors lie elsewhere than in the memory that Python sees.

    Example:
        >>> is_accelerator(torch.device("cpu")), is_accelerator(torch.device("cuda"))
        (False, True)
    """
    return device.type not in ("cpu", "meta")


def best_device() -> torch.device:
    """PyTorch's accelerator, on its current index, if one is there (CUDA, XPU, MPS, ...); else the CPU.

    One that only imitates a device, as that of `ppgen.testing`, says `simulated` in its module, and is left out.
    """
    found = torch.accelerator.current_accelerator(check_available=True)
    if found is not None and getattr(torch.get_device_module(found), "simulated", False):
        found = torch.device("cuda") if torch.cuda.is_available() else None
    return torch.device("cpu") if found is None else torch.device(found.type, current_index(found))


def current_index(device: torch.device) -> int:
    """Index of a device: its own, else the current one of its type."""
    if device.index is not None:
        return device.index
    current = getattr(torch.get_device_module(device), "current_device", None)
    return 0 if current is None else int(current())


def free_memory(device: torch.device) -> float:
    """Bytes that are free on an accelerator; infinity where PyTorch cannot tell."""
    module = torch.get_device_module(device)
    if hasattr(module, "mem_get_info"):
        return float(module.mem_get_info(device)[0])
    if hasattr(module, "recommended_max_memory"):  # MPS shares the memory of the machine
        return float(module.recommended_max_memory() - module.current_allocated_memory())
    return float("inf")


def wide(device: torch.device) -> torch.dtype:
    """Type in which sums are kept on a device: float64, or float32 where that is missing.

    Example:
        >>> wide(torch.device("cpu"))
        torch.float64
    """
    return torch.float64 if has_float64(device) else torch.float32


def has_float64(device: torch.device) -> bool:
    """Whether the device has float64, which MPS has not."""
    if not is_accelerator(device):
        return True
    try:
        torch.empty(0, dtype=torch.float64, device=device)
    except (TypeError, RuntimeError):
        return False
    return True


def check_float64(device: torch.device, what: str) -> None:
    """Raise where the device has no float64, in which `what` is summed.

    Raises:
        ValueError: Names the device, and says what to do.
    """
    if not has_float64(device):
        raise ValueError(f"{what} are summed in float64, which {device.type} lacks. Move the pair first: pair.cpu().")


@functools.cache
def has_inductor(device_type: str) -> bool:
    """Whether Inductor makes machine code for devices of this type.

    Example:
        >>> has_inductor("cpu")
        True
    """
    if device_type in ("cpu", "cuda"):
        return True
    from torch._inductor.codegen.common import get_scheduling_for_device, init_backend_registration

    init_backend_registration()
    return get_scheduling_for_device(device_type) is not None


def name_of(device: torch.device) -> str:
    """What the maker calls the device; its type where PyTorch cannot tell."""
    named: Any = getattr(torch.get_device_module(device), "get_device_name", None) if is_accelerator(device) else None
    return device.type if named is None else str(named(device))


def keep_freed_memory(device: torch.device) -> None:
    """Make the C library keep freed blocks of a few MiB instead of asking the system for new pages each time.

    glibc keeps blocks up to the size of the largest one freed so far, if that is below 32 MiB, and twice that size in
    all. Without it a step of an importance weighted autoencoder (K = 50, 784-200-200-50) touched 15,000 new pages and
    took 77 instead of 54 ms; the estimate of log p(x) for that model was a third slower.

    Args:
        device: Where tensors are; nothing is done for devices with an allocator of their own.
    """
    if device.type == "cpu":
        torch.empty(_BLOCK, dtype=torch.uint8)
