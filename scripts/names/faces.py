"""Faces: the `__init__.py` through which a package hands on its public names.

Every registered name stands in the face of its package, with the state and what it tells of a kernel, `NameState` and
`NameInfo`. What else a face hands on is added by hand, once, and stays.
"""

import ast
from pathlib import Path

from scripts.names.sources import definitions, file_of, named, parsed

KINDS = {
    "ppgen.models": ("model",),
    "ppgen.inference": (
        "objective",
        "estimator",
        "negative phase",
        "update",
        "baseline",
        "schedule",
        "algorithm",
        "kernel",
    ),
    "ppgen.distributions": ("unit",),
}
_WIDTH = 120


def written(root: Path) -> dict[Path, str]:
    """Text of each face."""
    return {file_of(root, package): _face(root, package) for package in KINDS}


def _face(root: Path, package: str) -> str:
    path = file_of(root, package)
    tree, lines = parsed(path), path.read_text(encoding="utf-8").splitlines()
    imports = [statement for statement in tree.body if isinstance(statement, ast.ImportFrom)]
    names: dict[str, set[str]] = {}
    for statement in imports:
        for alias in statement.names:
            if alias.name in definitions(root, str(statement.module)):  # else it has gone
                names.setdefault(str(statement.module), set()).add(alias.name)
    for kind in KINDS[package]:
        for module, attribute in named(root, kind):
            names.setdefault(module, set()).add(attribute)
    head = "\n".join(lines[: imports[0].lineno - 1])
    every = sorted(set().union(*names.values()), key=_as_sorted)
    exported = "\n".join(f'    "{name}",' for name in every)
    statements = "\n".join(_statement(module, names[module]) for module in sorted(names))
    return f"{head}\n{statements}\n\n__all__ = [\n{exported}\n]\n"


def _as_sorted(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions: the order that ruff keeps."""
    return (0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2), name


def _statement(module: str, names: set[str]) -> str:
    ordered = sorted(names, key=_as_sorted)
    line = f"from {module} import {', '.join(ordered)}"
    if len(line) <= _WIDTH:
        return line
    return "\n".join([f"from {module} import (", *(f"    {name}," for name in ordered), ")"])
