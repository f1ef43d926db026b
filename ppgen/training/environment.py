"""The machine a run uses: its device, the precision of its matrix products, its memory, its versions."""

import platform
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyro
import torch
from torch import nn

from ppgen.devices import best_device, current_index, has_float64, is_accelerator, name_of
from ppgen.version import __version__

PRECISIONS = {"ieee": "highest", "tf32": "high", "bf16": "medium"}
"""Values of `matmul_precision` and what PyTorch calls them."""

_TOLD: set[str] = set()  # types of devices of which was said what they lack


def resolve_device(device: Any) -> torch.device:
    """Device of that name; `"auto"` is PyTorch's accelerator (CUDA, XPU, MPS, ...) if one is there, else the CPU.

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
        return best_device()
    try:
        found = torch.device(device)
        module = torch.get_device_module(found)
    except RuntimeError as error:
        raise ValueError(_not_known(device)) from error
    if found.type == "cpu":
        return found
    if not hasattr(module, "is_available") or not hasattr(module, "device_count"):  # such as "meta"
        raise ValueError(_not_known(device))
    count = module.device_count() if module.is_available() else 0
    index = found.index if found.index is not None else (current_index(found) if count else 0)
    if index >= count:
        kind = found.type.upper()
        raise ValueError(f"device {str(device)!r} is not there: this machine has {count} {kind} devices. Use 'auto'.")
    return torch.device(found.type, index)


def check_precision(pair: nn.Module, device: torch.device) -> None:
    """Say once what a training misses on a device without float64, and refuse a pair that cannot go there.

    Raises:
        ValueError: If the pair holds float64.
    """
    if has_float64(device):
        return
    held = [name for name, value in [*pair.named_parameters(), *pair.named_buffers()] if value.dtype == torch.float64]
    if held:
        raise ValueError(
            f"{device.type} has no float64, in which the pair holds {held[0]!r}. Make it float32: pair.float()."
        )
    if device.type not in _TOLD:
        _TOLD.add(device.type)
        warnings.warn(
            f"{device.type} has no float64: train_value is summed in float32 there, and what is always summed in "
            "float64 (log-likelihoods, log Z, annealing) needs the pair on the CPU: pair.cpu().",
            stacklevel=3,
        )


def _not_known(device: Any) -> str:
    known = "'auto', 'cpu' or an accelerator of PyTorch such as 'cuda:N', 'xpu' or 'mps'"
    return f"device must be {known}, got {str(device)!r}."


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
        "ppgen": __version__,
        "torch": torch.__version__,
        "pyro": pyro.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "device": name_of(device),
    }


def reset_peak_memory(device: torch.device) -> None:
    """Start a new measurement of `peak_memory` on an accelerator that measures it."""
    if is_accelerator(device) and hasattr(torch.get_device_module(device), "reset_peak_memory_stats"):
        torch.get_device_module(device).reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> float | None:
    """Peak memory in MiB: allocated on a device that measures it, else resident in the process; None if not known."""
    module: Any = torch.get_device_module(device) if is_accelerator(device) else None
    if hasattr(module, "max_memory_allocated"):
        return float(module.max_memory_allocated(device)) / 2**20
    try:
        import resource
    except ImportError:  # not a Unix system
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
