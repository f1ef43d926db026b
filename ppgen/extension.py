"""What stands outside of ppgen and has a name: registered in this process, or announced by an installed package."""

import inspect
from collections.abc import Mapping
from typing import Any

GROUPS: dict[str, str] = {
    "model": "ppgen.models",
    "objective": "ppgen.objectives",
    "estimator": "ppgen.estimators",
    "negative phase": "ppgen.negative_phases",
    "update": "ppgen.updates",
    "baseline": "ppgen.baselines",
    "schedule": "ppgen.schedules",
    "algorithm": "ppgen.algorithms",
    "kernel": "ppgen.kernels",
    "unit": "ppgen.units",
    "data set": "ppgen.datasets",
}
"""Group of entry points in which an installed package announces names of each kind."""

_REGISTERED: dict[str, dict[str, Any]] = {kind: {} for kind in GROUPS}


def registered(kind: str) -> Mapping[str, Any]:
    """What was registered of a kind, by name."""
    return _REGISTERED[kind]


def registrations() -> dict[str, dict[str, Any]]:
    """Everything that was registered, by kind and name, to be adopted by another process."""
    return {kind: dict(known) for kind, known in _REGISTERED.items() if known}


def announced(kind: str) -> dict[str, str]:
    """Names that installed packages announce for a kind, and where they are; nothing of the packages is imported."""
    return {point.name: point.value for point in _entry_points(kind)}


def entry_point(kind: str, name: str) -> tuple[Any, str]:
    """What announces a name, whose `load()` imports it, and the package that it belongs to."""
    point = next(point for point in _entry_points(kind) if point.name == name)
    return point, getattr(getattr(point, "dist", None), "name", point.value.partition(":")[0])


def _entry_points(kind: str) -> list[Any]:
    from importlib.metadata import entry_points

    return sorted(entry_points(group=GROUPS[kind]), key=lambda point: point.name)


def keep(kind: str, name: str, cls: Any) -> None:
    """Hold a class or function under a name; a statement that is run again, as a cell of a notebook is, replaces it.

    Raises:
        ValueError: If something else has the name.
    """
    others = _REGISTERED[kind]
    other = next((known for known in others if known.lower() == name.lower()), None)
    if other is not None and _place(others[other]) != _place(cls):
        raise ValueError(f"The {kind} name {other!r} stands for {_place(others[other])} already; choose another name.")
    others.pop(other or name, None)
    others[name] = cls


def check(kind: str, name: str, cls: Any, base: Any) -> None:
    """Raise unless an object is what a kind stands for.

    Args:
        kind: A key of `GROUPS`.
        name: Its name, for the message.
        cls: The object.
        base: The class that it must be a subclass of; None where there is none.

    Raises:
        TypeError: If it is something else.
    """
    if base is not None:
        if not (inspect.isclass(cls) and issubclass(cls, base)):
            given = f"the class {cls.__qualname__}" if inspect.isclass(cls) else f"an object of {type(cls).__name__}"
            raise TypeError(f"The {kind} {name!r} must be a subclass of {_place(base)}, got {given}.")
    elif kind == "kernel":
        if not (inspect.isclass(cls) and callable(getattr(cls, "init", None)) and callable(getattr(cls, "step", None))):
            raise TypeError(f"The kernel {name!r} must be a class with methods init and step, got {cls!r}.")
    elif not callable(cls):
        raise TypeError(f"The {kind} {name!r} must be a function, got {type(cls).__name__}.")


def _place(cls: Any) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
