"""Whether what is asked for fits in the memory of this machine, told before the allocator is asked."""

import math
import os
from collections.abc import Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_FACTORIES = {
    getattr(torch, name) for name in ("empty", "zeros", "ones", "full", "rand", "randn", "randint", "normal", "eye")
} | {getattr(torch.Tensor, name) for name in ("new_empty", "new_zeros", "new_ones", "new_full")}
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def physical_memory() -> float:
    """Memory of this machine in bytes; infinite where the system does not tell."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):
        return math.inf


def check_room(name: str, count: Any, values: int = 1) -> None:
    """Raise if a number asks for more values than this machine can hold in single precision.

    Args:
        name: Argument, for the message.
        count: What it was given.
        values: Values that each one takes, at the least.

    Raises:
        ValueError: If they are more.

    Example:
        >>> check_room("num_samples", 1000, values=784)
    """
    needed, held = 4 * int(count) * values, physical_memory()
    if needed > held:
        raise ValueError(
            f"{name} is too large for this machine: {count} would take {_size(needed)} or more, and it has "
            f"{_size(held)} of memory."
        )


class CheckedAllocations(TorchFunctionMode):
    """Context in which a tensor that cannot fit in memory is refused before it is made.

    Args:
        what: What is built, for the message.

    Raises:
        ValueError: When such a tensor is asked for.
    """

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what, self.held = what, physical_memory()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        """Hand the call on."""
        kwargs = kwargs or {}
        if func in _FACTORIES and str(kwargs.get("device")) != "meta":
            shape = _shape(args, kwargs)
            needed = 4 * math.prod(shape)
            if needed > self.held:
                raise ValueError(
                    f"{self.what} needs a tensor of shape {shape}, {_size(needed)}, and this machine has "
                    f"{_size(self.held)} of memory: give smaller sizes."
                )
        return func(*args, **kwargs)


def _shape(args: Any, kwargs: Mapping[str, Any]) -> tuple[int, ...]:
    """Sizes among the arguments of a function that makes a tensor."""
    sizes = kwargs.get("size")
    if sizes is None:
        given = [arg for arg in args if not isinstance(arg, torch.Tensor)]
        sizes = next((arg for arg in given if isinstance(arg, (tuple, list))), given)
    return tuple(size for size in sizes if isinstance(size, int) and not isinstance(size, bool))


def _size(number: float) -> str:
    """Bytes as they are read.

    Example:
        >>> _size(3 * 2**30)
        '3 GiB'
    """
    power = min(int(math.log(max(number, 1), 1024)), len(_UNITS) - 1)
    return f"{number / 1024**power:.3g} {_UNITS[power]}"
