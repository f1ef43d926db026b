"""Pages of the documentation that are rendered from records."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import record


def main(
    path: Path, page: Callable[[Path], str], description: str | None, module: str, arguments: list[str] | None = None
) -> int:
    """The command that renders a page; returns the exit code.

    Args:
        path: Where the page stands.
        page: Its text from the folder of records.
        description: Help of the command.
        module: `benchmarks.FOLDER.page`, which runs it.
        arguments: Of the command line.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--render", action="store_true", help="write the page, which is what happens anyway")
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if the page is out of date")
    given = parser.parse_args(arguments)
    return write(path, page(record.RESULTS), given.check, f"python -m {module}")


def write(path: Path, wanted: str, check: bool, command: str) -> int:
    """Write a page, or say whether it is out of date; returns the exit code.

    Args:
        path: Where the page stands.
        wanted: Its text as the record has it.
        check: Whether nothing is written.
        command: What renders it, for the message.
    """
    if path.exists() and path.read_text(encoding="utf-8") == wanted:
        return 0
    if check:
        print(f"{path.name} is out of date: run {command}", file=sys.stderr)
        return 1
    path.write_text(wanted, encoding="utf-8")
    print(f"{path.name}: {len(wanted.splitlines())} lines")
    return 0
