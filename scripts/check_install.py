"""Import every package of an installed ppgen and make sure that it comes from there, not from the checkout.

python scripts/check_install.py FOLDER      # FOLDER: where the packages' files must lie
"""

import importlib
import sys
import tomllib
from pathlib import Path

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())


def main(folder: str) -> None:
    """Fail with the names of the packages that are missing or come from elsewhere."""
    expected = Path(folder).resolve()
    strays = []
    for name in PROJECT["tool"]["setuptools"]["packages"]:
        found = Path(str(importlib.import_module(name).__file__)).resolve()
        if not found.is_relative_to(expected):
            strays.append(f"{name} comes from {found}, not from {expected}")
    if strays:
        sys.exit("\n".join(strays))
    print(f"ppgen {importlib.import_module('ppgen').__version__} imported from {expected}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
