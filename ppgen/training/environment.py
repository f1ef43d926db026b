"""The machine a run uses: its device, the precision of its matrix products, its memory, its versions."""

import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyro
import torch

import ppgen

PRECISIONS = {"ieee": "highest", "tf32": "high", "bf16": "medium"}
"""Values of `matmul_precision` and what PyTorch calls them."""


def resolve_device(device: Any) -> torch.device:
    """Device of that name; `"auto"` is the current CUDA device if there is one, else the CPU.

    Raises:
        ValueError: If the name is no device, or the machine does not have it.
        TypeError: If it is neither a name nor a `torch.device`.

    Example:
        >>> resolve_device("cpu")
        device(type='cpu')
    """
    if not isinstance(device, (str, torch.device)):
        raise TypeError(f"device must be 'auto', a device name or a torch.device, got {type(device).__name__}.")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device must be 'auto', 'cpu' or 'cuda:N', got {device!r}.") from error
    if found.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        index = found.index if found.index is not None else (torch.cuda.current_device() if count else 0)
        if index >= count:
            raise ValueError(f"device {str(device)!r} is not there: this machine has {count} CUDA devices. Use 'auto'.")
        return torch.device("cuda", index)
    if found.type != "cpu":
        raise ValueError(f"device must be 'auto', 'cpu' or 'cuda:N', got {str(device)!r}.")
    return found


@contextmanager
def matmul_precision(name: str) -> Iterator[None]:
    """Context in which float32 matrix products have that precision; the caller's setting is put back."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(PRECISIONS[name])
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def describe_environment(device: torch.device) -> dict[str, Any]:
    """What a bit-for-bit resume depends on besides the configuration."""
    return {
        "ppgen": ppgen.__version__,
        "torch": torch.__version__,
        "pyro": pyro.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
    }


def reset_peak_memory(device: torch.device) -> None:
    """Start a new measurement of `peak_memory` on a CUDA device."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> float | None:
    """Peak memory in MiB: allocated on a CUDA device, else resident in the process; None if not known."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        import resource
    except ImportError:  # not a Unix system
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
