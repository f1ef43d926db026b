"""What `make names` writes is what stands there, and a new name needs one line."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from layout import ROOT

from scripts.names import api

KERNELS = Path("docs/api/inference/kernels.md")


def names(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """The command on a checkout."""
    command = [sys.executable, "-m", "scripts.names", "--root", str(root), *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files of the library and its pages once more, without links."""
    for folder in ("ppgen", "models", "inference", "docs"):
        ignored = shutil.ignore_patterns("__pycache__", "_build", "images", "tutorials", "results")
        shutil.copytree(ROOT / folder, tmp_path / folder, symlinks=True, ignore=ignored)
    return tmp_path


def test_what_follows_from_the_names_is_written() -> None:
    """Catches a registered name that its package does not hand on, and a page that was not written again."""
    done = names(ROOT, "--check")
    assert done.returncode == 0, done.stdout + done.stderr


def register(root: Path, after: str, line: str, kept: str | None = None) -> None:
    """A line more in the registry, behind another one that is kept, or that gives way."""
    path = root / "ppgen" / "registry.py"
    text = path.read_text(encoding="utf-8")
    assert text.count(after) == 1
    path.write_text(text.replace(after, f"{after if kept is None else kept}\n    {line}"), encoding="utf-8")


def test_a_line_in_the_registry_is_enough(checkout: Path) -> None:
    """Catches a face that a new kernel must be written into by hand, or that loses what was added by hand."""
    module = "inference/kernels/still.py"
    (checkout / module).write_text(
        '"""A kernel that stays."""\n\n\nclass StillState:\n    """What it needs."""\n\n\n'
        'class Still:\n    """Stays where it is."""\n\n\nclass Other:\n    """Nobody\'s business."""\n'
    )
    before = (checkout / "inference" / "__init__.py").read_text(encoding="utf-8")
    register(
        checkout, '    "HMC": "ppgen.inference.kernels.hmc:HMC",', '"Still": "ppgen.inference.kernels.still:Still",'
    )
    assert names(checkout, "--check").returncode == 1
    assert (checkout / "inference" / "__init__.py").read_text(encoding="utf-8") == before
    assert names(checkout).returncode == 0
    after = (checkout / "inference" / "__init__.py").read_text(encoding="utf-8").splitlines()
    added = [line for line in after if line not in before.splitlines()]
    assert added == ["from ppgen.inference.kernels.still import Still, StillState", '    "Still",', '    "StillState",']
    assert len(after) == len(before.splitlines()) + 3
    page = (checkout / KERNELS).read_text(encoding="utf-8")
    assert page.count(".. autoclass:: ppgen.inference.Still\n") == 1
    assert page.count(".. autoclass:: ppgen.inference.StillState\n") == 1 and "Still.Other" not in page
    assert page.index("ppgen.inference.HMC\n") < page.index("ppgen.inference.Still\n")
    assert names(checkout, "--check").returncode == 0
    register(checkout, '"Still": "ppgen.inference.kernels.still:Still",', "", "")  # and taken back
    (checkout / module).unlink()
    assert names(checkout).returncode == 0
    assert (checkout / KERNELS).read_bytes() == (ROOT / KERNELS).read_bytes()
    assert (checkout / "inference" / "__init__.py").read_text(encoding="utf-8") == before


def test_every_folder_has_a_page_and_every_page_a_folder() -> None:
    """Catches a folder that the API pages leave out, and a page whose folder has gone or has another name."""
    pages = {api.page_of(ROOT, package) for package in api.packages(ROOT)}
    assert pages == set((ROOT / "docs" / "api").rglob("*.md")) and len(pages) > 40


def test_an_object_that_moves_takes_its_description_along(checkout: Path) -> None:
    """Catches a page that describes what lies in another folder, a new folder without a page, lost options."""
    pages = checkout / "docs" / "api" / "models"
    new = checkout / "models" / "mixed" / "gaussian_rbm.py"
    new.parent.mkdir()
    (new.parent / "__init__.py").write_text('"""Mixed units."""\n')
    (checkout / "models" / "boltzmann" / "gaussian_rbm.py").rename(new)
    for path in (checkout / "models" / "__init__.py", checkout / "ppgen" / "registry.py"):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("models.boltzmann.gaussian_rbm", "models.mixed.gaussian_rbm"), encoding="utf-8")
    assert names(checkout).returncode == 0
    described = ".. autoclass:: ppgen.models.GaussianRBM\n   :members: mixture\n"
    assert described in (ROOT / "docs/api/models/boltzmann.md").read_text(encoding="utf-8")
    assert "GaussianRBM" not in (pages / "boltzmann.md").read_text(encoding="utf-8")
    page = (pages / "mixed.md").read_text(encoding="utf-8")
    assert page.startswith("# Mixed\n") and described in page and ".. automodule:: ppgen.models.mixed\n" in page
    assert names(checkout, "--check").returncode == 0


def test_a_line_that_points_nowhere_is_told(checkout: Path) -> None:
    """Catches a face that imports what is not there."""
    register(
        checkout, '    "HMC": "ppgen.inference.kernels.hmc:HMC",', '"Still": "ppgen.inference.kernels.still:Still",'
    )
    done = names(checkout)
    assert done.returncode != 0 and "'ppgen.inference.kernels.still:Still' of the kernel 'Still'" in done.stderr


def test_a_paper_is_known_by_its_citation(checkout: Path) -> None:
    """Catches a bibliography that a new object must be written into, and a reference that cannot be read."""
    path = checkout / "inference" / "objectives" / "iwelbo.py"
    text = path.read_text(encoding="utf-8")
    old = "        | https://arxiv.org/abs/1509.00519\n"
    assert text.count(old) == 1
    further = "Further papers" in (checkout / "docs" / "bibliography.md").read_text(encoding="utf-8")
    for line in ("A Paper that Nobody Wrote (Doe and Roe, 2031), https://arxiv.org/abs/3101.00001", "No Year (Doe)"):
        path.write_text(text.replace(old, f"{old}        | {line}\n"), encoding="utf-8")
        assert names(checkout).returncode == 0
        page = (checkout / "docs" / "bibliography.md").read_text(encoding="utf-8")
        row = (
            "| Doe and Roe (2031). *A Paper that Nobody Wrote.* "
            "[arXiv:3101.00001](https://arxiv.org/abs/3101.00001) | {py:obj}`ppgen.inference.IWELBO` |"
        )
        known = line != "No Year (Doe)"
        assert (row in page) == known and ("Further papers" in page) == (known or further)
    path.write_text(text.replace(old, f"{old}        Doe (2031), a paper in another form.\n"), encoding="utf-8")
    done = names(checkout)
    assert done.returncode != 0 and "References of ppgen.inference.objectives.iwelbo.IWELBO must read" in done.stderr
