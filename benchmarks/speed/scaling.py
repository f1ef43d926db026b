"""How time and memory of a step grow with particles, chains, hidden units and rows."""

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks import record
from benchmarks.speed import report
from benchmarks.speed.measure import Options, now
from benchmarks.speed.workers import MissingError, Worker, here

KIND = "scaling"
STEEP = 1.1  # slope in log-log beyond which growth is faster than linear
TURNS, SECONDS = 5, 0.3
SMALLEST = 10.0  # MiB of growth below which a slope of memory is noise


@dataclass(frozen=True)
class Curve:
    """One size that is varied, and the job whose argument it is."""

    title: str
    label: str
    job: str
    argument: str
    sizes: tuple[int, ...]
    others: Mapping[str, Any]


CURVES = {
    "particles": Curve(
        "IWAE 784-200-200-50, batch 100",
        "particles",
        "vae_step",
        "particles",
        (1, 2, 5, 10, 20, 50, 100, 200, 500),
        {"batch_size": 100},
    ),
    "chains": Curve(
        "RBM 784-500, PCD-1, batch 128", "chains", "rbm_step", "num_chains", (100, 300, 1_000, 3_000, 10_000), {}
    ),
    "hidden": Curve(
        "RBM 784, PCD-1, batch 128, 128 chains",
        "hidden units",
        "rbm_step",
        "hidden",
        (100, 250, 500, 1_000, 2_000, 4_000),
        {},
    ),
    "deep_chains": Curve(
        "DBM 784-500-1000, PCD-5, batch 100", "chains", "dbm_step", "num_chains", (100, 300, 1_000, 3_000, 10_000), {}
    ),
    "deep_hidden": Curve(
        "DBM 784-n-1000, PCD-5, batch 100, 100 chains",
        "hidden units n",
        "dbm_step",
        "hidden",
        (125, 250, 500, 1_000, 2_000),
        {},
    ),
    "betas": Curve(
        "AIS of RBM 784-500, 100 runs",
        "betas",
        "annealing",
        "betas",
        (100, 300, 1_000, 3_000, 10_000),
        {"num_chains": 100},
    ),
    "rows": Curve(
        "VAE 100-200-200-50, ELBO, batch 128",
        "rows of data",
        "vae_step",
        "rows",
        (1_000, 10_000, 100_000, 1_000_000),
        {"features": 100},
    ),
}


def measure(path: Path, options: Options, names: Sequence[str] = ()) -> dict[str, Any]:
    """Measure every point in a process of its own; write the record, and the figure beside it.

    Args:
        path: The record. Its curves that are not measured now are kept, if it is of the same kind of run.
        options: How to measure.
        names: Curves to measure; all by default.
    """
    before = read(path) or {}
    found: dict[str, Any] = {
        "kind": KIND,
        "hardware": report.new(options.threads)["hardware"],
        "versions": record.versions(),
        "quick": options.quick,
        "curves": {},
    }
    alike = all(before.get(key) == found[key] for key in ("hardware", "versions", "quick"))
    kept = before["curves"] if alike else {}
    for name, curve in CURVES.items():
        if names and name not in names:
            if name in kept:
                found["curves"][name] = kept[name]
            continue
        points = []
        for size in curve.sizes[:: max(1, len(curve.sizes) - 1)] if options.quick else curve.sizes:
            points.append({"size": size, **measure_point(curve, size, options)})
            shown = {key: round(number, 3) for key, number in points[-1].items() if isinstance(number, float)}
            print(f"{name} {size:,}: {points[-1].get('missing') or shown}", flush=True)
        found["curves"][name] = {
            "title": curve.title,
            "label": curve.label,
            "points": points,
            **slopes(points),
            "commit": record.commit(),
            "date": now(),
        }
        # After each curve, as all of them take long; those still to come are kept as they were.
        later = {each: points for each, points in kept.items() if each not in found["curves"]}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found | {"curves": found["curves"] | later}, indent=1) + "\n", encoding="utf-8")
    draw(found, path.with_suffix(".png"))
    for sentence in sentences(found):
        print(sentence)
    return found


def measure_point(curve: Curve, size: int, options: Options) -> dict[str, Any]:
    """Milliseconds of a step (median of some turns, and their range), and memory in MiB; or why there are none."""
    arguments = {**curve.others, curve.argument: size}
    try:
        with closing(Worker(here(), f"benchmarks.speed.ours:{curve.job}", arguments, options.threads)) as worker:
            first = worker.run(2)
            seconds = 0.05 if options.quick else SECONDS
            steps = max(1, round(seconds * first["steps"] / first["seconds"]))
            answers = [worker.run(steps) for _ in range(2 if options.quick else TURNS)]
    except MissingError as error:
        return {"missing": str(error)}
    times = [1e3 * each["seconds"] / each["steps"] for each in answers]
    return {
        "ms": median(times),
        "low": min(times),
        "high": max(times),
        "peak_mib": answers[-1]["peak_mib"],
        "imports_mib": worker.ready["imports_mib"],
    }


def slopes(points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Slopes of time and memory in log-log over the upper half of the sizes, where fixed costs weigh least.

    Memory is what the peak has grown by since the smallest size, or libraries and compiler would hide its growth; it is
    held against what the size has grown by.
    """
    measured = [point for point in points if "ms" in point]
    upper = measured[min(len(measured) // 2, max(0, len(measured) - 2)) :]
    time = slope([point["size"] for point in upper], [point["ms"] for point in upper])
    grown = [(point["peak_mib"] or 0.0) - (measured[0]["peak_mib"] or 0.0) for point in upper]
    further = [point["size"] - measured[0]["size"] for point in upper]  # against the same size, or lines look steeper
    memory = slope(further, grown) if min(grown, default=0) > SMALLEST else None
    steep = [name for name, number in (("time", time), ("memory", memory)) if number is not None and number > STEEP]
    return {"time_slope": time, "memory_slope": memory, "steep": steep}


def slope(sizes: Sequence[float], values: Sequence[float]) -> float | None:
    """Least-squares slope of log(value) on log(size); None for fewer than two points.

    >>> round(slope([1, 10, 100], [5, 500, 50_000]), 6)
    2.0
    """
    if len(sizes) < 2:
        return None
    return float(np.polyfit([math.log(size) for size in sizes], [math.log(value) for value in values], 1)[0])


def sentences(found: Mapping[str, Any]) -> list[str]:
    """What the slopes say, one sentence a curve."""
    said = []
    for curve in found["curves"].values():
        numbers = [
            f"{name} grows with the power {curve[key]:.2f}"
            for name, key in (("time", "time_slope"), ("memory", "memory_slope"))
            if curve[key] is not None
        ]
        verdict = f"; **faster than linear: {' and '.join(curve['steep'])}**" if curve["steep"] else ""
        measured = f"{curve['date']}, commit {curve['commit'] or 'unknown'}"
        said.append(f"{curve['label']} ({curve['title']}): {', '.join(numbers) or 'no slope'}{verdict} ({measured}).")
    return said


def read(path: Path = record.RESULTS / "scaling.json") -> dict[str, Any] | None:
    """The record, or None if nothing was measured yet."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def draw(found: Mapping[str, Any], path: Path) -> None:
    """Time above memory, a column for each size; dashed lines are linear growth through the largest point."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    count = len(found["curves"])
    figure, axes = pyplot.subplots(2, count, figsize=(3 * count, 5.5), sharex="col", squeeze=False)
    for column, curve in enumerate(found["curves"].values()):
        points = [point for point in curve["points"] if "ms" in point]
        sizes = [point["size"] for point in points]
        for axis, key, label in (
            (axes[0, column], "ms", "ms a step"),
            (axes[1, column], "peak_mib", "peak of the process, MiB"),
        ):
            values = [point[key] for point in points]
            if points and None not in values:
                axis.plot(sizes, values, "o-", color="C0")
                linear = [values[-1] * size / sizes[-1] for size in sizes]
                axis.plot(sizes, linear, "--", color="0.7", zorder=0)
                axis.set_ylim(bottom=min(values) / 2, top=2 * max(values))
            axis.set_xscale("log")
            axis.set_yscale("log")
            axis.set_ylabel(label)
        axes[0, column].set_title(curve["title"], fontsize=8)
        axes[1, column].set_xlabel(curve["label"])
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
