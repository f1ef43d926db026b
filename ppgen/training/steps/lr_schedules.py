"""Step-size schedules: a factor of `lr` as a function of the progress of a run from 0 to 1."""

import math
from collections.abc import Callable, Mapping
from functools import partial
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


_LOOKS = tuple(step / 100 for step in range(100))  # where a function is tried before training; later at every step


def resolve(schedule: Any) -> tuple[str, Schedule]:
    """Name and function of a schedule given by name or as a function of the progress.

    Raises:
        ValueError: If the name is not known, or the function gives a factor that is negative or not finite.
        TypeError: If it is neither a name nor callable, or a scheduler of PyTorch.

    Example:
        >>> from ppgen.training.steps.lr_schedules import resolve
        >>> resolve("linear")[1](0.25)
        0.75
    """
    if isinstance(schedule, str):
        if schedule not in SCHEDULES:
            raise ValueError(f"Unknown lr_schedule {schedule!r}. Known: {', '.join(SCHEDULES)}.")
        return schedule, SCHEDULES[schedule]
    if _of_torch(schedule):
        raise TypeError(
            f"lr_schedule must be a name or a function from the progress in [0, 1) to a factor of lr, got PyTorch's "
            f"{getattr(schedule, '__name__', type(schedule).__name__)}, which steps an optimiser of its own. Give "
            'lr_schedule="cosine", or lambda progress: 0.5 ** (10 * progress).'
        )
    if callable(schedule):
        name = f"function {getattr(schedule, '__qualname__', type(schedule).__name__)}"
        checked = partial(_factor, schedule, name)
        for progress in _LOOKS:
            checked(progress)
        return name, checked
    raise TypeError(
        "lr_schedule must be a name or a function from the progress in [0, 1) to a factor of lr, "
        f"got {type(schedule).__name__}."
    )


def _factor(schedule: Any, name: str, progress: float) -> float:
    """Factor at some progress; a negative one would go the other way, and NaN end the run."""
    factor = schedule(progress)
    if isinstance(factor, bool) or not hasattr(factor, "__float__") or not 0 <= float(factor) < math.inf:
        raise ValueError(
            f"lr_schedule must give a factor of lr that is finite and at least 0, but {name} gave {factor!r} at "
            f"progress {progress:.3g}."
        )
    return float(factor)


def _of_torch(schedule: Any) -> bool:
    from torch.optim import lr_scheduler

    kind = schedule if isinstance(schedule, type) else type(schedule)
    return issubclass(kind, lr_scheduler.LRScheduler)
