"""Folders of runs: what a command finds in one, and what it leaves there."""

import sys
from pathlib import Path
from typing import Any

from ppgen import training
from ppgen.commands.errors import UsageError
from ppgen.training import FolderInUseError
from ppgen.training.run_folder import checkpoint, contents
from ppgen.training.run_folder.contents import FIGURES as FIGURES
from ppgen.training.run_folder.contents import LAST
from ppgen.training.run_folder.contents import POSTERIOR as POSTERIOR
from ppgen.training.run_folder.contents import SAMPLES as SAMPLES


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


def folder_of(text: str) -> Path:
    """Folder that `--folder` names.

    Raises:
        UsageError: If it names none.
    """
    if not text.strip():
        raise UsageError("--folder must name a folder, got an empty text; . is the working directory")
    return Path(text)


def check_folder(folder: str) -> None:
    """Check that there is such a folder.

    Raises:
        UsageError: If there is none.
    """
    if not folder or not Path(folder).is_dir():
        raise UsageError(f"{folder or 'an empty text'} is no folder")


def progress_of(folder: Path) -> str | None:
    """Where the last checkpoint of a folder stands, in a few words; None if there is none."""
    if not (folder / LAST).exists():
        return None
    header = checkpoint.read(folder / LAST)[1]
    return f"epoch {header['epoch']}, step {header['step']}"


def clear(folder: Path) -> None:
    """Remove what a run wrote into its folder, and nothing else.

    Raises:
        FolderInUseError: If another process is writing there.
        ValueError: If the folder is not empty and not that of a run, or holds links where a run writes.
    """
    from filelock import FileLock, Timeout

    if not folder.is_dir() or contents.is_bare(folder):
        return
    contents.check_no_links(folder)
    ours, lock = contents.is_run(folder), folder / contents.LOCK
    if not (ours or lock.exists()):
        raise _foreign(folder)
    try:
        with FileLock(lock, timeout=0):
            if not ours:
                raise _foreign(folder)
            contents.remove_run(folder)
    except Timeout:
        raise FolderInUseError(f"Another run is writing to {folder}. Wait for it to end.") from None


def _foreign(folder: Path) -> UsageError:
    return UsageError(
        f"--overwrite removes runs of ppgen only, and {folder} is not empty and has no {contents.CONFIG} of one. "
        "Remove what lies there, or give another --folder"
    )


def watched(quiet: bool) -> bool:
    """Whether somebody watches the progress on a terminal."""
    return not quiet and sys.stdout.isatty()
