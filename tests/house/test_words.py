"""Docstrings that stand alone, and no words that only this project uses."""

import ast
import builtins
import doctest
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("inference", "models", "ppgen")
# First words that point at something above or beside the docstring.
LEANING = re.compile(r"(The same( |,|\.)|As (for|many|in|of)\b|That of|Those |Likewise|Its |Their |They |It |And )")
WORDS = {"dreams", "dream", "dreamt", "climb", "climbs", "climbed", "joining", "uneven", "look_at"}


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
                found += [
                    f"{name}:{node.lineno} {node.name}: {word}"
                    for word in WORDS
                    if re.search(rf"\b{word}\b", text.partition("Example:")[0])
                ]
    assert not found, "say of what, in the field's words: " + "\n".join(found)


def unbound(source: str) -> set[str]:
    """Names that a program reads and never makes."""
    made, read = {*dir(builtins), "_"}, set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.alias):
            made.add(node.asname or node.name.partition(".")[0])
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            made.add(node.name)
        elif isinstance(node, ast.arg):
            made.add(node.arg)
        elif isinstance(node, ast.Name):
            (read if isinstance(node.ctx, ast.Load) else made).add(node.id)
    return read - made


def test_examples_bring_along_what_they_use() -> None:
    """Catches an example that runs in its own module alone: pasted from the API page it ends in a NameError."""
    pages = "".join(page.read_text("utf-8") for page in (ROOT / "docs" / "api").rglob("*.md"))
    documented = set(re.findall(r"auto(?:class|function):: ppgen\S*\.(\w+)", pages))
    parser, found = doctest.DocTestParser(), []
    for path in sources():
        for outer in public(ast.parse(path.read_text("utf-8"))):
            for node in (outer, *public(outer)) if outer.name in documented else ():
                examples = parser.get_examples(ast.get_docstring(node) or "")
                missing = unbound("".join(each.source for each in examples))
                if missing:
                    where = f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
                    found.append(f"{where}: {', '.join(sorted(missing))}")
    assert not found, "import it in the example: " + "\n".join(found)


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


BARS = re.compile(
    r"(?<![\w|])\|[^\s|]|[^\s|]\|(?![\w|])"
)  # of a magnitude, not the one of "x given y" or of a citation


def test_magnitudes_in_docstrings_are_literals() -> None:
    """Catches the bars of a magnitude outside of backticks, which the pages take for a substitution."""
    found = []
    for path in sources():
        for node in public(ast.parse(path.read_text("utf-8"))):
            text = re.sub(r"``?[^`]*``?", "", (ast.get_docstring(node) or "").partition("Example:")[0])
            text = re.sub(r"\.\. math::.*?(?=\n\s*\n|\Z)", "", text, flags=re.DOTALL)
            lines = (line for line in text.splitlines() if not line.lstrip().startswith("| "))
            found += [f"{path.name} {node.name}: {line.strip()}" for line in lines if BARS.search(line)]
    assert not found, "put them into backticks: " + "\n".join(found)
