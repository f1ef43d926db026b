"""The file of speed results: what every row was measured on, and all its repeats."""

import json
import math
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks import record

KIND = "speed"
PATH = record.RESULTS / "speed.json"
COMMAND = "python -m benchmarks.speed"
FIELDS = ("kind", "command", "hardware", "versions", "rows")
ROW_FIELDS = (
    "title",
    "step",
    "device",
    "quick",
    "repeats",
    "threads",
    "date",
    "commit",
    "comparisons",
    "contenders",
    "memory",
    "estimates",
    "rates",
    "floor",
)
MIN_REPEATS = 5


def new(threads: int) -> dict[str, Any]:
    """A record without rows, for this machine."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    hardware = record.hardware(device) | {"threads": threads, "system": platform.system()}
    return {"kind": KIND, "command": COMMAND, "hardware": hardware, "versions": record.versions(), "rows": {}}


def read(path: Path = PATH) -> dict[str, Any] | None:
    """The record, or None if nothing was measured yet.

    Raises:
        ValueError: If the file is no complete record.
    """
    if not path.exists():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    check(found)
    return found


def begin(path: Path, threads: int) -> dict[str, Any]:
    """The record to add rows to: the one of the file if it is of this machine, else a new one."""
    made, old = new(threads), read(path)
    if old is not None and old["hardware"] == made["hardware"]:
        made["rows"] = old["rows"]
    return made


def write(found: Mapping[str, Any], path: Path = PATH) -> Path:
    """Write a complete record; returns its path."""
    check(found)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def check(found: Mapping[str, Any]) -> None:
    """Raise unless a record is complete.

    Raises:
        ValueError: If a field is missing, or a comparison has neither its pairs nor the reason why not.
    """
    if found.get("kind") != KIND or sorted(found) != sorted(FIELDS):
        raise ValueError(f"A record of speed has the fields {sorted(FIELDS)}, this one {sorted(found)}.")
    for name, row in found["rows"].items():
        if sorted(row) != sorted(ROW_FIELDS):
            raise ValueError(f"The row {name!r} has the fields {sorted(row)}, not {sorted(ROW_FIELDS)}.")
        for each in row["comparisons"]:
            if "missing" in each:
                continue
            if not each.get("pairs") or not math.isfinite(each.get("ratio", math.nan)):
                raise ValueError(f"The row {name!r} compares {each['ours']} with {each['peer']} without its pairs.")
            if not row["quick"] and each["repeats"] < MIN_REPEATS:
                raise ValueError(f"The row {name!r} has {each['repeats']} repeats, fewer than {MIN_REPEATS}.")
