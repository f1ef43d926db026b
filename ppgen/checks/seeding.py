"""What a seed may be."""

from numbers import Integral
from typing import Any


def check_seed(seed: Any) -> int:
    """The seed as a Python integer, which must be a number that random generators tell from every other.

    They would take 1.5 for 1 without a word, and a negative number for a large one.

    Args:
        seed: An `int`, or an integer of NumPy.

    Raises:
        TypeError: If it is no integer.
        ValueError: If it lies outside [0, 2^63).

    Example:
        >>> check_seed(0)
        0
        >>> check_seed(-1)
        Traceback (most recent call last):
        ...
        ValueError: seed must be in [0, 2^63), got -1.
    """
    if isinstance(seed, bool) or not isinstance(seed, Integral):
        raise TypeError(f"seed must be an int, got {type(seed).__name__} {seed!r}.")
    if not 0 <= int(seed) < 2**63:
        raise ValueError(f"seed must be in [0, 2^63), got {seed}.")
    return int(seed)
