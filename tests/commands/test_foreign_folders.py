"""Commands started where files of a stranger lie: none of them is run in the place of a library."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ppgen.diagnostics.comparison.server import Places

ROOT = Path(__file__).parents[2]
LIBRARIES = ("json", "random", "pickle", "difflib", "importlib", "statistics", "sympy", "yaml", "sklearn", "pandas")
PLANTED = "import pathlib\npathlib.Path(__file__ + '.ran').touch()\nraise SystemExit('a stranger was here')\n"


def environment(**names: str) -> dict[str, str]:
    """Of a process that has one thread and finds ppgen."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg", **names}


def python(*words: str, folder: Path, **names: str) -> subprocess.CompletedProcess:
    """Run a process in a folder."""
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment(**names), capture_output=True, text=True, timeout=150
    )


@pytest.fixture
def strange(tmp_path: Path) -> Path:
    """Folder with files that are called as libraries are."""
    folder = tmp_path / "strange"
    folder.mkdir()
    for name in LIBRARIES:
        (folder / f"{name}.py").write_text(PLANTED)
    return folder


def test_the_command_runs_nothing_of_the_current_folder(strange: Path) -> None:
    """Catches `python -m ppgen`, which puts the current folder before every library."""
    done = python("-m", "ppgen", "fti", folder=strange)
    assert done.returncode == 2 and "Did you mean 'fit'" in done.stderr, done.stderr
    assert not list(strange.glob("*.ran"))


def test_cells_run_nothing_of_the_current_folder_and_find_what_a_script_has(tmp_path: Path, strange: Path) -> None:
    """Catches a server started by `python -m`; cells that miss modules of a script, or take others of their names."""
    scripts, more = tmp_path / "scripts", tmp_path / "more"
    scripts.mkdir()
    more.mkdir()
    (more / "rarely.py").write_text("HIDDEN = 2\n")
    # An installed library has this name, too; the script means its own.
    (scripts / "tabulate.py").write_text(
        "from ppgen import models\n\n\ndef machine():\n    import rarely\n\n    return models.RBM(6, rarely.HIDDEN)\n"
    )
    (scripts / "script.py").write_text(
        "import numpy as np, ppgen, tabulate\n"
        "bits = np.float32(np.random.default_rng(0).random((30, 6)) < 0.3)\n"
        "found = ppgen.compare_inferences(tabulate.machine, bits, ['cd'], seeds=1, epochs=1, processes=1,\n"
        "    num_particles=5, gradient_rows=4, gradient_draws=20, compile=False, progress=False)\n"
        "assert bool(found.log_likelihood.notnull().all()), str(found)\n"
    )
    path = os.pathsep.join((str(ROOT), str(more)))
    done = python(str(scripts / "script.py"), folder=strange, PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    assert not list(strange.glob("*.ran"))


def test_places_speak_for_whole_modules_only(tmp_path: Path) -> None:
    """Catches a finder that answers for submodules, or for modules that the caller does not have."""
    (tmp_path / "own.py").write_text("VALUE = 7\n")
    places = Places({"own": (str(tmp_path / "own.py"), None)})
    spec = places.find_spec("own", None)
    assert spec is not None and spec.origin == str(tmp_path / "own.py")
    assert places.find_spec("own", ["somewhere"]) is None and places.find_spec("other", None) is None
