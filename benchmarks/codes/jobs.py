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
    """

    name: str
    quick: bool
    data_dir: str | None
    folder: Path
    path: Path
    content: dict[str, Any] = field(default_factory=dict)

    def images(self, **options: Any) -> datasets.Dataset:
        """MNIST, or in a trial small digits."""
        return (
            datasets.load("digits", **options) if self.quick else datasets.load("mnist", root=self.data_dir, **options)
        )

    def row(self, name: str, measure: Callable[[Path], Mapping[str, Any]]) -> dict[str, Any]:
        """Figures of a row: from the record, or measured now and kept there.

        Args:
            name: Of the row.
            measure: From the folder of its checkpoints to its figures.
        """
        rows = self.content.setdefault("rows", {})
        if name not in rows:
            start, processor = time.perf_counter(), time.process_time()
            found = dict(measure(self.folder / name.replace(", ", "-").replace(" ", "-")))
            wall, used = time.perf_counter() - start, time.process_time() - processor
            # Of this call: a row that went on from a checkpoint has used more.
            rows[name] = {**found, "seconds": round(wall, 1), "processor_seconds": round(used, 1)}
            self.keep()
            told = ", ".join(f"{key} {value:.4g}" for key, value in found.items() if isinstance(value, float))
            print(f"{name}: {told} ({wall:.0f} s)", flush=True)
        return rows[name]

    def keep(self, **figures: Any) -> None:
        """Write the record, with figures beside its rows."""
        about = {"hardware": record.hardware(torch.device("cpu")), "versions": record.versions()}
        self.content.update({**figures, **about, "commit": record.commit()})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.content, indent=1, ensure_ascii=False) + "\n"
        self.path.write_text(text, encoding="utf-8")


def begin(module: str, description: str | None, settings: Mapping[str, Any], arguments: list[str] | None) -> Job:
    """The job that a command line asks for, with what an earlier call has measured.

    Raises:
        SystemExit: If the record was measured with other settings.
    """
    name = module.rpartition(".")[2]
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", help="folder of the data, as PPGEN_DATA names it")
    parser.add_argument("--quick", action="store_true", help="a trial on small digits; writes to runs/benchmarks")
    parser.add_argument("--results", type=Path, help="where the record is written")
    parser.add_argument("--again", action="store_true", help="begin anew: forget the record and the checkpoints")
    given = parser.parse_args(arguments)
    runs = record.ROOT / "runs" / "benchmarks"
    results = given.results or (runs if given.quick else record.RESULTS)
    label = f"{name}-quick" if given.quick else name
    folder, path = (given.results or runs) / "codes" / label, results / f"codes-{label}.json"
    known = json.loads(json.dumps(settings))
    content = {"kind": "codes", "command": f"python -m benchmarks.codes.{name}", "settings": known}
    if given.again:
        shutil.rmtree(folder, ignore_errors=True)
    elif path.exists():
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["settings"] != known:
            raise SystemExit(f"{path} was measured with other settings: begin anew by --again.")
    return Job(name, given.quick, given.data_dir, folder, path, content)
