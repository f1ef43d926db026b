"""Digits told apart by 1,000 labels: from sparse features, from principal components, from pixels.

    python -m benchmarks.codes.few_labels            # goes on where it was stopped; a quarter of an hour on one core
    python -m benchmarks.codes.few_labels --quick    # a trial of two draws; writes to runs/benchmarks
    python -m benchmarks.codes.few_labels --again    # measures everything anew

Features are learned from unlabelled training digits of MNIST: a dictionary of 6 x 6 patches by sparse coding, whose
soft thresholds are pooled over a 4 x 4 grid; or 50 principal components. 20 draws of 1,000 labels that share no row
train a support vector machine each, whose kernel (linear or Gaussian), weight and square root of the features are
chosen by its errors on 2,000 validation rows, in the same way for all features; the threshold of the sparse features
is chosen on those rows by the first draw. Errors are of the 10,000 test digits.
"""

import json
import sys
import time
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import command, record
from benchmarks.codes.digit_features import PatchFeatures, principal_components
from ppgen import datasets

KIND, NAME = "few labels", "few_labels.json"
SETTINGS: dict[str, Any] = {
    "labels": 1000,
    "draws": 20,
    "valid": 2000,
    "test": 10_000,
    "unlabelled": 50_000,
    "patches": 60_000,
    "size": 6,
    "atoms": 64,
    "penalty": 0.3,
    "grid": 4,
    "components": 50,
}
QUICK = {"labels": 200, "draws": 2, "valid": 200, "test": 300, "unlabelled": 2000, "patches": 3000, "atoms": 40}
THRESHOLDS, POWERS = (0.1, 0.3), (1.0, 0.5)
WIDTHS, COSTS = (0.0, 0.5, 1.0, 2.0), (1.0, 10.0)  # 0: a linear kernel
SPARSE, PCA, PIXELS = "sparse features", "principal components", "pixels"
BARS = {SPARSE: 5.0, "sparse codes and logistic regression": 7.2, "PCA and logistic regression": 12.9}


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    parser = command.make_parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="two draws of 200 labels, 300 test digits")
    parser.add_argument("--again", action="store_true", help="measure what the record already has, too")
    parser.add_argument("--data-dir", help="folder that holds MNIST/raw (default: PPGEN_DATA)")
    parser.add_argument("--results", type=Path, help="where the record is written")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    trials = record.ROOT / "runs" / "benchmarks"
    folder = given.results or (trials if given.quick else record.RESULTS)
    for each in (folder, trials):
        each.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    shared = {
        "kind": KIND,
        "command": "python -m benchmarks.codes.few_labels" + " --quick" * given.quick,
        **SETTINGS,
        **(QUICK if given.quick else {}),
        "tried": {"threshold": THRESHOLDS, "power": POWERS, "width": WIDTHS, "cost": COSTS},
        "bars": BARS,
    }
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() and not given.again else {}
    if {key: found.get(key) for key in shared} != json.loads(json.dumps(shared)):
        found = {**shared, "rows": []}
    measure(found, shared, path, given.data_dir, (given.results or trials) / "few_labels")
    print(summary(found))
    return 0


def measure(found: dict[str, Any], shared: dict[str, Any], path: Path, data_dir: str | None, kept: Path) -> None:
    """Add the errors of each draw that the record lacks, writing it after each."""
    data = datasets.load("mnist", root=data_dir)
    rows, labels = _rows(data, shared), _labels(data, shared)
    start, processor = time.perf_counter(), time.process_time()
    made = _features(data, rows, labels, shared, found, kept)
    if "features_seconds" not in found:
        found["features_seconds"] = _since(start, processor)
    count, held = shared["labels"], shared["labels"] * shared["draws"]
    valid = slice(held, held + shared["valid"])
    draws = range(shared["draws"])
    for draw, name in [*product(draws, (SPARSE, PCA)), *product(draws, (PIXELS,))]:
        if any(row["draw"] == draw and row["features"] == name for row in found["rows"]):
            continue
        start, processor = time.perf_counter(), time.process_time()
        train, test = slice(draw * count, (draw + 1) * count), slice(valid.stop, len(labels))
        best = chosen(made[name], labels, train, valid)
        error = float(_errors(made[name], labels, train, test, best["power"], [(best["width"], best["cost"])])[0])
        row = {"draw": draw, "features": name, "test": error, **best, **_since(start, processor)}
        found["rows"].append(row)
        found.update(hardware=record.hardware(torch.device("cpu")), commit=record.commit())
        found["versions"] = {**record.versions(), "scikit-learn": version("scikit-learn")}
        path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"draw {draw:2}, {name:20} {error:5.2f} % (validation {best['validation']:.2f})", flush=True)


def chosen(features: np.ndarray, labels: np.ndarray, train: slice, valid: slice) -> dict[str, float]:
    """Power of the features, width of the kernel and cost with the fewest errors on the validation rows."""
    heads = list(product(WIDTHS, COSTS))
    powers = POWERS if features.min() >= 0 else POWERS[:1]
    errors = {power: _errors(features, labels, train, valid, power, heads) for power in powers}
    power = min(powers, key=lambda each: errors[each].min())
    width, cost = heads[int(errors[power].argmin())]
    return {"power": power, "width": width, "cost": cost, "validation": float(errors[power].min())}


def summary(found: dict[str, Any]) -> str:
    """Mean error of each kind of features, and the paired test of sparse features against the others."""
    from scipy.stats import ttest_rel

    rows = sorted(found["rows"], key=lambda row: row["draw"])
    errors = {name: np.array([r["test"] for r in rows if r["features"] == name]) for name in (SPARSE, PCA, PIXELS)}
    lines = [
        f"{name:20} {each.mean():.2f} % of test digits (sd {each.std(ddof=1):.2f}, {each.min():.2f} to {each.max():.2f}"
        f", {len(each)} draws)"
        for name, each in errors.items()
    ]
    for name in (PCA, PIXELS):
        test = ttest_rel(errors[SPARSE], errors[name], alternative="less")
        lines.append(f"{SPARSE} below {name}: t = {test.statistic:.1f}, p = {test.pvalue:.1e}")
    return "\n".join(lines)


def _rows(data: Any, shared: dict[str, Any]) -> torch.Tensor:
    """Labelled rows of all draws, then validation rows, then test rows: (rows, pixels)."""
    order = _order(data, shared)
    return torch.cat([data.batch("train", order), data.valid[: shared["valid"]], data.test[: shared["test"]]])


def _labels(data: Any, shared: dict[str, Any]) -> np.ndarray:
    parts = data.labels["train"][_order(data, shared)], data.labels["valid"], data.labels["test"]
    return torch.cat([parts[0], parts[1][: shared["valid"]], parts[2][: shared["test"]]]).numpy()


def _order(data: Any, shared: dict[str, Any]) -> torch.Tensor:
    order = torch.randperm(data.num_train, generator=torch.Generator().manual_seed(0))
    return order[: shared["labels"] * shared["draws"]]


def _features(
    data: Any, rows: torch.Tensor, labels: np.ndarray, shared: dict[str, Any], found: dict[str, Any], kept: Path
) -> dict[str, np.ndarray]:
    """Features of all rows by name; the sparse ones are kept in a file between calls, with what they were made by."""
    unlabelled = data.batch("train", torch.arange(min(shared["unlabelled"], data.num_train)))
    made = {PIXELS: rows.numpy(), PCA: principal_components(unlabelled, shared["components"])(rows)}
    told = json.dumps({name: shared[name] for name in sorted({**SETTINGS, "tried": 0})})
    if kept.with_suffix(".npy").exists() and kept.with_suffix(".txt").exists() and "threshold" in found:
        if kept.with_suffix(".txt").read_text(encoding="utf-8") == told:
            return {**made, SPARSE: np.load(kept.with_suffix(".npy"), mmap_mode="r")}
    patches = PatchFeatures.learned(
        unlabelled[:: max(1, len(unlabelled) // 3000)],
        shared["size"],
        shared["atoms"],
        shared["penalty"],
        shared["patches"],
        seed=0,
    )
    first, held = shared["labels"], shared["labels"] * shared["draws"]
    few = torch.cat([rows[:first], rows[held : held + shared["valid"]]])
    known = np.concatenate([labels[:first], labels[held : held + shared["valid"]]])
    tried = {}
    for threshold in THRESHOLDS:
        features = patches(few, threshold, shared["grid"])
        tried[threshold] = chosen(features, known, slice(0, first), slice(first, len(known)))["validation"]
        print(f"threshold {threshold}: {tried[threshold]:.2f} % of the validation rows", flush=True)
    found["threshold"] = min(tried, key=lambda each: tried[each])
    found["validation of thresholds"] = {str(each): error for each, error in tried.items()}
    made[SPARSE] = patches(rows, found["threshold"], shared["grid"])
    np.save(kept.with_suffix(".npy"), made[SPARSE])
    kept.with_suffix(".txt").write_text(told, encoding="utf-8")
    return made


def _errors(
    features: np.ndarray, labels: np.ndarray, train: slice, test: slice, power: float, heads: list[tuple[float, float]]
) -> np.ndarray:
    """Percent of the test rows that each head, trained on the training rows, tells wrong: (heads,)."""
    from sklearn.svm import SVC

    known, asked = (np.asarray(features[each], dtype=np.float32) for each in (train, test))
    if power != 1:
        known, asked = known**power, asked**power
    mean, spread = known.mean(0), known.std(0) + 0.1 * known.std()
    known, asked = (known - mean) / spread, (asked - mean) / spread
    unit = np.sqrt(np.square(known).sum(1).mean())
    known, asked = known / unit, asked / unit
    inner, outer = known @ known.T, asked @ known.T
    squares, asked_squares = np.square(known).sum(1), np.square(asked).sum(1)[:, None]
    found = []
    for width, cost in heads:
        within, between = inner, outer
        if width:
            within = np.exp(-width * (squares[:, None] + squares - 2 * inner))
            between = np.exp(-width * (asked_squares + squares - 2 * outer))
        told = SVC(C=cost, kernel="precomputed").fit(within, labels[train]).predict(between)
        found.append(100 * np.mean(told != labels[test]))
    return np.array(found)


def _since(start: float, processor: float) -> dict[str, float]:
    return {
        "seconds": round(time.perf_counter() - start, 1),
        "processor": round(time.process_time() - processor, 1),
    }


if __name__ == "__main__":
    sys.exit(main())
