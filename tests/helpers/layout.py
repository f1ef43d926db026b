"""Where the files of the library lie: the modules of the package and the files of the repository."""

import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SETUP = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
FOLDERS = {"ppgen": ROOT / "ppgen", "ppgen.models": ROOT / "models", "ppgen.inference": ROOT / "inference"}
GATE = "ppgen"  # names every part, for its lazy attributes


def modules() -> dict[str, Path]:
    """Dotted name -> file of every module of the package, each file once, whether or not there are links."""
    found = {}
    for package, folder in FOLDERS.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            if package == "ppgen" and parts[0] in ("models", "inference"):
                continue
            found[".".join((package, *parts)).removesuffix(".__init__")] = path
    return found


def tracked_files() -> list[Path]:
    """The files that the repository holds; all that lie here where this is no checkout."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]
