"""The rules of the house that can be read off the files: who imports whom, their length, what is packaged."""

import ast
import re
import subprocess
import sys
import tomllib

import pytest
from layout import GATE, ROOT, SETUP, modules, tracked_files

LONGEST_FILE = 400

# Which parts of ppgen a part may import, also inside functions. Whatever is not named here is the base.
LIBRARY = {
    "datasets",
    "diagnostics",
    "distributions",
    "evaluation",
    "features",
    "inference",
    "models",
    "nn",
    "training",
}
PARTS = LIBRARY | {"cli", "testing"}
ALLOWED = {
    "base": set(),
    "distributions": set(),
    "nn": {"distributions"},
    "datasets": set(),
    "models": {"distributions", "nn", "datasets"},
    "inference": {"distributions"},
    "training": {"inference", "distributions", "datasets", "nn"},
    "evaluation": {"inference", "distributions", "datasets"},
    "features": {"inference", "distributions", "datasets", "evaluation"},
    "diagnostics": {"inference", "distributions", "datasets", "evaluation", "features", "training"},
    "testing": LIBRARY,
    "cli": LIBRARY | {"testing"},
}


def part_of(module: str) -> str:
    """The part a module belongs to: 'cli' for 'ppgen.cli' and 'ppgen.__main__', 'base' for 'ppgen.pair'."""
    names = module.split(".")
    if len(names) == 1:
        return "base"
    if names[1] == "__main__" or names[1].startswith("cli") or names[1] == "commands":
        return "cli"
    return names[1] if names[1] in PARTS else "base"


def imported_modules(source: str) -> list[tuple[int, str]]:
    """Every (line, module) that a source imports, at its top or inside a function."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            found += [(node.lineno, f"{base}.{alias.name}") for alias in node.names]
    return found


def layering_faults(module: str, source: str) -> list[str]:
    """What a module imports and may not, as lines to read."""
    here = part_of(module)
    if module == GATE:
        return []
    faults = []
    for line, name in imported_modules(source):
        if name.startswith(".") or name.split(".")[0] in ("models", "inference"):
            faults.append(f"{module}:{line} imports {name}: write ppgen....")
        elif name.split(".")[0] == "ppgen":
            there = part_of(name)
            if there not in ("base", here) and there not in ALLOWED[here]:
                faults.append(f"{module}:{line} ({here}) may not import {name} ({there})")
    return faults


def test_layers() -> None:
    """Catches a model that knows its inference, an objective that knows a model, any import upwards."""
    sources = {module: path.read_text() for module, path in modules().items()}
    assert {"ppgen", "ppgen.models", "ppgen.inference"} <= set(sources)
    faults = [fault for module, source in sources.items() for fault in layering_faults(module, source)]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("ppgen.models.variational.vae", "from ppgen.inference import ELBO"),
        ("ppgen.models.variational.vae", "def f():\n    from ppgen import inference"),
        ("ppgen.inference.objectives.elbo", "import ppgen.models.variational.vae"),
        ("ppgen.inference.objectives.elbo", "from models import vae"),
        ("ppgen.distributions.units.units", "from ppgen.nn import MLP"),
        ("ppgen.evaluation.ais", "from ppgen.diagnostics import plot"),
        ("ppgen.pair", "from ppgen.inference import log_weights"),
        ("ppgen.nn", "from .core import x"),
    ],
)
def test_layers_sees_faults(module: str, source: str) -> None:
    """Catches a layering test that looks only at the top of a file or only at one form of import."""
    assert len(layering_faults(module, source)) == 1


def test_every_package_is_listed() -> None:
    """Catches a new folder that works in the checkout and is missing from the wheel."""
    packages = {name for name, path in modules().items() if path.name == "__init__.py"}
    assert packages == set(SETUP["packages"])
    orphans = [str(path) for path in modules().values() if not (path.parent / "__init__.py").exists()]
    assert not orphans, f"folders without __init__.py are not packaged: {orphans}"


def test_files_are_short() -> None:
    """Catches a file that has become two."""
    long = [path for path in tracked_files() if path.suffix == ".py"]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in long}
    assert not {name: length for name, length in lengths.items() if length > LONGEST_FILE}


def test_every_test_says_what_it_catches() -> None:
    """Catches a test whose failure would tell its reader nothing."""
    mute = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and not ast.get_docstring(node):
                mute.append(f"{path.name}:{node.lineno} {node.name}")
    assert not mute, "\n".join(mute)


def test_no_hosts_or_machine_paths() -> None:
    """Catches a lock or a script that works only behind one registry or on one machine."""
    hosts = [
        "pypi" + ".org",
        "python" + "hosted",
        "registry." + "npmjs",
        "artifact" + "ory",
        "--index" + "-url",
    ]
    paths = ["/" + "root/", "/" + "work/", "/" + "tmp/", "/" + "Users/", "/" + "home/"]
    pattern = re.compile("|".join(map(re.escape, hosts)) + r"|(?<![\w.~$}/-])(" + "|".join(paths) + ")")
    found = []
    for path in tracked_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if pattern.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}")
    assert not found, "\n".join(found)


def test_version_stands_in_one_place() -> None:
    """Catches a version written a second time, which the next release would forget."""
    version = re.search(r'^__version__ = "(.+)"$', (ROOT / "ppgen/version.py").read_text(), re.MULTILINE)
    assert version, "ppgen/version.py must hold the literal __version__"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["dynamic"] == ["version"] and "version" not in project
    assert SETUP["dynamic"]["version"] == {"attr": "ppgen.version.__version__"}
    again = [module for module, path in modules().items() if re.search(r"__version__\s*=", path.read_text())]
    assert again == ["ppgen.version"]
    assert f"## [{version[1]}]" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("name", ["models", "inference"])
def test_bare_names_refuse(name: str) -> None:
    """Catches a second copy of every class, made by importing models/ or inference/ from the root."""
    done = subprocess.run([sys.executable, "-c", f"import {name}"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert "ImportError" in done.stderr and f"ppgen.{name}" in done.stderr


def test_links_lead_to_the_folders() -> None:
    """Catches a link replaced by a copy: two sources of the same module, one of them stale."""
    for name in ("models", "inference"):
        link = ROOT / "ppgen" / name
        if link.is_symlink():
            assert link.resolve() == ROOT / name
        else:  # a checkout without link support holds the link's text
            assert link.read_text() == f"../{name}"


def test_the_map_is_true() -> None:
    """Catches a file that was moved or renamed and still stands in CONTRIBUTING.md."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"`((?:[\w.-]+/)*[\w.-]+(?:\.py|\.md|\.toml|/))`", text))
    assert len(named) > 10
    assert not {name for name in named if not (ROOT / name).exists()}
