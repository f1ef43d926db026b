"""Machines of words, ratings and real values beside what their users have instead, on real data.

    python -m benchmarks.undirected.measure            # writes record and page
    python -m benchmarks.undirected.measure patches    # one part again; the others of the record stay
    python -m benchmarks.undirected.measure --quick    # a trial; writes to runs/benchmarks
    python -m benchmarks.undirected.measure --check      # exit code 1 if docs/undirected.md is not what the record says

Each part says in its module what was held out. Whatever is tuned, ours or a rival's, is tuned on validation rows that
are in neither the training nor the test data; the candidates and their validation figures are in the record.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks import command, record
from benchmarks.undirected import page, patches, ratings, words
from ppgen.datasets.fetch import search_folders

KIND, NAME = "undirected models", "undirected.json"


@dataclass(frozen=True)
class Part:
    """A part: the data file that it needs, and what measures it."""

    file: str
    measure: Callable[[Path, bool], dict[str, Any]]


PARTS = {
    "articles": Part("wiki250.txt", words.articles),
    "passages": Part("wiki250.txt", words.passages),
    "ratings": Part("ml-100k/ml-100k.inter", ratings.measure),
    "binary": Part("ml-100k/ml-100k.inter", ratings.binary),
    "patches": Part("faces25.npy", patches.measure),
}


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    parser = command.make_parser(__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--data-dir", help="folder that holds wiki250.txt, ml-100k and faces25.npy")
    command.add_page(parser, "little of everything; writes no page")
    given = parser.parse_args(arguments)
    parts = command.chosen(parser, "parts", given.parts, PARTS)
    if given.check or given.render:
        return page.write(command.read(NAME), check=given.check)
    folder = command.folder(given.results, given.quick)
    for name in parts:
        found = measure(name, data_file(PARTS[name].file, given.data_dir), given.quick)
        content = updated(folder / NAME, name, found)
        command.write(folder / NAME, content)
    return 0 if given.quick or given.results else page.write(content, check=False)


def data_file(name: str, data_dir: str | None) -> Path:
    """The file of the first data folder that has it."""
    searched = [folder / name for folder in search_folders(data_dir)]
    found = next((path for path in searched if path.is_file()), None)
    if found is None:
        folders = ", ".join(str(path.parent) for path in searched)
        raise SystemExit(f"{name} is in none of {folders}: name its folder by --data-dir or PPGEN_DATA.")
    return found


def measure(name: str, path: Path, quick: bool) -> dict[str, Any]:
    """What a part finds, with the time that it took."""
    start, processor = time.perf_counter(), time.process_time()
    return {
        **PARTS[name].measure(path, quick),
        "seconds": round(time.perf_counter() - start, 1),
        "processor_seconds": round(time.process_time() - processor, 1),
        "hardware": record.hardware(torch.device("cpu")),
        "versions": {**record.versions(), "scikit-learn": version("scikit-learn")},
        "commit": record.commit(),
    }


def updated(path: Path, name: str, found: dict[str, Any]) -> dict[str, Any]:
    """The record with one part measured anew."""
    old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"parts": {}}
    known = {**old["parts"], name: found}
    parts = {each: known[each] for each in PARTS if each in known}
    return {"kind": KIND, "command": "python -m benchmarks.undirected.measure", "parts": parts}


if __name__ == "__main__":
    sys.exit(main())
