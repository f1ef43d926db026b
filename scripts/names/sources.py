"""The library as its files say it: nothing of it is imported, so that a copy is read as well as the checkout."""

import ast
import functools
from pathlib import Path

# The two packages that stand at the top of the repository, and all others below `ppgen/`.
LINKED = {"ppgen.models": "models", "ppgen.inference": "inference"}


def folder_of(root: Path, package: str) -> Path:
    """Folder of a package: `ppgen.models.parts` -> models/parts."""
    parts = package.split(".")
    top = LINKED.get(".".join(parts[:2]))
    return root.joinpath(*([top, *parts[2:]] if top else parts))


def file_of(root: Path, module: str) -> Path:
    """File of a module, or the `__init__.py` of a package."""
    folder = folder_of(root, module)
    return folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")


@functools.cache
def parsed(path: Path) -> ast.Module:
    """Syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def tables(root: Path) -> dict[str, dict[str, str]]:
    """Names of each kind and where they are, as `ppgen/registry.py` has them."""
    found, kinds = {}, {}
    for statement in parsed(root / "ppgen" / "registry.py").body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.value, ast.Dict):
            name, value = statement.target.id, statement.value
            if name == "TABLES":
                kinds = {key.value: each.id for key, each in zip(value.keys, value.values, strict=True)}
            elif all(isinstance(each, ast.Constant) for each in value.values):
                found[name] = ast.literal_eval(value)
    return {kind: found[name] for kind, name in kinds.items()}


def definitions(root: Path, module: str) -> dict[str, ast.stmt]:
    """What stands in a module under a name of its own: classes, functions, values. Empty if there is no such file."""
    path, found = file_of(root, module), {}
    for statement in parsed(path).body if path.exists() else []:
        if isinstance(statement, (ast.ClassDef, ast.FunctionDef)):
            found[statement.name] = statement
        elif isinstance(statement, (ast.Assign, ast.AnnAssign)):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            found |= {target.id: statement for target in targets if isinstance(target, ast.Name)}
    return found


def named(root: Path, kind: str) -> list[tuple[str, str]]:
    """Module and attribute of every registered name of a kind; of a kernel also `NameState` and `NameInfo` beside it.

    Raises:
        ValueError: If the registry names what is not there.
    """
    found = []
    for name, where in tables(root)[kind].items():
        module, _, attribute = where.partition(":")
        there = definitions(root, module)
        if attribute not in there:
            raise ValueError(f"ppgen/registry.py says {where!r} of the {kind} {name!r}, which is not there.")
        ends = ("", "State", "Info") if kind == "kernel" else ("",)
        found += [(module, f"{attribute}{end}") for end in ends if f"{attribute}{end}" in there]
    return found
