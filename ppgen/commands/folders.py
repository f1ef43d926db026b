"""Folders of runs: what a command finds in one, and what it leaves there."""

import shutil
import sys
from pathlib import Path
from typing import Any

from ppgen import training
from ppgen.commands.errors import UsageError
from ppgen.training import FolderInUseError, checkpoint
from ppgen.training.folder import BEST, CONFIG, LAST, METRICS, MODEL

POSTERIOR, FIGURES, SAMPLES = "posterior.nc", "figures", "samples.npy"
_WRITTEN = (CONFIG, MODEL, METRICS, LAST, BEST, POSTERIOR, SAMPLES, "evaluation.json", "command.yaml")


def load_run(folder: str) -> Any:
    """Run of a folder; says so where it is not finished.

    Raises:
        UsageError: If there is no such folder.
        ValueError: If it holds no run.
    """
    check_folder(folder)
    run = training.load(folder)
    if not run.state["finished"]:
        place = f"epoch {run.state['epoch']}, step {run.state['step']}"
        print(f"{folder} is not finished: these are the weights of its last checkpoint ({place})")
    return run


def check_folder(folder: str) -> None:
    """Check that there is such a folder.

    Raises:
        UsageError: If there is none.
    """
    if not Path(folder).is_dir():
        raise UsageError(f"{folder} is no folder")


def progress_of(folder: Path) -> str | None:
    """Where the last checkpoint of a folder stands, in a few words; None if there is none."""
    if not (folder / LAST).exists():
        return None
    header = checkpoint.read(folder / LAST)[1]
    return f"epoch {header['epoch']}, step {header['step']}"


def clear(folder: Path) -> None:
    """Remove what a run wrote into a folder, and nothing else.

    Raises:
        FolderInUseError: If another process is writing there.
    """
    from filelock import FileLock, Timeout

    if not folder.is_dir():
        return
    try:
        with FileLock(folder / ".lock", timeout=0):
            for name in _WRITTEN:
                (folder / name).unlink(missing_ok=True)
            for picture in (folder / FIGURES).glob("*.png"):
                picture.unlink()
            shutil.rmtree(folder / "tensorboard", ignore_errors=True)
    except Timeout:
        raise FolderInUseError(f"Another run is writing to {folder}. Wait for it to end.") from None


def watched(quiet: bool) -> bool:
    """Whether somebody watches the progress on a terminal."""
    return not quiet and sys.stdout.isatty()
