"""Finds the files of a public data set in the user's folders, or fetches them into the user cache."""

import os
import tempfile
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path

ENVIRONMENT = ("PPGEN_DATA", "PPGEN_ROOT")
LARGEST = 2**28
"""Bytes that a file may have that is fetched: the largest of the data sets known here has 26 million."""


def search_folders(root: str | PathLike | None = None) -> list[Path]:
    """Folders searched for data: `root`, those of `PPGEN_DATA` and `PPGEN_ROOT`, the user cache."""
    given = [root, *(os.environ.get(variable) for variable in ENVIRONMENT)]
    return [Path(folder).expanduser() for folder in given if folder] + [cache_folder()]


def cache_folder() -> Path:
    """The user cache, in which fetched files are kept."""
    import pooch  # brings requests with it

    return Path(pooch.os_cache("ppgen"))


def find_or_fetch(
    folder: str,
    names: Sequence[str],
    mirrors: Sequence[str],
    *,
    root: str | PathLike | None = None,
    check: Callable[[Path, str], object],
) -> dict[str, Path]:
    """Paths of files by name, each as it is or with `.gz`; those in no folder are fetched.

    Args:
        folder: Folder of the data set within each folder searched, as torchvision lays it out (`MNIST/raw`).
        names: File names without `.gz`.
        mirrors: Addresses that end in a slash, under which `name.gz` is found; tried in turn.
        root: First folder searched.
        check: Called with a fetched file and its name; raises ValueError if the content is wrong.

    Raises:
        FileNotFoundError: If files are missing and no mirror gives them.
    """
    searched = [base / folder for base in search_folders(root)]
    paths = {name: path for name in names if (path := _find(searched, name)) is not None}
    missing = [name for name in names if name not in paths]
    reasons: list[str] = []
    for name in missing:
        path = _fetch(mirrors, name, searched[-1], check, reasons)
        if path is None:  # the other files have the same mirrors: no further waiting for the network
            break
        paths[name] = path
    missing = [name for name in names if name not in paths]
    if missing:
        raise FileNotFoundError(
            f"Missing files: {', '.join(missing)} (each as it is or with .gz). Looked in "
            f"{', '.join(map(str, searched))}; fetching failed ({'; '.join(reasons)}). On a machine with a "
            f"network get them with .gz from {mirrors[0]}, put them in FOLDER/{folder}, and give root=FOLDER "
            "or set PPGEN_DATA=FOLDER."
        )
    return paths


def download(url: str, path: Path) -> None:
    """Fetch one file over the network, as long as it is of a size that a data set may have.

    Raises:
        OSError: If it cannot be reached or is cut off.
        ValueError: If it is larger than `LARGEST`.
    """
    import pooch

    pooch.HTTPDownloader(timeout=20, progressbar=_Limit())(url, str(path), None)


class _Limit:
    """Stands where pooch shows its progress: ends a download that does not end."""

    total = 0

    def __init__(self) -> None:
        self.done = 0

    def update(self, size: int) -> None:
        """Take note of some bytes more."""
        self.done += size
        if max(self.done, self.total) > LARGEST:
            raise ValueError(f"it holds more than {LARGEST} bytes, and no file of a data set does")

    def reset(self) -> None:
        """Start to count again, as pooch does before it reports the whole."""
        self.done = 0

    def close(self) -> None:
        """Nothing is open."""


def _find(folders: Sequence[Path], name: str) -> Path | None:
    candidates = (folder / file for folder in folders for file in (name, f"{name}.gz"))
    return next((path for path in candidates if path.is_file()), None)


def _fetch(
    mirrors: Sequence[str], name: str, folder: Path, check: Callable[[Path, str], object], reasons: list[str]
) -> Path | None:
    target = folder / f"{name}.gz"
    for mirror in mirrors:
        url = f"{mirror}{name}.gz"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Checked beside the cache and then moved: no broken or wrong file ever stands under its name.
            with tempfile.TemporaryDirectory(dir=folder) as partial:
                fetched = Path(partial) / target.name
                download(url, fetched)
                check(fetched, name)
                os.replace(fetched, target)
            return target
        except (OSError, ValueError) as error:
            # Network libraries put a paragraph into their messages; ours say what is wrong with the content.
            what = type(error).__name__ if isinstance(error, OSError) else str(error)
            reasons.append(f"{url}: {what}")
    return None
