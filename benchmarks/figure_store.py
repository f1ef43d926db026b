"""Figures of pages in two parts: records, arrays that something trained, and pictures drawn from them."""

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import command, record

Arrays, About = dict[str, np.ndarray], dict[str, Any]
Found = tuple[Arrays, About]


@dataclass(frozen=True)
class Figure:
    """A figure of a page.

    Attributes:
        record: Name of the record that it is drawn from.
        draw: What draws it, from the arrays and settings of the record.
        title: What it is called on the page.
        seen: What is seen in it, as a format of the settings.
    """

    record: str
    draw: Callable[[Mapping[str, np.ndarray], Mapping[str, Any]], Any]
    title: str = ""
    seen: str = ""


@dataclass(frozen=True)
class Store:
    """Records of figures: files of numpy arrays with, as text, a JSON object of settings and numbers.

    Attributes:
        module: Module whose command makes them.
        prefix: With which the names of their files begin.
        makers: What makes each, from whether it is a trial and the folder of the data.
    """

    module: str
    prefix: str
    makers: Mapping[str, Callable[[bool, str | None], Found]]

    def main(self, description: str | None, arguments: list[str] | None = None) -> int:
        """Make records from the command line; returns the exit code."""
        parser = command.make_parser(description)
        parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(self.makers)} (default: all)")
        parser.add_argument("--data-dir", help="folder of the data, as PPGEN_DATA names it")
        parser.add_argument("--quick", action="store_true", help="little of everything, on data that need no file")
        parser.add_argument("--again", action="store_true", help="train again what there is already")
        parser.add_argument("--results", type=Path, help="where the records are written")
        given = parser.parse_args(arguments)
        names = command.chosen(parser, "NAME", given.names, self.makers)
        folder = command.folder(given.results, given.quick)
        torch.set_num_threads(1)
        for name in names:
            path = self.path_of(folder, name)
            if path.exists() and not given.again:
                continue
            start, processor = time.perf_counter(), time.process_time()
            arrays, about = self.makers[name](given.quick, given.data_dir)
            about |= {
                "command": f"python -m {self.module} {name}",
                "seconds": round(time.perf_counter() - start, 1),
                "processor_seconds": round(time.process_time() - processor, 1),
                "hardware": record.hardware(torch.device("cpu")),
                "versions": record.versions(),
                "commit": record.commit(),
            }
            text = np.array(json.dumps(about, ensure_ascii=False))
            np.savez_compressed(path, about=text, **arrays)  # type: ignore[arg-type]
            print(f"{path.name}: {path.stat().st_size / 1024:.0f} KiB, {about['processor_seconds']:.0f} s", flush=True)
        return 0

    def path_of(self, folder: Path, name: str) -> Path:
        """The file of a record."""
        return folder / f"{self.prefix}-{name}.npz"

    def read(self, folder: Path, name: str) -> Found:
        """Arrays and settings of a record.

        Raises:
            FileNotFoundError: If there is none.
        """
        path = self.path_of(folder, name)
        if not path.exists():
            quick = "" if folder == record.RESULTS else " --quick"
            raise FileNotFoundError(
                f"The figure {name!r} has no record, {path.name}: make it by python -m {self.module} {name}{quick}"
            )
        with np.load(path, allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files if key != "about"}
            return arrays, json.loads(str(stored["about"]))


def draw(
    store: Store,
    figures: Mapping[str, Figure],
    prefix: str,
    description: str | None,
    arguments: list[str] | None = None,
) -> int:
    """Draw figures from the command line, `PREFIX-NAME.png` beside their records; returns the exit code."""
    parser = command.make_parser(description)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(figures)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="draw the trial records")
    parser.add_argument("--results", type=Path, help="where the records are, and the figures are written")
    given = parser.parse_args(arguments)
    names = command.chosen(parser, "NAME", given.names, figures)
    folder, failed = command.folder(given.results, given.quick), False
    for name in names:
        try:
            found = store.read(folder, figures[name].record)
        except FileNotFoundError as error:
            print(error, file=sys.stderr)
            failed = True
            continue
        path = folder / f"{prefix}-{name}.png"
        figures[name].draw(*found).savefig(path, dpi=110)
        print(path)
    return int(failed)


def pictured(store: Store, figures: Mapping[str, Figure], prefix: str, folder: Path) -> str:
    """Figures as they stand on a page, each with what is seen in it, or the command that makes its record."""
    return "\n".join(_pictured(store, name, each, prefix, folder) for name, each in figures.items())


def _pictured(store: Store, name: str, figure: Figure, prefix: str, folder: Path) -> str:
    try:
        _, about = store.read(folder, figure.record)
    except FileNotFoundError:
        return f"### {figure.title}\n\nNot drawn yet: `python -m {store.module} {figure.record}`.\n"
    made = f"Record made in {about['processor_seconds']:.0f} s of processor time on one core; commit {about['commit']}."
    image = f"![{figure.title}](../benchmarks/results/{prefix}-{name}.png)"
    return f"### {figure.title}\n\n{image}\n\n{figure.seen.format(**about)}\n{made}\n"
