"""Small instances of what has a registered name, one file a kind; contracts, devices and files are tried on them.

A model or a unit, which needs sizes, says in its own file by a class method `example` what it is first tried on; the
files here have further settings.
"""

from collections.abc import Callable
from typing import Any

import pytest

from ppgen import registry


def instances(kind: str, examples: dict[str, list[Any]], default: bool = True) -> list[Any]:
    """Parameters `(name, instance)` of every registered name of a kind.

    A name without an example stands for itself as it is made without arguments, unless its kind has no such instance.
    """
    found = []
    for name in registry.TABLES[kind]:
        items = examples.get(name, [registry.lookup(kind, name)()] if default else [])
        found += [pytest.param(name, item, id=f"{name}-{index}") for index, item in enumerate(items)]
    return found


def own_examples(kind: str) -> dict[str, Callable[[], Any]]:
    """The class method `example` of every class of a kind that has one, by registered name."""
    classes = {name: registry.lookup(kind, name) for name in registry.TABLES[kind]}
    return {name: each.example for name, each in classes.items() if "example" in vars(each)}
