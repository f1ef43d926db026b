"""One measured result as a JSON file: the figure, and all that is needed to measure it again."""

import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ppgen.evaluation import Estimate
from ppgen.training import Run

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PUBLISHED = ROOT / "benchmarks" / "published.json"

FIELDS: Mapping[str, type | tuple[type, ...]] = {
    "name": str,
    "model": str,
    "data": dict,
    "inference": str,
    "training": dict,
    "budget": dict,
    "headline": str,
    "figures": dict,
    "seed": int,
    "command": str,
    "seconds": dict,
    "peak_memory_mib": dict,
    "hardware": dict,
    "versions": dict,
    "commit": (str, type(None)),
    "published": list,
    "curve": (dict, type(None)),
}
"""Fields of a record and their types."""

ESTIMATE = ("value", "se", "kind", "method", "unit")
"""What each figure must tell."""


def figure(estimate: Estimate) -> dict[str, Any]:
    """An estimate as a record keeps it: without the hash of weights that nobody else has."""
    kept = {name: value for name, value in estimate.to_dict().items() if value is not None}
    kept.pop("fingerprint", None)
    return kept


def curve(run: Run) -> dict[str, list[float]] | None:
    """Validation value by epoch and minutes of training, at most 60 points; None if nothing was monitored.

    The last point is the run's own; minutes count the whole run, over all calls that went on with it.
    """
    name = run.state.get("monitor")
    points = [each for each in run.metrics if name in each]
    if not points:
        return None
    chosen = sorted({round(i * (len(points) - 1) / 59) for i in range(60)}) if len(points) > 60 else range(len(points))
    return {
        "epoch": [points[i]["epoch"] for i in chosen],
        "minutes": [round(points[i]["seconds"] / 60, 3) for i in chosen],
        name: [round(float(points[i][name]), 4) for i in chosen],
    }


def hardware(device: torch.device) -> dict[str, Any]:
    """The machine: processor, cores, memory in GiB, threads that torch uses, accelerator."""
    memory = None
    if hasattr(os, "sysconf"):
        memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    return {
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": memory,
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that figures depend on."""
    packages = ("ppgen", "torch", "pyro-ppl", "numpy", "arviz-stats")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


def commit() -> str | None:
    """Commit of the code, with a plus if tracked files differ from it; None outside a checkout."""
    try:
        found = [
            subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout
            for arguments in (("rev-parse", "--short=12", "HEAD"), ("status", "--porcelain", "-uno"))
        ]
    except (OSError, subprocess.CalledProcessError):
        return None
    # Results and the tables made from them do not change what is measured.
    tables = (
        "benchmarks/results/",
        "docs/results.md",
        "docs/speed.md",
        "docs/pyro_failures.md",
        "docs/one_to_many.md",
        "docs/faces.md",
        "docs/codes.md",
        "docs/autoregressive.md",
        "README.md",
    )
    changed = [line for line in found[1].splitlines() if not line[3:].startswith(tables)]
    return found[0].strip() + ("+" if changed else "")


def command(name: str, minutes: float) -> str:
    """The command that measures this again; where the data lie is for PPGEN_DATA or --data-dir to say."""
    return f"python -m benchmarks.likelihoods.run {name} --minutes {minutes:g}"


def check(record: Mapping[str, Any]) -> None:
    """Raise ValueError unless a record is complete.

    Raises:
        ValueError: If a field is missing, unknown or of another type, or a figure lacks its error or unit.
    """
    name = record.get("name", "without a name")
    missing, unknown = sorted(set(FIELDS) - set(record)), sorted(set(record) - set(FIELDS))
    if missing or unknown:
        raise ValueError(f"The record {name} lacks the fields {missing} and has the unknown ones {unknown}.")
    for key, kind in FIELDS.items():
        if not isinstance(record[key], kind):
            raise ValueError(f"The record {name} has a {type(record[key]).__name__} for {key!r}.")
    if record["headline"] not in record["figures"]:
        raise ValueError(f"The headline {record['headline']!r} of {name} is none of its figures.")
    for label, entry in record["figures"].items():
        lacking = [key for key in ESTIMATE if key not in entry]
        if lacking or not math.isfinite(entry["value"]):
            raise ValueError(f"The figure {label!r} of {name} is not finite or lacks {lacking}.")
    if f"benchmarks.likelihoods.run {name} " not in record["command"] or " /" in record["command"]:
        raise ValueError(f"The command of {name} does not run it, or holds an absolute path.")


def write(record: Mapping[str, Any], folder: Path = RESULTS) -> Path:
    """Write a record that is complete; returns its path."""
    check(record)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{record['name']}.json"
    path.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def read_all(folder: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """Every record of a trained model in a folder, by its name; records with a `kind` are of speed."""
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}
    records = {stem: record for stem, record in found.items() if "kind" not in record}
    for stem, record in records.items():
        check(record)
        if record["name"] != stem:
            raise ValueError(f"{stem}.json holds the record of {record['name']}.")
    return records


def published() -> dict[str, dict[str, Any]]:
    """Published figures by id: model, data variant, value, estimator, budget, source."""
    return json.loads(PUBLISHED.read_text(encoding="utf-8"))


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
        models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        if models:
            return models[0]
    return platform.processor() or platform.machine() or sys.platform
