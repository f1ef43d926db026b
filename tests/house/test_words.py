"""Docstrings that stand alone, and no words that only this project uses."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("inference", "models", "ppgen")
# First words that point at something above or beside the docstring.
LEANING = re.compile(r"(The same( |,|\.)|As (for|many|in|of)\b|That of|Those |Likewise|Its |Their |They |It |And )")
WORDS = {"dreams", "dream", "dreamt", "climb", "climbed", "joining", "uneven"}


def sources() -> Iterator[Path]:
    """Files of the library, those behind the links once."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path.relative_to(ROOT).parts[:2] not in (("ppgen", "models"), ("ppgen", "inference")):
                yield path


def public(node: ast.AST) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """Public functions, classes and methods under a node."""
    for child in getattr(node, "body", []):
        if isinstance(child, (ast.FunctionDef, ast.ClassDef)) and not child.name.startswith("_"):
            yield child
            if isinstance(child, ast.ClassDef):
                yield from public(child)


@pytest.mark.parametrize("folder", FOLDERS)
def test_docstrings_stand_alone(folder: str) -> None:
    """Catches a docstring that is understood only beside its neighbour, as an API page or `help` does not show it."""
    found = []
    for path in sources():
        name = path.relative_to(ROOT)
        if name.parts[0] == folder:
            for node in public(ast.parse(path.read_text("utf-8"))):
                text = ast.get_docstring(node) or ""
                first = text.partition("\n")[0]
                if LEANING.match(first) or re.search(r"\n +\w+: The same (of|as|in|for|with|after|shape)\b", text):
                    found.append(f"{name}:{node.lineno} {node.name}: {first}")
    assert not found, "say of what: " + "\n".join(found)


def test_names_are_words_of_the_field() -> None:
    """Catches a method, attribute or function named by a word that only this project uses for it."""
    found = []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef):
                name = node.name
            elif isinstance(node, ast.Attribute):
                name = node.attr
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                name = node.target.id
            else:
                continue
            if name.strip("_") in WORDS:
                found.append(f"{path.relative_to(ROOT)}:{node.lineno} {name}")
    assert not found, "name it by the field's term: " + "\n".join(found)
