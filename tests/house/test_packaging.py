"""Wheel, sdist and editable install from a checkout without link support, used outside of it.

Built without isolation, so that nothing is fetched; `.ci/run` builds in isolation, with links and without.
"""

import runpy
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
CHECK = ROOT / "scripts" / "check_install.py"


def run(*command: str | Path, cwd: Path) -> str:
    """The output of a command that must succeed."""
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone made without link support, brought up to date with the files that lie here."""
    clone = tmp_path_factory.mktemp("linkless") / "ppgen"
    run("git", "clone", "--quiet", "-c", "core.symlinks=false", ROOT, clone, cwd=ROOT)
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    for name in listed.rstrip("\0").split("\0"):
        here, there = ROOT / name, clone / name
        if here.is_file() and not here.is_symlink():
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(here, there)
        elif not here.exists():
            there.unlink(missing_ok=True)
    assert (clone / "ppgen" / "models").is_file() and (clone / "ppgen" / "inference").is_file()
    return clone


@pytest.fixture(scope="module")
def built(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the sdist, and the wheel built from that sdist."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, checkout, cwd=out)
    return out


def sources() -> set[str]:
    """The modules and the marker as the wheel must hold them: ppgen/models/vae.py for models/vae.py."""
    found = {"ppgen/py.typed"}
    for folder in ("ppgen", "models", "inference"):
        for path in (ROOT / folder).rglob("*.py"):
            inside = path.relative_to(ROOT).as_posix()
            if not inside.startswith(("ppgen/models/", "ppgen/inference/")):
                found.add(inside if folder == "ppgen" else f"ppgen/{inside}")
    return found


def test_wheel_holds_the_package_and_nothing_else(built: Path) -> None:
    """Catches a module that is missing from the wheel, and a wheel that installs bare `models` or `tests`."""
    (wheel,) = built.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == sources()


def test_sdist_can_be_tested(built: Path) -> None:
    """Catches an sdist without the top folders, the licence or the tests."""
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    wanted = {"LICENSE", "README.md", "conftest.py", "models/__init__.py", "inference/__init__.py"}
    assert wanted | {"tests/house/test_layout.py", "ppgen/py.typed"} <= names


def test_wheel_works_outside_the_checkout(built: Path, tmp_path: Path) -> None:
    """Catches a wheel that only works because the checkout is near."""
    (wheel,) = built.glob("*.whl")
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    code = f"import sys; sys.path.insert(0, {str(site)!r}); sys.argv[1:] = [{str(site)!r}]; "
    code += f"import runpy; runpy.run_path({str(CHECK)!r}, run_name='__main__')"
    assert "imported from" in run(sys.executable, "-c", code, cwd=tmp_path)


def test_editable_install_works_without_links(checkout: Path, tmp_path: Path) -> None:
    """Catches a package mapping that setuptools follows for wheels but not for an editable install."""
    env = tmp_path / "env"
    venv.create(env, with_pip=False, symlinks=True)
    python = env / "bin" / "python"
    purelib = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip())
    # A path file of a path file's folder is not read: an editable ppgen of this environment stays invisible.
    (purelib / "torch_and_others.pth").write_text(sysconfig.get_path("purelib"))
    pip = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    run(*pip, "--editable", checkout, cwd=tmp_path)
    assert "imported from" in run(python, CHECK, checkout, cwd=tmp_path)


@pytest.mark.parametrize("python", ["3.11", "3.12"])
def test_lock_meets_the_dependencies(python: str) -> None:
    """Catches a dependency added without `make lock`, and a name that cannot be packed."""
    pack_offline = runpy.run_path(str(ROOT / "scripts" / "pack_offline.py"))
    pins = {name: Requirement(pin) for name, pin in pack_offline["locked"](python).items()}
    for text in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]:
        wanted = Requirement(text)
        if wanted.marker is None or wanted.marker.evaluate({"python_version": python}):
            (pinned,) = pins[wanted.name].specifier
            assert wanted.specifier.contains(pinned.version), f"{text}: the lock has {pinned}"
    if python == "3.12":
        assert set(pack_offline["PACKAGES"]) <= set(pins)
