"""The documentation: examples that run, pages that name every public object, papers that match docstrings."""

import ast
import functools
import importlib.util
import re
import shlex
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import torch
import yaml

import ppgen
from ppgen import cli, extension, registry, testing

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
API = "\n".join(path.read_text(encoding="utf-8") for path in sorted((DOCS / "api").rglob("*.md")))
PACKAGES = [name for name in ppgen.__all__ if (ROOT / "ppgen" / name).is_dir()]
YEAR = re.compile(r"\([^()]*?(\d{4})\)")
ARXIV = re.compile(r"(?:arXiv:|arxiv\.org/abs/)([\w-]+/\d{7}|\d{4}\.\d{4,5})")


class Paper(NamedTuple):
    """A row of the bibliography."""

    title: str
    years: list[str]
    arxiv: set[str]
    objects: list[str]


def letters(text: str) -> str:
    """Small letters and digits without accents, so that titles compare across line breaks and spellings."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]", "", plain.lower())


def bibliography() -> list[Paper]:
    papers = []
    for line in (DOCS / "bibliography.md").read_text(encoding="utf-8").splitlines():
        row = re.match(r"\| (?P<paper>.*?\*(?P<title>[^*]+)\*.*?) \| (?P<where>.*) \|$", line)
        if row:
            objects = re.findall(r"`(ppgen\.[\w.]+)`", row["where"])
            years = YEAR.findall(row["paper"])[:1]
            papers.append(Paper(row["title"], years, set(ARXIV.findall(row["paper"])), objects))
    return papers


def references_in(docstring: str) -> str:
    """The References section of a Google-style docstring; empty if there is none."""
    found = re.search(r"^References:\n((?:[ \t]+\S.*\n?|\n(?=[ \t]))+)", docstring, re.MULTILINE)
    return found[1] if found else ""


@functools.cache
def cited() -> dict[str, str]:
    """References section by the full name of the module, class or function in whose docstring it stands."""
    found = {}

    def visit(name: str, node: Any) -> None:
        if references := references_in(ast.get_docstring(node) or ""):
            found[name] = references
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.ClassDef, ast.FunctionDef)):
                visit(f"{name}.{child.name}", child)

    for package in ("ppgen", "ppgen.models", "ppgen.inference"):
        folder = package.rpartition(".")[2]
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            if package != "ppgen" or parts[0] not in ("models", "inference"):
                name = ".".join((package, *parts)).removesuffix(".__init__")
                visit(name, ast.parse(path.read_text(encoding="utf-8")))
    return found


def papers_in(references: str) -> list[Paper]:
    """Papers of the bibliography whose titles stand in a References section."""
    text, found = letters(references), []
    # Longest first, as one title is part of another.
    for paper in sorted(bibliography(), key=lambda paper: -len(paper.title)):
        if letters(paper.title) in text:
            found.append(paper)
            text = text.replace(letters(paper.title), " ")
    return found


def origin(path: str) -> str:
    """Full name of an object where it is defined, from a path under which it is exported."""
    module, _, attribute = path.rpartition(".")
    found = getattr(importlib.import_module(module), attribute)
    if not hasattr(found, "__qualname__"):  # a module, or a value such as a number
        return found.__name__ if isinstance(found, ModuleType) else path
    return f"{found.__module__}.{found.__qualname__}"


def documented() -> set[str]:
    """Objects that the API pages describe, under the names they have there."""
    return set(re.findall(r"\.\. auto(?:class|function|exception|data)::\s*(\S+)", API))


def readme_block(language: str) -> str:
    blocks = re.findall(rf"^```{language}\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.M | re.S)
    assert len(blocks) >= 1, f"README.md has no block of {language}"
    return blocks[0]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One thread for models so small that a second one only waits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_readme_python_runs_as_written(capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a first example that a new user cannot run: a renamed argument, a missing import, a warning."""
    block = readme_block("python")
    assert len(block.strip().splitlines()) <= 20
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})
    assert "nats per datum" in capsys.readouterr().out


@pytest.mark.usefixtures("one_thread")
def test_readme_commands_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches a command line of the README with a renamed option; they run as written but for one epoch."""
    monkeypatch.chdir(tmp_path)
    commands = [line for line in readme_block("console").splitlines() if line.startswith("$ ppgen ")]
    assert len(commands) > 2
    for command in commands:
        words = shlex.split(re.sub(r"--epochs \d+", "--epochs 1", command).removeprefix("$ ppgen "))
        quiet = [] if words[0] == "sample" else ["--quiet"]
        assert cli.main([*words, *quiet]) == 0, f"{command}\n{capsys.readouterr().err}"
    assert (tmp_path / "samples.png").is_file() and list(tmp_path.glob("runs/*/figures/curve.png"))


def test_readme_has_what_others_write_into() -> None:
    """Catches a README whose table of results or picture has lost its place."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.index("<!-- results -->") < text.index("<!-- /results -->")
    for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text):
        assert (ROOT / picture).is_file(), f"README.md shows {picture}, which is not there"
    linked = re.findall(r"(?<!!)\[[^]]*\]\((?!https?:|#)([^)#]+)", text)
    assert linked and not [target for target in linked if not (ROOT / target).exists()]


def test_set_up_is_two_commands() -> None:
    """Catches a README that asks a new user for more than `make demo` and `make test`."""
    block = readme_block("sh")
    commands = [line.partition("#")[0].strip() for line in block.strip().splitlines()]
    assert commands == ["make demo", "make test"]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_in_the_api(package: str) -> None:
    """Catches an object that is exported and that no page describes."""
    exported = {f"ppgen.{package}.{name}" for name in importlib.import_module(f"ppgen.{package}").__all__}
    pages = {origin(path) for path in documented()}
    missing = {path for path in exported if not path.rpartition(".")[2].startswith("_")}
    missing = {path for path in missing if path not in documented() and origin(path) not in pages}
    missing = {path for path in missing if not any(name.startswith(f"{path}.") for name in documented())}
    assert not missing, f"add to docs/api: {sorted(missing)}"


def test_top_level_names_are_in_the_api() -> None:
    """Catches a new `ppgen.something` that no page describes."""
    names = set(ppgen.__all__) - set(PACKAGES) - {"__version__"}
    assert {f"ppgen.{name}" for name in names} <= documented()


def registered() -> list[str]:
    return [path.replace(":", ".") for table in registry.TABLES.values() for path in table.values()]


@pytest.mark.parametrize("path", registered())
def test_every_registered_object_is_documented(path: str) -> None:
    """Catches a model, inference or data set that was registered without a page or without its paper."""
    assert path in {origin(name) for name in documented()}, f"{path} is in no page of docs/api: run `make names`"
    papers = {origin(name) for paper in bibliography() for name in paper.objects}
    assert path in papers, (
        f"{path} stands beside no paper: cite one under References in its docstring, then run `make names`"
    )


def test_bibliography_names_papers_in_full() -> None:
    """Catches a row without a year, without an object, or a title that stands twice."""
    papers = bibliography()
    assert len(papers) > 10
    assert not [paper.title for paper in papers if not paper.years or not paper.objects]
    assert len({letters(paper.title) for paper in papers}) == len(papers)


def test_docstrings_cite_what_the_bibliography_says() -> None:
    """Catches a row that sends its reader to an object which does not cite the paper or its year."""
    references = cited()
    wrong = []
    for paper in bibliography():
        for name in paper.objects:
            section = references.get(origin(name), "")
            if letters(paper.title) not in letters(section) or paper.years[0] not in section:
                wrong.append(f"{name} does not cite {paper.title!r} ({paper.years[0]})")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(("name", "references"), sorted(cited().items()), ids=sorted(cited()))
def test_bibliography_has_what_docstrings_cite(name: str, references: str) -> None:
    """Catches a paper cited in a docstring and missing from the bibliography, or another arXiv number."""
    papers = papers_in(references)
    entries = YEAR.findall(references)
    assert entries, f"the References of {name} give no year in parentheses: {references}"
    assert len(papers) == len(entries), f"docs/bibliography.md lacks a paper that {name} cites: {references}"
    assert set(ARXIV.findall(references)) <= set().union(*(paper.arxiv for paper in papers))
    unlisted = [paper.title for paper in papers if name not in {origin(path) for path in paper.objects}]
    assert not unlisted, f"add {name} in docs/bibliography.md beside {unlisted}"


@pytest.mark.parametrize("path", sorted((ROOT / "tutorials").glob("*.md")), ids=lambda path: path.name)
def test_tutorials_are_jupytext_notebooks(path: Path) -> None:
    """Catches a tutorial which the docs build would show without running it, or which its index forgets."""
    parts = path.read_text(encoding="utf-8").split("---\n", 2)
    head = yaml.safe_load(parts[1])
    assert head["jupytext"]["text_representation"] == {"extension": ".md", "format_name": "myst"}
    assert head["kernelspec"]["name"] == "python3"
    assert "```{code-cell}" in parts[2]
    for cell in re.findall(r"```\{code-cell\}[^\n]*\n(.*?)```", parts[2], re.S):
        ast.parse(re.sub(r"\A(?::\w.*\n)+", "", cell))
    assert f"tutorials/{path.stem}" in (DOCS / "index.md").read_text(encoding="utf-8")


PACKAGE = "ppgen|models|inference|evaluation|features|diagnostics|training|distributions|datasets|testing"
REFERENCE = re.compile(rf"`((?:{PACKAGE})\.[A-Za-z_][\w.]*)(?=[`(])")


def is_there(name: str) -> bool:
    """Whether a dotted name of ours is a module, an object of one, or an attribute or field of a class."""
    words = name.removeprefix("ppgen.").split(".")
    found: Any = ppgen
    for at, word in enumerate(words):
        if isinstance(found, type) and any(word in getattr(each, "__annotations__", {}) for each in found.__mro__):
            return True
        module = ".".join(["ppgen", *words[: at + 1]])
        if not hasattr(found, word) and (not isinstance(found, ModuleType) or importlib.util.find_spec(module) is None):
            return False
        found = getattr(found, word, None) or importlib.import_module(module)
    return True


def test_texts_name_what_is_there() -> None:
    """Catches a docstring or a page that sends its reader to a name which has gone or never was."""
    assert is_there("inference.PCD") and is_there("ppgen.evaluation.Estimate.se") and not is_there("inference.PDC")
    groups = set(extension.GROUPS.values())  # of entry points
    sources = [path for name in ("ppgen", "models", "inference") for path in (ROOT / name).rglob("*.py")]
    pages = [path for name in ("docs", "tutorials") for path in (ROOT / name).rglob("*.md")]
    wrong = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in [*sources, *pages, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
        for name in REFERENCE.findall(path.read_text(encoding="utf-8"))
        if name not in groups and not name.endswith(".json") and not is_there(name)
    }
    assert not wrong, "\n".join(sorted(wrong))


def test_every_page_is_in_a_table_of_contents() -> None:
    """Catches a page that no reader can reach."""
    for folder in (DOCS, DOCS / "api"):
        index = (folder / "index.md").read_text(encoding="utf-8")
        pages = {path.stem for path in folder.glob("*.md")} - {"index"}
        assert not {page for page in pages if not re.search(rf"^(?:\S* )?<?{page}>?$", index, re.M)}
    for folder in (path for path in (DOCS / "api").iterdir() if path.is_dir()):
        assert f"\n:glob:\n\n{folder.name}/*\n" in folder.with_suffix(".md").read_text(encoding="utf-8")


def test_what_users_hold_their_own_parts_to_is_in_the_api() -> None:
    """Catches a contract that no page describes: `ppgen.testing` is no attribute of `ppgen`, and public."""
    assert {f"ppgen.testing.{name}" for name in testing.__all__} <= documented()
