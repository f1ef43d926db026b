"""docs/autoregressive.md from whichever records of autoregressive models there are.

python -m benchmarks.autoregressive.page            # writes the page
python -m benchmarks.autoregressive.page --check    # exit code 1 if it is not what the records say
"""

import json
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks import pages, record
from benchmarks.autoregressive import figures, rows, text
from benchmarks.autoregressive.rows import Row
from benchmarks.undirected.page import table

PAGE = record.ROOT / "docs" / "autoregressive.md"
Record = Mapping[str, Any]
NOT_RUN = "not run yet"


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    return pages.main(PAGE, page, __doc__, "benchmarks.autoregressive.page", arguments)


def page(folder: Path) -> str:
    """The page, of the records in a folder."""
    parts = [text.PREFACE, text.FIGURES, figures.section(folder)]
    for name, (words, listed, told) in SECTIONS.items():
        path = folder / f"autoregressive-{name}.json"
        found: Record = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"rows": {}}
        parts += [words, _section(name, listed, told, found)]
    return "\n".join(parts).rstrip() + "\n"


def _section(name: str, listed: tuple[Row, ...], told: Callable[[Record], str], found: Record) -> str:
    """The table of a record, and where it comes from."""
    published = any(row.published for row in listed)
    head = ["what", "found", "training", "wanted", *(["published"] if published else [])]
    cells = []
    for row in listed:
        measured = list(_of_name(found["rows"], row.name))
        given = told_of(row.name, measured, told, found["rows"]) if measured else NOT_RUN
        cells.append([row.what, given, _training(measured), row.wanted, *([row.published] if published else [])])
    command = f"`python -m benchmarks.autoregressive.{name}`"
    if "versions" not in found:
        return f"{table(head, cells)}\n{command}\n"
    versions = found["versions"]
    about = f"{found['hardware']['cpu']}, one thread, torch {versions['torch']}, commit {found['commit']}"
    return f"{table(head, cells)}\n{command}: {about}.\n"


def told_of(name: str, measured: list[Record], told: Callable[[Record], str], every: Mapping[str, Record]) -> str:
    """A row in words, the mean over its seeds, with its differences to others."""
    given = [told(row) for row in measured] if len(measured) == 1 else [_of_seeds(measured)]
    for other, row in every.items():
        if other.startswith((f"{name} less ", f"{name}, less ")):
            given.append(f"{row['nats more']:+.2f} ± {row['se']:.2f} to {other.partition('less ')[2]}")
    return "; ".join(given)


def _of_name(found: Mapping[str, Record], name: str) -> Iterator[Record]:
    """The row of that name, or those of its seeds."""
    return (row for key, row in found.items() if key == name or key.startswith(f"{name}, seed "))


def _of_seeds(measured: list[Record]) -> str:
    values = [row["nats"]["value"] for row in measured]
    error = statistics.fmean(row["nats"]["data_se"] for row in measured)
    return f"{statistics.fmean(values):.2f} ± {error:.2f} ({len(values)} seeds, sd {statistics.stdev(values):.2f})"


def _training(measured: list[Record]) -> str:
    """What the training of a row was."""
    first = measured[0] if measured else {}
    if "training seconds" not in first:
        return f"{first['processor_seconds']:.0f} s" if first.get("processor_seconds") and "nats" in first else ""
    minutes = statistics.fmean(row["training seconds"] for row in measured) / 60
    return f"{first['epochs']} epochs, {minutes:.0f} min; {first['parameters']:,} parameters; {first['chosen']}"


def _nats(row: Record) -> str:
    return f"{row['nats']['value']:.2f} ± {row['nats']['data_se']:.2f}"


def _bits(row: Record) -> str:
    return f"{row['bits']['value']:.3f} ± {row['bits']['data_se']:.3f} bits"


def _error(row: Record) -> str:
    return f"{row['error %']:.2f} ± {row['se %']:.2f} %; log p(x given class) {_nats(row)}"


def _cost(row: Record) -> str:
    """Draws, operators and steps."""
    ahead = row["wall over processor"]
    load = "" if ahead < 0.1 else f"; other work ran beside it, the wall clock {ahead:.0%} ahead"
    if "over full passes" in row:
        same = "equal draws" if row["same draws"] else "other draws"
        told = (
            f"{row['draw, seconds']:.2f} s, {_ratio(row['over full passes'], 0)} times as fast as full passes, "
            f"{_ratio(row['in forward passes'], 1)} passes; {same}"
        )
    elif "loop over op" in row:
        told = f"{_ratio(row['loop over op'], 1)} times as fast, {1e3 * row['op, seconds']:.0f} ms"
    else:
        told = (
            f"{_ratio(row['ours over by hand'], 2)} of it, {row['milliseconds']:.1f} beside "
            f"{row['by hand, milliseconds']:.1f} ms"
        )
    return told + load


def _ratio(found: Record, places: int) -> str:
    return f"{found['median']:.{places}f} ({found['least']:.{places}f} to {found['most']:.{places}f})"


SECTIONS: Mapping[str, tuple[str, tuple[Row, ...], Callable[[Record], str]]] = {
    "fixed_bits": (text.FIXED_BITS, rows.FIXED_BITS, _nats),
    "grey": (text.GREY, rows.GREY, _bits),
    "classes": (text.CLASSES, rows.CLASSES, _error),
    "pixel_rnn": (text.PIXEL_RNN, rows.PIXEL_RNN, _nats),
    "patches": (text.PATCHES, rows.PATCHES, _nats),
    "sampling": (text.SAMPLING, rows.SAMPLING, _cost),
}
"""Records by name: words, rows, and how a row is told."""


if __name__ == "__main__":
    sys.exit(main())
