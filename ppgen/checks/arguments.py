"""Checks of arguments that are counts, numbers, paths or tensors: made before any work, and naming the argument."""

import math
from collections.abc import Callable
from os import PathLike
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppgen.checks.room import check_room

LARGEST = 2**63 - 1  # what torch can count with
SMALL = 2**20  # what any machine has room for


def check_count(
    name: str, value: Any, least: int = 1, *, optional: bool = False, wanted: str | None = None, room: bool = True
) -> Any:
    """The value, which must be a whole number of at least so much, or None where that may be.

    Args:
        name: Name of the argument.
        value: What was given.
        least: The smallest number that it may be.
        optional: Whether it may be None.
        wanted: What it must be, in words, where there is more to say than the smallest number.
        room: Whether it counts what takes memory.

    Raises:
        ValueError: Names the argument and what was given.

    Example:
        >>> check_count("num_samples", 3)
        3
    """
    if optional and value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be {wanted or f'an integer of at least {least}'}, got {value!r}.")
    if room and value > SMALL:
        check_room(name, value)
    if value > LARGEST:
        raise ValueError(f"{name} must be below 2^63, got {value}.")
    return value


def check_number(name: str, value: Any, wanted: str, holds: Callable[[float], bool]) -> None:
    """Raise unless a value is a finite number for which something holds.

    Args:
        name: Name of the argument.
        value: What was given.
        wanted: What it must, in words, such as `"lie in [0, 1)"`.
        holds: Whether a number is as it must be.

    Raises:
        ValueError: Names the argument and what was given.

    Example:
        >>> check_number("decay", 0.9, "lie in [0, 1)", lambda decay: 0 <= decay < 1)
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, np.floating, np.integer)):
        raise ValueError(f"{name} must be a number, got {value!r}.")
    if not math.isfinite(value) or not holds(float(value)):
        raise ValueError(f"{name} must {wanted}, got {value!r}.")


def check_tensors(**given: Any) -> None:
    """Raise unless every value is a tensor of real numbers.

    Raises:
        TypeError: Names the argument and what was given.

    Example:
        >>> import torch
        >>> check_tensors(bias=torch.zeros(3))
    """
    for name, value in given.items():
        if not isinstance(value, Tensor):
            raise TypeError(
                f"{name} must be a tensor, got {type(value).__name__}; torch.as_tensor makes one of an array."
            )
        if value.layout != torch.strided:
            raise TypeError(f"{name} must be a dense tensor, got a sparse one; give its .to_dense().")
        if value.is_complex():
            raise TypeError(f"{name} must be a tensor of real numbers, got {value.dtype}.")


def as_numbers(name: str, value: Any) -> Tensor:
    """What a tensor, an array or a list holds, as a tensor of real numbers.

    Raises:
        TypeError: Names the argument and what was given.

    Example:
        >>> as_numbers("labels", [0, 1])
        tensor([0, 1])
    """
    if np.ma.is_masked(value):
        raise TypeError(f"{name} holds masked entries, which would count as numbers: leave them out, or fill them.")
    if isinstance(value, Tensor) and value.is_meta:
        raise TypeError(f"{name} is a tensor of the device meta, which holds no numbers.")
    try:
        found = value if isinstance(value, Tensor) else torch.as_tensor(np.array(value))
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name} must be a tensor or an array of numbers, got {type(value).__name__}.") from error
    check_tensors(**{name: found})
    return found.detach()


def check_path(name: str, value: Any) -> None:
    """Raise unless a value is a path.

    Raises:
        TypeError: Names the argument and what was given.

    Example:
        >>> check_path("folder", "runs/one")
    """
    if not isinstance(value, (str, PathLike)):
        raise TypeError(f"{name} must be a path, got {value!r}.")


def check_kind(name: str, value: Any, kind: type | tuple[type, ...], wanted: str) -> None:
    """Raise unless a value is an instance of a class.

    Args:
        name: Name of the argument.
        value: What was given.
        kind: The class, or several.
        wanted: What is expected, in words, such as `"an objective such as inference.ELBO()"`.

    Raises:
        TypeError: Names the argument and what was given.

    Example:
        >>> check_kind("config", {}, dict, "a mapping")
    """
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{name} must be {wanted}, got {type(value).__name__}.")
