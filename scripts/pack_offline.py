"""Pack what ppgen needs on an offline machine which has Python and torch already, into one small folder.

    python scripts/pack_offline.py build/offline --data digits.npz     # here, with a network
    bash build/offline/install.sh                                      # there, without one

The folder holds wheels of the locked versions for the other machine's Python, ppgen's own wheel, the data
files named with --data, and `install.sh`, which installs the wheels with that machine's python3.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
LIMIT_MIB = 64
# What an image with torch, SciPy, scikit-learn, xarray, h5py, matplotlib, rich and tensorboard still lacks.
PACKAGES = (
    "arviz",
    "arviz-base",
    "arviz-plots",
    "arviz-stats",
    "docstring-parser",
    "h5netcdf",
    "jsonargparse",
    "opt-einsum",
    "platformdirs",
    "pooch",
    "pyro-api",
    "pyro-ppl",
    "safetensors",
    "typeshed-client",
    "xarray-einstats",
)
INSTALL = """#!/usr/bin/env bash
# Installs ppgen and the few packages beside this file, without a network.
set -e
cd "$(dirname "$0")"
"${PYTHON:-python3}" -m pip install --quiet --no-index --no-deps --disable-pip-version-check ./*.whl
"${PYTHON:-python3}" -c 'import ppgen, torch; print("ppgen", ppgen.__version__, "torch", torch.__version__)'
"""


def locked(python: str) -> dict[str, str]:
    """Name -> the pinned requirement of `requirements.lock` for that Python on 64-bit Linux."""
    where = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
        "os_name": "posix",
    }
    pins = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate(where):
                pins[requirement.name] = f"{requirement.name}{requirement.specifier}"
    return pins


def pack(folder: Path, python: str, packages: list[str], data: list[Path]) -> None:
    """Fill the folder; the caller has checked that the data files exist."""
    pins = locked(python)
    unknown = [name for name in packages if name not in pins]
    if unknown:
        sys.exit(f"requirements.lock pins nothing for Python {python} under: {', '.join(unknown)}")
    folder.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-P", "-m", "pip", "--quiet"]
    platforms = [f"--platform=manylinux{tag}_x86_64" for tag in ("2014", "_2_17", "_2_28", "_2_34")]
    wheels = [
        "--no-deps",
        "--only-binary=:all:",
        f"--python-version={python}",
        f"--dest={folder}",
        *platforms,
    ]
    subprocess.run([*pip, "download", *wheels, *(pins[name] for name in packages)], check=True)
    with tempfile.TemporaryDirectory() as scratch:
        # By way of the sdist: a wheel built in the checkout takes along what an earlier build left there.
        subprocess.run(
            [sys.executable, "-P", "-m", "build", f"--outdir={scratch}", ROOT], check=True, capture_output=True
        )
        for wheel in Path(scratch).glob("*.whl"):
            shutil.copy(wheel, folder)
    for path in data:
        shutil.copy(path, folder)
    (folder / "install.sh").write_text(INSTALL)


def main() -> None:
    """Read the arguments, pack, and refuse a folder that is too large to carry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="an empty or new folder")
    parser.add_argument("--python", default="3.12", help="the other machine's Python (default: %(default)s)")
    parser.add_argument("--also", nargs="*", default=[], metavar="NAME", help="further packages of the lock")
    parser.add_argument("--data", nargs="*", default=[], type=Path, metavar="FILE", help="data files to carry")
    arguments = parser.parse_args()
    missing = [str(path) for path in arguments.data if not path.is_file()]
    if missing:
        parser.error(f"--data: no such file: {', '.join(missing)}")
    if arguments.folder.exists() and any(arguments.folder.iterdir()):
        parser.error(f"{arguments.folder} is not empty; name a new folder")
    pack(arguments.folder, arguments.python, [*PACKAGES, *arguments.also], arguments.data)
    size = sum(path.stat().st_size for path in arguments.folder.iterdir()) / 2**20
    print(f"{arguments.folder}: {len(list(arguments.folder.iterdir()))} files, {size:.1f} MiB")
    if size > LIMIT_MIB:
        sys.exit(f"more than {LIMIT_MIB} MiB: carry less data or fewer packages")


if __name__ == "__main__":
    main()
