"""Names for what stands outside of ppgen: `ppgen.register`, and entry points of installed packages.

A part of the user's own needs no name to be used as a value. With a name it can be written to a checkpoint, given on
the command line and listed. A checkpoint holds the name alone, never where its class is, so that nothing is imported
because a file says so.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, overload

T = TypeVar("T")

GROUPS: dict[str, str] = {
    "model": "ppgen.models",
    "objective": "ppgen.objectives",
    "estimator": "ppgen.estimators",
    "negative phase": "ppgen.negative_phases",
    "baseline": "ppgen.baselines",
    "schedule": "ppgen.schedules",
    "algorithm": "ppgen.algorithms",
    "kernel": "ppgen.kernels",
    "unit": "ppgen.units",
    "data set": "ppgen.datasets",
}
"""Group of entry points in which an installed package announces names of each kind."""

_REGISTERED: dict[str, dict[str, Any]] = {kind: {} for kind in GROUPS}


@overload
def register(kind: str, name: str, cls: T) -> T: ...
@overload
def register(kind: str, name: str) -> Callable[[T], T]: ...


def register(kind: str, name: str, cls: Any = None) -> Any:
    """Give a class or function of your own a name, by which checkpoints and the command line know it.

    It holds in this process, and in those that a comparison starts. A package that is installed announces its names by
    entry points instead, which are read when a name is not known:

    .. code-block:: toml

        [project.entry-points."ppgen.models"]
        MyModel = "my_package.models:MyModel"

    Args:
        kind: `"model"`, `"objective"`, `"estimator"`, `"negative phase"`, `"baseline"`, `"schedule"`, `"kernel"` or
            `"unit"`, which are classes; `"algorithm"`, a function that returns an `Inference`; or `"data set"`, a
            function from a folder to a `ppgen.datasets.Source`.
        name: The name: letters, digits and underscores.
        cls: The class or function. Without it the call is a decorator.

    Returns:
        The class or function as it was given.

    Raises:
        ValueError: If the kind is not known, the name is no identifier, or something else has the name.
        TypeError: If the object is not of that kind.

    Example:
        >>> from dataclasses import dataclass
        >>> import ppgen
        >>> from ppgen import inference
        >>> @ppgen.register("objective", "Doubled")
        ... @dataclass(frozen=True)
        ... class Doubled(inference.ELBO):
        ...     num_particles: int = 2
        >>> inference.from_config(inference.to_config(inference.Inference(Doubled()))).objective == Doubled()
        True
    """
    from ppgen import registry

    if kind not in GROUPS:
        raise ValueError(f"kind must be one of {', '.join(map(repr, GROUPS))}, got {kind!r}.")
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"name must be letters, digits and underscores, got {name!r}.")
    if cls is None:
        return functools.partial(register, kind, name)
    _check(kind, name, cls)
    key = registry.normalise(name)
    taken = next((known for known in registry.TABLES[kind] if registry.normalise(known) == key), None)
    if taken is not None:
        raise ValueError(f"The {kind} {taken!r} is one of ppgen's own; choose another name.")
    others = _REGISTERED[kind]
    other = next((known for known in others if registry.normalise(known) == key), None)
    if other is not None and not _same_statement(others[other], cls):
        raise ValueError(
            f"The {kind} name {other!r} stands for {others[other].__module__}.{others[other].__qualname__} already; "
            "choose another name."
        )
    others.pop(other or name, None)
    others[name] = cls
    return cls


def registered(kind: str) -> Mapping[str, Any]:
    """What was registered of a kind, by name."""
    return _REGISTERED[kind]


def registrations() -> dict[str, dict[str, Any]]:
    """Everything that was registered, by kind and name, to be adopted by another process."""
    return {kind: dict(known) for kind, known in _REGISTERED.items() if known}


def adopt(known: Mapping[str, Mapping[str, Any]]) -> None:
    """Register what another process had registered."""
    for kind, named in known.items():
        for name, cls in named.items():
            register(kind, name, cls)


def announced(kind: str) -> dict[str, str]:
    """Names that installed packages announce for a kind, and where they are; nothing of the packages is imported."""
    return {point.name: point.value for point in _entry_points(kind)}


def load_announced(kind: str, name: str) -> Any:
    """Import and register what a package announces.

    Raises:
        ValueError: If it cannot be imported, or is not of its kind; the message names the package.
    """
    point = next(point for point in _entry_points(kind) if point.name == name)
    package = getattr(getattr(point, "dist", None), "name", point.value.partition(":")[0])
    try:
        return register(kind, name, point.load())
    except Exception as error:  # whatever the import of another package raises
        raise ValueError(
            f"The {kind} {name!r} of the package {package} cannot be used: {type(error).__name__}: {error}"
        ) from error


def _entry_points(kind: str) -> list[Any]:
    from importlib.metadata import entry_points

    return sorted(entry_points(group=GROUPS[kind]), key=lambda point: point.name)


def _check(kind: str, name: str, cls: Any) -> None:
    from ppgen import registry

    base = registry.BASES[kind]
    if kind == "kernel":
        if not (inspect.isclass(cls) and callable(getattr(cls, "init", None)) and callable(getattr(cls, "step", None))):
            raise TypeError(f"The kernel {name!r} must be a class with methods init and step, got {cls!r}.")
        return
    if base is None:
        if not callable(cls):
            raise TypeError(f"The {kind} {name!r} must be a function, got {type(cls).__name__}.")
        return
    expected = registry.load(base)
    if not (inspect.isclass(cls) and issubclass(cls, expected)):
        given = f"the class {cls.__qualname__}" if inspect.isclass(cls) else f"an object of {type(cls).__name__}"
        raise TypeError(
            f"The {kind} {name!r} must be a subclass of {expected.__module__}.{expected.__qualname__}, got {given}."
        )


def _same_statement(known: Any, cls: Any) -> bool:
    """Whether two classes are one statement that was run again, as a cell of a notebook is."""
    return (known.__module__, known.__qualname__) == (cls.__module__, cls.__qualname__)
