"""The command `ppgen`: finds the command that is asked for, and turns what went wrong into one line and an exit code.

Exit codes: 0; 2 for wrong arguments or data; 1 if training diverged or a disk failed; 130 after Ctrl-C and 143 after
SIGTERM.
"""

import difflib
import importlib
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, TextIO

from ppgen.commands import COMMANDS
from ppgen.commands.errors import BAD_INPUT, INTERRUPTED, TERMINATED, Stopped, UsageError, explained
from ppgen.version import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        argv: Arguments after `ppgen`; those of the process by default.

    Returns:
        The exit code.

    Example:
        >>> main(["--version"])
        ppgen 0.1.0
        0
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = next((word for word in arguments[:1] if word in COMMANDS), None)
    prog = f"ppgen {command}" if command else "ppgen"
    try:
        with _termination(), _short_warnings():
            return _run(arguments)
    except Stopped as stop:
        return _say(str(stop), stop.code)
    except KeyboardInterrupt:
        return _say(f"{prog}: interrupted", INTERRUPTED)
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SystemExit as done:
        if done.code == TERMINATED:
            return _say(f"{prog}: terminated", TERMINATED)
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    except Exception as error:
        found = explained(error)
        if found is None:
            raise
        return _say(f"{prog}: error: {found[0]}", found[1])


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_help())
        return 0 if arguments else BAD_INPUT
    first, rest = arguments[0], arguments[1:]
    if first == "--version":
        print(f"ppgen {__version__}")
        return 0
    if first not in COMMANDS:
        close = difflib.get_close_matches(first, COMMANDS, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise UsageError(f"unknown command {first!r}. Known: {', '.join(COMMANDS)}.{hint}")
    return importlib.import_module(f"ppgen.commands.{first}").main(rest)


def _help() -> str:
    lines = [
        "usage: ppgen COMMAND ...",
        "",
        "Deep generative models as Pyro programs, with the inference chosen outside them.",
        "",
        *(f"  {name:<10}{text}" for name, text in COMMANDS.items()),
        "",
        "ppgen COMMAND --help shows the options of a command, ppgen fit MODEL --help those of a model.",
        "ppgen --version shows the version.",
    ]
    return "\n".join(lines)


def _say(text: str, code: int) -> int:
    if text:  # of many processes, one says it
        print(text, file=sys.stderr, flush=True)
    return code


@contextmanager
def _termination() -> Iterator[None]:
    """SIGTERM as an exception, so that what is half written is tidied up; the handler is put back."""

    def terminate(number: int, frame: FrameType | None) -> None:
        raise SystemExit(TERMINATED)

    usable = threading.current_thread() is threading.main_thread()
    if not usable or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def _short_warnings() -> Iterator[None]:
    """Warnings as one line on stderr, without the place in the code."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: Any = None,
    ) -> None:
        print(f"warning: {message}", file=sys.stderr, flush=True)

    before = warnings.showwarning
    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = before
