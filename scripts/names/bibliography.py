"""The bibliography: from every paper to the objects whose docstrings cite it.

Papers are read off the *References* of docstrings, so that a citation there is all that a new object needs. Sections,
and what a docstring does not say of a paper (its venue, all authors), stand in `docs/papers.json`.
"""

import ast
import json
import re
import unicodedata
from pathlib import Path
from typing import Any

from scripts.names.faces import KINDS
from scripts.names.sources import LINKED, definitions, file_of, named, parsed, tables

FURTHER = "Further papers"
PAGE, PAPERS = Path("docs/bibliography.md"), Path("docs/papers.json")
_HEAD = """# Bibliography

From the paper to the object that implements it, or that was built after it. The same papers stand in the *References*
of those objects' docstrings: `make names` writes this page from them and from `docs/papers.json`.
"""


def letters(text: str) -> str:
    """Small letters and digits without accents, so that titles compare across line breaks and spellings."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]", "", plain.lower())


def written(root: Path) -> dict[Path, str]:
    """Text of the page."""
    sections = json.loads((root / PAPERS).read_text(encoding="utf-8"))
    known = {letters(paper["title"]): paper for papers in sections.values() for paper in papers}
    sections[FURTHER] = []
    found: dict[str, list[str]] = {}
    for name, references in cited(root).items():
        for paper in _new_papers(references, list(known), name):
            known[letters(paper["title"])] = paper
            sections[FURTHER].append(paper)
        for title in _titles_in(references, list(known)):
            found.setdefault(title, []).append(name)
    public = {
        path.replace(":", "."): path.replace(":", ".") for table in tables(root).values() for path in table.values()
    }
    public |= exported(root)
    parts = [_HEAD]
    for section, papers in sections.items():
        rows = [_row(paper, found.get(letters(paper["title"]), []), public) for paper in papers]
        if rows:
            parts.append("\n".join([f"## {section}\n", "| paper | in ppgen |", "|---|---|", *rows, ""]))
    return {root / PAGE: "\n".join(parts)}


def _titles_in(references: str, titles: list[str]) -> list[str]:
    """Known titles in a References section, the longest first, as one title is part of another."""
    text, found = letters(references), []
    for title in sorted(titles, key=len, reverse=True):
        if title in text:
            found.append(title)
            text = text.replace(title, " ")
    return found


_ENTRY = re.compile(r"(?P<title>.+) \((?P<authors>[^()]+), (?P<year>\d{4})\)(?:,? (?P<link>https?://\S+))?")


def _new_papers(references: str, titles: list[str], name: str) -> list[dict[str, Any]]:
    """What a docstring says of papers that are not in `docs/papers.json`: title, authors, year, link."""
    missing = len(re.findall(r"\([^()]*?\d{4}\)", references)) - len(_titles_in(references, titles))
    entries: list[str] = []
    for line in map(str.strip, references.splitlines() if missing else []):
        if line.startswith("|") and not line.startswith("| http"):
            entries.append(line.removeprefix("| "))
        elif entries:
            entries[-1] += " " + line.removeprefix("| ")
    found = []
    for entry in entries:
        match = _ENTRY.match(entry)
        if match and not _titles_in(entry, titles):
            link, arxiv = match["link"] or "", re.search(r"arxiv\.org/abs/(\S+)", entry)
            where = f"[arXiv:{arxiv[1]}]({link})" if arxiv else f"<{link}>" if link else ""
            found.append({**{key: match[key] for key in ("authors", "year", "title")}, "where": where})
    if len(found) != missing:
        said = " ".join(references.split())
        raise ValueError(f"References of {name} must read '| Title (Authors, year), link': {said}")
    return found


def _row(paper: dict[str, Any], names: list[str], public: dict[str, str]) -> str:
    if not names:
        raise ValueError(f"docs/papers.json has {paper['title']!r}, which no docstring cites. Take it out there.")
    title = paper["title"] if paper["title"][-1] in "!?" else f"{paper['title']}."
    linked = sorted((public[name] for name in names if name in public), key=_by_package)
    plain = sorted(name for name in names if name not in public)
    objects = [*(f"{{py:obj}}`{name}`" for name in linked), *(f"`{name}`" for name in plain)]
    said = f"{paper['authors']} ({paper['year']}). *{title}* {paper['where']}".strip()
    return f"| {said} | {', '.join(objects)} |"


_PACKAGES = ("models", "inference", "distributions", "training", "evaluation", "features", "diagnostics")


def _by_package(name: str) -> tuple[int, str]:
    package = name.split(".")[1]
    return _PACKAGES.index(package) if package in _PACKAGES else len(_PACKAGES), name


def cited(root: Path) -> dict[str, str]:
    """References section by the full name of the module, class or function in whose docstring it stands."""
    found = {}

    def visit(name: str, node: ast.Module | ast.ClassDef | ast.FunctionDef) -> None:
        section = re.search(r"^References:\n((?:[ \t]+\S.*\n?|\n(?=[ \t]))+)", ast.get_docstring(node) or "", re.M)
        if section:
            found[name] = section[1]
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.ClassDef, ast.FunctionDef)):
                visit(f"{name}.{child.name}", child)

    for package, folder in (("ppgen", "ppgen"), *LINKED.items()):
        for path in sorted((root / folder).rglob("*.py")):
            parts = path.relative_to(root / folder).with_suffix("").parts
            linked = package == "ppgen" and parts[0] in LINKED.values()  # the same files, through a link
            if not linked and "References:" in path.read_text(encoding="utf-8"):
                visit(".".join((package, *parts)).removesuffix(".__init__"), parsed(path))
    return found


def exported(root: Path) -> dict[str, str]:
    """Full name of what the packages hand on -> the name under which they do."""
    found = {
        f"{module}.{attribute}": f"{package}.{attribute}"  # as the face will have it, where it is still to be written
        for package, kinds in KINDS.items()
        for kind in kinds
        for module, attribute in named(root, kind)
    }
    packages = [f"ppgen.{path.parent.name}" for path in sorted((root / "ppgen").glob("*/__init__.py"))]
    for package in sorted({*packages, *LINKED, "ppgen.diagnostics.figures"}):
        face = parsed(file_of(root, package))
        public = {each.value for each in ast.walk(face) if isinstance(each, ast.Constant)}  # `__all__` among them
        for statement in ast.walk(face):
            if isinstance(statement, ast.ImportFrom) and statement.module:
                for alias in statement.names:
                    if (package in KINDS or alias.name in public) and alias.name in definitions(root, statement.module):
                        found[f"{statement.module}.{alias.name}"] = f"{package}.{alias.name}"
    return found
