"""API pages: one for each folder of the library, with every public object that the folder defines.

`docs/api/inference/objectives.md` is the page of `inference/objectives/`, `docs/api/inference.md` that of what lies in
`inference/` itself, `docs/api/index.md` that of `ppgen/`. A folder without a page gets one. An object that its page
does not describe is put behind the last one of its kind, or behind the last of all; one that has moved takes its
options along, one that no package hands on any more is taken out. Titles, words and order are written by hand.
"""

import ast
import re
from pathlib import Path

from scripts.names.bibliography import exported
from scripts.names.sources import LINKED, definitions, named, parsed, tables

_DIRECTIVE = re.compile(r"^\.\. auto(?:class|function|data|exception):: (\S+)$")
_PAGE = """# {title}

```{{eval-rst}}
.. automodule:: {package}
   :no-members:
```

## Files

```{{eval-rst}}
.. files-table:: {package}
```
"""


def written(root: Path) -> dict[Path, str]:
    """Text of each page."""
    places = {page_of(root, package): package for package in packages(root)}
    public = handed_on(root)
    pages, homeless = {}, {}
    for path, package in places.items():
        text = path.read_text(encoding="utf-8") if path.exists() else _new_page(package)
        pages[path], removed = _without_strangers(root, package, text.splitlines(), public)
        homeless |= removed
    kinds = {public.get(f"{module}.{name}", f"{module}.{name}"): kind
             for kind in tables(root) for module, name in named(root, kind)}  # fmt: skip
    for path, package in places.items():
        described = _described(pages[path])
        names = [name for full, name in public.items() if _home(full) == package]
        for name in [name for name in names if name not in described]:
            block = homeless.get(name) or [f".. auto{_form(root, name, public)}:: {name}"]
            like = {other for other in described if other in kinds and kinds[other] == kinds.get(name)}
            at = _behind(pages[path], like or set(described))
            pages[path][at:at] = block
            described = _described(pages[path])
    return {path: "\n".join(lines) + "\n" for path, lines in pages.items()}


def packages(root: Path) -> list[str]:
    """Every folder of the library as a package, `ppgen` among them."""
    found = []
    for package, folder in (("ppgen", "ppgen"), *LINKED.items()):
        for path in sorted((root / folder).rglob("__init__.py")):
            parts = path.parent.relative_to(root / folder).parts
            if package != "ppgen" or not parts or parts[0] not in LINKED.values():  # the same files, through a link
                found.append(".".join((package, *parts)))
    return found


def page_of(root: Path, package: str) -> Path:
    """Page of a package: `ppgen.inference.objectives` -> docs/api/inference/objectives.md."""
    parts = package.split(".")[1:] or ["index"]
    return root.joinpath("docs", "api", *parts).with_suffix(".md")


def handed_on(root: Path) -> dict[str, str]:
    """Full name of every public object -> the name by which users know it, the shortest that there is."""
    found = {f"{module}.{name}": f"{module}.{name}" for kind in tables(root) for module, name in named(root, kind)}
    found |= exported(root)
    where = {name: full for full, name in found.items()}
    for statement in parsed(root / "ppgen" / "__init__.py").body:  # its lazy names, by the package that hands them on
        if isinstance(statement, ast.Assign) and statement.targets[0].id == "_OBJECTS":
            for name, module in ast.literal_eval(statement.value).items():
                found[where.get(f"{module}.{name}", f"{module}.{name}")] = f"ppgen.{name}"
    return found


def _home(full: str) -> str:
    """Package in whose folder the file of an object lies."""
    return full.rsplit(".", 2)[0]


def _new_page(package: str) -> str:
    title = package.rpartition(".")[2].replace("_", " ").capitalize()
    return _PAGE.format(title=title, package=package)


def _described(lines: list[str]) -> list[str]:
    return [match[1] for line in lines if (match := _DIRECTIVE.match(line))]


def _without_strangers(
    root: Path, package: str, lines: list[str], public: dict[str, str]
) -> tuple[list[str], dict[str, list[str]]]:
    """Lines without the directives, and their options, of what the folder does not define; and those, by name."""
    full = {name: each for each, name in public.items()}
    kept: list[str] = []
    removed: dict[str, list[str]] = {}
    stranger = None
    for line in lines:
        if match := _DIRECTIVE.match(line):
            name = match[1]
            module, _, attribute = full.get(name, name).rpartition(".")
            shown = name in full or name not in public  # under a longer name than users know it by, it goes
            here = shown and _home(f"{module}.{attribute}") == package and attribute in definitions(root, module)
            stranger = None if here else name
        elif not line.startswith("   "):
            stranger = None
        if stranger is None:
            kept.append(line)
        else:
            removed.setdefault(stranger, []).append(line)
    return kept, removed


def _form(root: Path, name: str, public: dict[str, str]) -> str:
    """Which directive describes an object."""
    module, _, attribute = next(full for full, known in public.items() if known == name).rpartition(".")
    node = definitions(root, module)[attribute]
    if isinstance(node, ast.ClassDef):
        return "exception" if attribute.endswith("Error") else "class"
    return "function" if isinstance(node, ast.FunctionDef) else "data"


def _behind(lines: list[str], names: set[str]) -> int:
    """Line behind the last description of some names and its options; behind the module's own if there are none."""
    starts = [at for at, line in enumerate(lines) if (match := _DIRECTIVE.match(line)) and match[1] in names]
    starts = starts or [at for at, line in enumerate(lines) if line.startswith(".. automodule:: ")]
    if not starts:
        raise ValueError(f"A page of docs/api has no automodule: {lines[:1]}.")
    at = starts[-1] + 1
    while lines[at].startswith("   "):
        at += 1
    return at
