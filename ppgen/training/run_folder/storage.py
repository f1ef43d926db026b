"""Files as a folder holds them: looked at before they are opened, replaced as a whole, named in what goes wrong."""

import os
import re
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

LARGEST_TEXT = 64 * 2**20
"""Bytes of the largest text file that is read: a configuration takes some kilobytes."""

_LEFT = re.compile(r"\.(?P<name>.+)\.(?P<process>\d+)\.tmp")


def check_readable(path: Path, most: int | None = None) -> None:
    """Look at a file before it is opened: a pipe would wait for ever, a device never end.

    Args:
        path: The file; links are followed.
        most: Largest number of bytes that it may have.

    Raises:
        ValueError: If there is none, it is no regular file, or it is larger.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}.") from error
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{path} cannot be read: it is no regular file.")
    if most is not None and found.st_size > most:
        raise ValueError(f"{path} cannot be read: it has {found.st_size} bytes, and at most {most} are expected.")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Context in which an `OSError` without a file, as a full disk raises it, names one."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror or os.strerror(error.errno), str(path)) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Path to write to, which then takes the place of `path`: there is the old file or the new.

    Raises:
        OSError: If the new one cannot be written; names `path`, where the old one is whole.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _remove(temporary)  # a link of that name would be followed
            yield temporary
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)  # safetensors makes files that nobody else may read
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError as error:
            if error.errno is None or str(error.filename) != str(temporary):
                raise
            raise OSError(error.errno, error.strerror, str(path)) from error
        finally:
            _remove(temporary)


def _remove(path: Path) -> None:
    if os.path.lexists(path):  # a disk that is read only refuses to remove even what is not there
        path.unlink(missing_ok=True)


def remove_leftovers(folder: Path, names: Collection[str], locked: Collection[str] = ()) -> None:
    """Remove what writers that were killed left half written.

    Args:
        folder: Where to look.
        names: Names of the files that were to be replaced; their leftovers go if the writer no longer runs.
        locked: Names that only the holder of a lock writes, which is this process now: theirs go in any case.
    """
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        match = _LEFT.fullmatch(path.name)
        if match is None or not (path.is_symlink() or path.is_file()):
            continue
        if match["name"] in locked or (match["name"] in names and not _runs(int(match["process"]))):
            path.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    if os.name != "posix":  # where a signal of 0 is no question
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it runs, and is another user's
        return True
    return True
