"""Modules that a plain function refers to by its closure, its globals or its bound object, also in containers."""

import functools
import inspect
from collections.abc import Callable, Iterator
from types import FunctionType, MethodType
from typing import Any

from torch import nn

_DEPTH = 3  # functions called by functions called by the program


def referenced_modules(program: Callable[..., Any], depth: int = _DEPTH) -> dict[str, nn.Module]:
    """Modules by the name under which the program, or a function that it calls, refers to them.

    Example:
        >>> network = nn.Linear(2, 3)
        >>> def make(network):
        ...     return lambda x: network(x)
        >>> list(referenced_modules(make(network)))
        ['network']
    """
    found: dict[str, nn.Module] = {}
    for name, value in _flat(_references(program)):
        if isinstance(value, nn.Module):
            found.setdefault(name, value)
        elif depth and isinstance(value, (FunctionType, MethodType, functools.partial)):
            for deeper, module in referenced_modules(value, depth - 1).items():
                found.setdefault(deeper, module)
    return found


def _flat(references: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """The references, and what lists, tuples and dictionaries among them hold."""
    for name, value in references:
        yield name, value
        if isinstance(value, (list, tuple)):
            yield from ((f"{name}_{index}", item) for index, item in enumerate(value))
        elif isinstance(value, dict):
            yield from ((f"{name}_{key}", item) for key, item in list(value.items()))


def _references(program: Any) -> Iterator[tuple[str, Any]]:
    while isinstance(program, functools.partial):
        yield from ((str(index), value) for index, value in enumerate(program.args))
        yield from program.keywords.items()
        program = program.func
    if isinstance(program, MethodType):
        owner = program.__self__
        yield type(owner).__name__.lower(), owner
        yield from vars(owner).items() if hasattr(owner, "__dict__") else ()
        program = program.__func__
    if isinstance(program, FunctionType) and not (program.__module__ or "").startswith(("torch.", "pyro.")):
        variables = inspect.getclosurevars(program)
        yield from variables.nonlocals.items()
        yield from variables.globals.items()
