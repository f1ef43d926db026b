"""The folder of a comparison: what of it may be believed, and what others put there."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ppgen.training.run_folder import checkpoint
from ppgen.training.run_folder.schema import COUNT, LIST, NUMBER, OBJECT, TEXT, optional, record
from ppgen.training.run_folder.storage import remove_leftovers

CELL, RESULT, LOCK = "cell.json", "result.json", ".cell.lock"
NETCDF, TEXT_FILE, FIGURE = "comparison.nc", "comparison.txt", "comparison.png"
FINISHED, FAILED = "finished", "failed"

_NUMBERS = replace(LIST, expected="a list of numbers or null", each=optional(NUMBER))
_FINISHED = record(
    {
        "config": OBJECT,
        "epochs": COUNT,
        "numbers": replace(OBJECT, each=optional(NUMBER)),
        "kind": TEXT,
        "method": TEXT,
        "notes": TEXT,
        "pointwise": optional(_NUMBERS),
    }
)
_RESULT = record({"status": TEXT, "config": OBJECT})


def read_result(folder: Path) -> dict[str, Any]:
    """Result of a cell.

    Raises:
        ValueError: If the file is damaged; names the field.
    """
    path = folder / RESULT
    result = checkpoint.read_json(path)
    _RESULT.check(result, path)
    if result["status"] == FINISHED:
        _FINISHED.check(result, path)
    return result


def read_cell(folder: Path) -> dict[str, Any]:
    """Configuration of a cell.

    Raises:
        ValueError: If the file is damaged.
    """
    return checkpoint.read_json(folder / CELL)


def tidy(folder: Path) -> None:
    """Remove what killed writers left half written in the folder of a cell; for the holder of its lock."""
    remove_leftovers(folder, (), (CELL, RESULT))


def check_root(root: Path, cells: Sequence[Path]) -> None:
    """Refuse a folder in which a comparison would replace files of others, or write through links.

    Args:
        root: Folder of the comparison.
        cells: Folders of its cells.

    Raises:
        ValueError: Names the file or the link.
    """
    names = (NETCDF, TEXT_FILE, FIGURE)
    remove_leftovers(root, names)
    inside = {parent for cell in cells for parent in (cell, *cell.parents) if root in parent.parents}
    kept = [cell / name for cell in cells for name in (CELL, RESULT, LOCK)]
    for path in (*sorted(inside), *kept, *(root / name for name in names)):
        if path.is_symlink():
            raise ValueError(
                f"{path} is a link. A comparison writes nothing outside its folder: remove the link, or give another "
                "folder."
            )
    found = next((name for name in names if (root / name).exists()), None)
    if found is not None and not any(root.glob(f"*/*/*/{CELL}")):
        raise ValueError(
            f"{root} holds {found} and no cell of a comparison, so a comparison would replace what it did not write. "
            "Give a folder of its own."
        )


def same(result: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """Whether a result is of a cell of this configuration that did not fail."""
    return result["config"] == config and result["status"] == FINISHED
