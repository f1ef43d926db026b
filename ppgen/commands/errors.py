"""What a user did wrong, told apart from what the library did wrong."""

import dis
import re
from types import TracebackType

BAD_INPUT = 2
FAILED = 1
INTERRUPTED = 130
TERMINATED = 143

_RAISE = dis.opmap["RAISE_VARARGS"]
_MISSING = (FileNotFoundError, FileExistsError, PermissionError, NotADirectoryError, IsADirectoryError)


_NO_MEMORY = r"(?:can't allocate memory: you tried to allocate (\d+) bytes|out of memory)"
"""What PyTorch says when memory is at an end, on the CPU and on a GPU."""

_AS_OPTIONS = (
    (
        r'datasets\.load\([^()]*binarize="threshold"\)(, "fixed" or "dynamic")?',
        "--binarize threshold, fixed or dynamic",
    ),
    (r"Wait for it to end, or choose another folder\.", "Wait for it to end, or choose another --folder."),
    (r"[Cc]hoose another folder\.", "Choose another --folder, or start again with --overwrite."),
    (r"(Pass|Use) resume='auto' to go on with it, or ", "--resume auto goes on with it. "),
    (r"(Pass|Use) resume='auto' to", "Give --resume auto to"),
    (r"\broot=", "--data-dir "),
    (r"\bresume=True\b", "--resume true"),
    (r"\b(valid|test)_size=", r"--\1-size "),
)
"""What the library says in Python, as a command line says it."""


class UsageError(Exception):
    """A command line that cannot be run; the message is one line."""


class Stopped(Exception):  # noqa: N818 - not an error
    """Ctrl-C or SIGTERM ended a command; the message says how to go on."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def explained(error: BaseException) -> tuple[str, int] | None:
    """One line and an exit code for an error that is not a bug; None for a bug, which wants its traceback.

    The library checks its input and raises by a statement of its own; a bug surfaces where a statement of ours fails,
    or inside another library.

    Example:
        >>> explained(UsageError("unknown option --lattent"))
        ('unknown option --lattent', 2)
        >>> explained(ZeroDivisionError("division by zero")) is None
        True
    """
    if isinstance(error, UsageError):
        return one_line(str(error)), BAD_INPUT
    if isinstance(error, _MISSING) or (isinstance(error, OSError) and error.errno is not None):
        text = f"{error.strerror}: {error.filename}" if error.filename else str(error)
        return one_line(text), BAD_INPUT if isinstance(error, _MISSING) else FAILED  # a disk that is full, or fails
    full = re.search(_NO_MEMORY, str(error)) if isinstance(error, RuntimeError) else None
    if full or isinstance(error, MemoryError):
        size = f" for {int(full[1]) / 2**30:.3g} GiB at once" if full and full[1] else ""
        return f"not enough memory{size}: make the model, the batches or the number of draws smaller", FAILED
    if not _raised_by_us(error.__traceback__):
        return None
    if isinstance(error, FloatingPointError):  # training diverged: neither a bad argument nor a bug
        return one_line(str(error)), FAILED
    if isinstance(error, (ValueError, TypeError)) or type(error).__name__ == "FolderInUseError":
        return as_options(one_line(str(error))), BAD_INPUT
    return None


def as_options(text: str) -> str:
    """A message of the library in the words of the command line.

    Example:
        >>> as_options("Choose another folder.")
        'Choose another --folder, or start again with --overwrite.'
    """
    for pattern, replacement in _AS_OPTIONS:
        text = re.sub(pattern, replacement, text)
    return text


def one_line(text: str) -> str:
    r"""The text with its line breaks and runs of blanks made single blanks.

    Example:
        >>> one_line("first\n   second")
        'first second'
    """
    return re.sub(r"\s+", " ", text).strip()


def _raised_by_us(traceback: TracebackType | None) -> bool:
    """Whether a `raise` statement of ppgen is where the error began."""
    if traceback is None:
        return False
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    frame = traceback.tb_frame
    package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    return package == "ppgen" and frame.f_code.co_code[traceback.tb_lasti] == _RAISE
