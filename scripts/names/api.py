"""API pages: every registered name is described beside the others of its kind.

A name that no page describes is put behind the last one of its kind; one that its package does not hand on any more is
taken out. The words of the pages, their order and what is said of single objects are written by hand and stay.
"""

import ast
import re
from collections.abc import Callable
from pathlib import Path

from scripts.names.bibliography import exported
from scripts.names.faces import KINDS
from scripts.names.sources import definitions, named, tables

_DIRECTIVE = re.compile(r"^\.\. auto(?:class|function|data|exception):: (\S+)$")


def written(root: Path) -> dict[Path, str]:
    """Text of each page."""
    pages = {path: path.read_text(encoding="utf-8").splitlines() for path in sorted((root / "docs/api").glob("*.md"))}
    public = exported(root)
    handed_on = set(public.values())
    for path, lines in pages.items():
        pages[path] = _without(lines, lambda name: _of_a_face(name) and name not in handed_on)
    for kind in tables(root):
        names = {
            public.get(f"{module}.{attribute}", f"{module}.{attribute}"): definitions(root, module)[attribute]
            for module, attribute in named(root, kind)
        }
        described = {match[1] for lines in pages.values() for line in lines if (match := _DIRECTIVE.match(line))}
        missing = [name for name in names if name not in described]
        if missing:
            path, place = _behind_the_last(pages, set(names), kind)
            form = {name: "class" if isinstance(names[name], ast.ClassDef) else "function" for name in missing}
            pages[path][place:place] = [f".. auto{form[name]}:: {name}" for name in missing]
    return {path: "\n".join(lines) + "\n" for path, lines in pages.items()}


def _of_a_face(name: str) -> bool:
    package, _, attribute = name.rpartition(".")
    return package in KINDS and attribute.isidentifier()


def _without(lines: list[str], gone: Callable[[str], bool]) -> list[str]:
    """Lines without the directives of some names, and without the options that follow them."""
    kept, dropping = [], False
    for line in lines:
        match = _DIRECTIVE.match(line)
        dropping = gone(match[1]) if match else dropping and line.startswith("   ")
        if not dropping:
            kept.append(line)
    return kept


def _behind_the_last(pages: dict[Path, list[str]], names: set[str], kind: str) -> tuple[Path, int]:
    """Page and line behind the last description of some names, and behind its options."""
    for path, lines in pages.items():
        found = [at for at, line in enumerate(lines) if (match := _DIRECTIVE.match(line)) and match[1] in names]
        if found:
            place = found[-1] + 1
            while lines[place].startswith("   "):
                place += 1
            return path, place
    raise ValueError(f"No page of docs/api describes a {kind}; begin a section for it by hand.")
