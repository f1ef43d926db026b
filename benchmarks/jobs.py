"""Jobs of several rows: each row once, its training from its last checkpoint, its figures kept as soon as they are."""

import argparse
import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks import record
from ppgen import datasets


@dataclass(frozen=True)
class Job:
    """One command: rows in their order, those already in the record left out.

    Attributes:
        name: Of the record.
        quick: Whether this is a trial: little of everything, on the digits that scikit-learn brings.
        data_dir: Folder of the data, if one is named.
        folder: Where checkpoints lie.
        path: The record.
        content: What it holds.
        chosen: Beginnings of the names of the rows that are wanted; empty for all.
    """

    name: str
    quick: bool
    data_dir: str | None
    folder: Path
    path: Path
    content: dict[str, Any] = field(default_factory=dict)
    chosen: tuple[str, ...] = ()

    def images(self, **options: Any) -> datasets.Dataset:
        """MNIST, or in a trial small digits."""
        return (
            datasets.load("digits", **options) if self.quick else datasets.load("mnist", root=self.data_dir, **options)
        )

    def wants(self, name: str) -> bool:
        """Whether the row of that name was asked for."""
        return not self.chosen or name.startswith(self.chosen)

    def wants_of(self, part: str) -> bool:
        """Whether any row whose name begins with that part was asked for."""
        return self.wants(part) or any(each.startswith(part) for each in self.chosen)

    def at(self, name: str) -> Path:
        """Folder of the checkpoints of the row of that name."""
        return self.folder / _folder(name)

    def row(
        self,
        name: str,
        measure: Callable[[Path], Mapping[str, Any]],
        settings: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Figures of a row: from the record, or measured now and kept there.

        Args:
            name: Of the row.
            measure: From the folder of its checkpoints to its figures.
            settings: Those of this row alone, kept with its figures.

        Raises:
            SystemExit: If the row was measured with other settings.
        """
        rows = self.content.setdefault("rows", {})
        own = {} if settings is None else {"settings": json.loads(json.dumps(settings))}
        if name not in rows:
            start, processor = time.perf_counter(), time.process_time()
            found = {**measure(self.at(name)), **own}
            wall, used = time.perf_counter() - start, time.process_time() - processor
            # Of this call: a row that went on from a checkpoint has used more.
            rows[name] = {**found, "seconds": round(wall, 1), "processor_seconds": round(used, 1)}
            self.keep()
            told = ", ".join(f"{key} {value:.4g}" for key, value in found.items() if isinstance(value, float))
            print(f"{name}: {told} ({wall:.0f} s)", flush=True)
        elif own and rows[name].get("settings") != own["settings"]:
            raise SystemExit(f"{name} was measured with other settings: begin it anew by --again --rows {name!r}.")
        return rows[name]

    def forget(self) -> None:
        """Take the rows that are asked for out of the record, with their checkpoints."""
        for name in [name for name in self.content.get("rows", {}) if self.wants(name)]:
            del self.content["rows"][name]
        for path in self.folder.glob("*") if self.folder.is_dir() else ():
            if not self.chosen or path.name.startswith(tuple(map(_folder, self.chosen))):
                shutil.rmtree(path, ignore_errors=True)

    def keep(self, **figures: Any) -> None:
        """Write the record, with figures beside its rows."""
        about = {"hardware": record.hardware(torch.device("cpu")), "versions": record.versions()}
        self.content.update({**figures, **about, "commit": record.commit()})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.content, indent=1, ensure_ascii=False) + "\n"
        self.path.write_text(text, encoding="utf-8")


def begin(module: str, description: str | None, settings: Mapping[str, Any], arguments: list[str] | None) -> Job:
    """The job that a command line asks for, with what an earlier call has measured.

    Args:
        module: `benchmarks.FOLDER.NAME`; the record is `FOLDER-NAME.json`.
        description: Help of the command.
        settings: Those that all rows of the record have in common.
        arguments: Of the command line.

    Raises:
        SystemExit: If the record was measured with other settings.
    """
    kind, name = module.split(".")[-2:]
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", help="folder of the data, as PPGEN_DATA names it")
    parser.add_argument("--quick", action="store_true", help="a trial on small digits; writes to runs/benchmarks")
    parser.add_argument("--results", type=Path, help="where the record is written")
    parser.add_argument("--again", action="store_true", help="begin anew: forget the record and the checkpoints")
    parser.add_argument("--rows", nargs="+", default=[], help="beginnings of the names of the rows that are wanted")
    given = parser.parse_args(arguments)
    runs = record.ROOT / "runs" / "benchmarks"
    results = given.results or (runs if given.quick else record.RESULTS)
    label = f"{name}-quick" if given.quick else name
    folder, path = (given.results or runs) / kind / label, results / f"{kind}-{label}.json"
    known = json.loads(json.dumps(settings))
    content = {"kind": kind, "command": f"python -m benchmarks.{kind}.{name}", "settings": known}
    if path.exists() and (given.rows or not given.again):
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["settings"] != known:
            raise SystemExit(f"{path} was measured with other settings: begin anew by --again.")
    job = Job(name, given.quick, given.data_dir, folder, path, content, tuple(given.rows))
    if given.again:
        job.forget()
    return job


def _folder(name: str) -> str:
    """Name of the folder of a row's checkpoints."""
    return name.replace(", ", "-").replace(" ", "-")
