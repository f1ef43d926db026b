"""What command lines of benchmarks share: what is measured, where the record goes, when its page is written."""

import argparse
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from benchmarks import record


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser whose help begins with the docstring of the module as it is written."""
    return argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)


def add_page(parser: argparse.ArgumentParser, quick: str | None = None) -> None:
    """Add the options `--check`, `--render` and `--results`, and `--quick` with its help."""
    if quick is not None:
        parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--check", action="store_true", help="measure nothing; exit code 1 if the page is out of date")
    parser.add_argument("--render", action="store_true", help="measure nothing; write the page from the record")
    parser.add_argument("--results", type=Path, help="where the record is written")


def chosen(parser: argparse.ArgumentParser, what: str, given: list[str], known: Collection[str]) -> list[str]:
    """The names given on the command line, all that are known if none is; ends the program at an unknown one."""
    unknown = sorted(set(given) - set(known))
    if unknown:
        parser.error(f"{what} must be among {', '.join(known)}; got {', '.join(unknown)}.")
    return given or list(known)


def folder(results: Path | None, trial: bool) -> Path:
    """The folder of the record, made if it is not there: the one given, that of runs for a trial, else of results."""
    found = results or (record.ROOT / "runs" / "benchmarks" if trial else record.RESULTS)
    found.mkdir(parents=True, exist_ok=True)
    return found


def resumed(path: Path, settings: Mapping[str, Any], again: bool, **fresh: Any) -> dict[str, Any]:
    """The record of an earlier call with the same settings, or a new one.

    Args:
        path: The record.
        settings: What both must have.
        again: Whether to begin anew.
        **fresh: What a new record has beside the settings.
    """
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() and not again else {}
    same = {key: found.get(key) for key in settings} == json.loads(json.dumps(settings))
    return found if same else {**settings, **fresh}


def read(name: str) -> Any:
    """The record of a file name among the results."""
    return json.loads((record.RESULTS / name).read_text(encoding="utf-8"))


def write(path: Path, content: Any) -> None:
    """Write a record."""
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
