"""Sparse codes predicted in one pass: how far encoders are from scikit-learn's codes, and how much faster.

    python -m benchmarks.codes.psd            # goes on where it was stopped; some minutes on one core
    python -m benchmarks.codes.psd --quick    # a trial on few patches; writes to runs/benchmarks
    python -m benchmarks.codes.psd --again    # measures everything anew

A dictionary of sparse coding is learned from training patches of two photographs and then held fixed. Encoders of
predictive sparse decomposition are trained on the same patches to match the exact codes (the squared error of the
decomposition), and the same encoders to make the Lasso's objective itself small; which of the two serves is chosen by
the validation patches. On the test patches the objective |x - D a|^2 + lambda |a|_1 at the predicted codes is compared
with that at the codes of scikit-learn's `sparse_encode` by coordinate descent (`lasso_cd`). Times are of one thread,
the medians of pairs of calls that take turns on the same patches, predicted codes in float32, scikit-learn's in
float64, where it is faster.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.decomposition import sparse_encode

import ppgen
from benchmarks import command, record
from benchmarks.codes import patches
from ppgen import features, models
from ppgen.training import Run

KIND, NAME = "predicted sparse codes", "psd.json"
SETTINGS: dict[str, Any] = {
    "atoms": 192,
    "penalty": 2.0,
    "batch_size": 256,
    "dictionary_epochs": 3,
    "epochs": 12,
    "lr": 2e-3,
    "layers": 3,
    "pairs": 7,
}
QUICK = {"atoms": 24, "dictionary_epochs": 1, "epochs": 1, "pairs": 3}
ENCODERS, MATCHED = ("sigmoid", "tanh", "soft threshold", "lista"), ("codes", "objective")
SWEEPS = {"codes": 15, "objective": 1}  # of FISTA in training; the objective asks for no codes
BARS = {"soft threshold": {"gap": 5.0, "speed": 50.0}, "lista": {"gap": 1.0}, "tanh seen": {"gap": 36.0}}


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    parser = command.make_parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="500 patches, 24 atoms, one epoch")
    parser.add_argument("--again", action="store_true", help="measure what the record already has, too")
    parser.add_argument("--results", type=Path, help="where the record is written")
    given = parser.parse_args(arguments)
    folder = command.folder(given.results, given.quick)
    path = folder / NAME
    shared = {
        "kind": KIND,
        "command": "python -m benchmarks.codes.psd" + " --quick" * given.quick,
        **SETTINGS,
        **(QUICK if given.quick else {}),
        "bars": BARS,
    }
    found = command.resumed(path, shared, given.again, rows=[])
    torch.set_num_threads(1)
    cut = patches.split()
    rows = patches.Patches(cut.train[:500], cut.valid[:100], cut.test[:100]) if given.quick else cut
    measure(found, shared, rows, path)
    print(summary(found))
    return 0


def measure(found: dict[str, Any], shared: dict[str, Any], rows: patches.Patches, path: Path) -> None:
    """Add every encoder that the record lacks, writing it after each."""
    missing = [
        (encoder, match)
        for encoder in ENCODERS
        for match in MATCHED
        if not any(row["encoder"] == encoder and row["match"] == match for row in found["rows"])
    ]
    if not missing:
        return
    dictionary = learned(rows, shared)
    exact = sparse_encode(*_scikit(rows.test, dictionary), alpha=shared["penalty"] / 2, algorithm="lasso_cd")
    optimum = objective(rows.test, dictionary, exact, shared["penalty"])
    found["scikit-learn"] = {"objective": float(optimum.mean()), "nonzero": float((exact != 0).sum(1).mean())}
    for encoder, match in missing:
        row = {"encoder": encoder, "match": match, **trained(encoder, match, dictionary, rows, optimum, shared)}
        found["rows"].append(row)
        found.update(hardware=record.hardware(torch.device("cpu")), versions=record.versions(), commit=record.commit())
        path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(told(row), flush=True)


def learned(rows: patches.Patches, shared: dict[str, Any]) -> torch.Tensor:
    """The dictionary of sparse coding, (pixels, atoms)."""
    torch.manual_seed(0)
    coder = models.SparseCoding(rows.train.shape[1], shared["atoms"], shared["penalty"])
    options: dict[str, Any] = {"batch_size": shared["batch_size"], "compile": False, "progress": False}
    ppgen.fit(coder, rows.train, epochs=shared["dictionary_epochs"], seed=0, **options)
    return coder.dictionary.detach()


def trained(
    encoder: str,
    match: str,
    dictionary: torch.Tensor,
    rows: patches.Patches,
    optimum: np.ndarray,
    shared: dict[str, Any],
) -> dict[str, Any]:
    """An encoder trained with the dictionary held fixed: its gaps and its speed."""
    start, processor = time.perf_counter(), time.process_time()
    torch.manual_seed(0)
    options: dict[str, Any] = {"match": match, "sweeps": SWEEPS[match], "learn_dictionary": False}
    model = models.PredictiveSparseDecomposition(
        *dictionary.shape, shared["penalty"], encoder, shared["layers"], **options
    )
    model.use_dictionary(dictionary)
    started = features.encoder_gap(model, rows.valid).overall
    run: Run = ppgen.fit(
        model,
        rows.train,
        epochs=shared["epochs"],
        batch_size=shared["batch_size"],
        lr=shared["lr"],
        lr_schedule="cosine",
        seed=0,
        compile=False,
        progress=False,
    )
    spent = {
        "seconds": round(time.perf_counter() - start, 1),
        "processor": round(time.process_time() - processor, 1),
    }
    with torch.no_grad():
        codes = model.encode(torch.from_numpy(rows.test)).double().numpy()
    value = objective(rows.test, dictionary, codes, shared["penalty"])
    return {
        "gap": 100 * float(value.mean() / optimum.mean() - 1),
        "median gap of a patch": 100 * float(np.median(value / optimum - 1)),
        "validation gap": features.encoder_gap(model, rows.valid).overall,
        "validation gap at the start": started,
        "nonzero": float((codes != 0).sum(1).mean()),
        "epochs": run.metrics[-1]["epoch"],
        **speed(model, dictionary, rows.test[:1000], shared),
        **spent,
    }


def speed(
    model: models.PredictiveSparseDecomposition, dictionary: torch.Tensor, rows: np.ndarray, shared: dict[str, Any]
) -> dict[str, float]:
    """Milliseconds of both for 1,000 patches, and how often the prediction goes into coordinate descent."""
    ours, theirs = [], []
    x, given = torch.from_numpy(rows), _scikit(rows, dictionary)
    for _ in range(shared["pairs"]):
        start = time.thread_time()
        with torch.no_grad():
            for _ in range(10):
                model.encode(x)
        ours.append((time.thread_time() - start) / 10)
        start = time.thread_time()
        sparse_encode(*given, alpha=shared["penalty"] / 2, algorithm="lasso_cd")
        theirs.append(time.thread_time() - start)
    share = 1e6 / len(rows)  # milliseconds for 1,000 patches
    return {
        "milliseconds": round(share * float(np.median(ours)), 3),
        "lasso_cd milliseconds": round(share * float(np.median(theirs)), 1),
        "speed": round(float(np.median(np.array(theirs) / np.array(ours))), 1),
    }


def objective(rows: np.ndarray, dictionary: torch.Tensor, codes: np.ndarray, penalty: float) -> np.ndarray:
    """Of each row, in float64: (rows,)."""
    residual = rows.astype(np.float64) - codes @ dictionary.double().numpy().T
    return np.square(residual).sum(1) + penalty * np.abs(codes).sum(1)


def summary(found: dict[str, Any]) -> str:
    """The better of the two ways of training for each encoder, by the validation patches."""
    lines = []
    for encoder in ENCODERS:
        rows = [row for row in found["rows"] if row["encoder"] == encoder]
        lines.append("chosen: " + told(min(rows, key=lambda row: row["validation gap"])))
    return "\n".join(lines)


def told(row: dict[str, Any]) -> str:
    """A row in words."""
    return (
        f"{row['encoder']:15} matched to {row['match']:9} gap {row['gap']:7.2f} % of the mean objective (validation "
        f"{row['validation gap']:.2f}), {row['milliseconds']:.2f} ms for 1,000 patches, {row['speed']:.0f} x lasso_cd"
    )


def _scikit(rows: np.ndarray, dictionary: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    return rows.astype(np.float64), np.ascontiguousarray(dictionary.double().numpy().T)


if __name__ == "__main__":
    sys.exit(main())
