"""Pages of the documentation that are rendered from records."""

import sys
from pathlib import Path


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
