"""Step-size schedules: a factor of `lr` as a function of the progress of a run from 0 to 1."""

import math
from collections.abc import Callable, Mapping
from typing import Any

Schedule = Callable[[float], float]

SCHEDULES: Mapping[str, Schedule] = {
    "constant": lambda progress: 1.0,
    "linear": lambda progress: 1.0 - progress,
    "cosine": lambda progress: 0.5 * (1.0 + math.cos(math.pi * progress)),
    "exponential": lambda progress: 0.01**progress,
    "half": lambda progress: 1.0 if progress < 0.5 else 0.01 ** (2.0 * progress - 1.0),
}
"""`"constant"`; `"linear"` and `"cosine"` fall to zero; `"exponential"` falls geometrically to a hundredth;
`"half"` is constant for the first half and then falls geometrically to a hundredth."""


def resolve(schedule: Any) -> tuple[str, Schedule]:
    """Name and function of a schedule given by name or as a function of the progress.

    Raises:
        ValueError: If the name is not known.
        TypeError: If it is neither a name nor callable.

    Example:
        >>> resolve("linear")[1](0.25)
        0.75
    """
    if isinstance(schedule, str):
        if schedule not in SCHEDULES:
            raise ValueError(f"Unknown lr_schedule {schedule!r}. Known: {', '.join(SCHEDULES)}.")
        return schedule, SCHEDULES[schedule]
    if callable(schedule):
        return f"function {getattr(schedule, '__qualname__', type(schedule).__name__)}", schedule
    raise TypeError(
        "lr_schedule must be a name or a function from the progress in [0, 1) to a factor of lr, "
        f"got {type(schedule).__name__}."
    )
