"""Checks of switches, by the names of the arguments."""

from typing import Any

import numpy as np


def check_switches(*, optional: tuple[str, ...] = (), **switches: Any) -> None:
    """Raise unless each value, named by its argument, is True or False: any text but an empty one counts as true.

    Args:
        optional: Names of those that may be None.
        **switches: The values.

    Raises:
        TypeError: If one is something else.

    Example:
        >>> check_switches(optional=("restore_best",), restore_best=None, progress=True)
    """
    for name, value in switches.items():
        if isinstance(value, (bool, np.bool_)) or (value is None and name in optional):
            continue
        allowed = "True, False or None" if name in optional else "True or False"
        raise TypeError(f"{name} must be {allowed}, got {value!r}.")
