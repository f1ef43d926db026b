"""What the figures of autoregressive models are drawn from: arrays and settings, one file a record.

    python -m benchmarks.autoregressive.figure_records              # trains what is not in benchmarks/results yet
    python -m benchmarks.autoregressive.figure_records five --again  # one of them, anew
    python -m benchmarks.autoregressive.figure_records --quick      # a trial; writes to runs/benchmarks

Each file, `autoregressive-figure-NAME.npz`, holds numpy arrays and, as text, a JSON object of settings and numbers.
All models are small ones of the embedded digits, 8 x 8, cut at a threshold: no file of data is needed.
`python -m benchmarks.autoregressive.figures` draws from them and trains nothing.
"""

import sys
from typing import Any

import numpy as np
import torch

import ppgen
from benchmarks.figure_store import Found, Store
from ppgen import datasets, evaluation, models
from ppgen.diagnostics.figures.draw_stages import stages
from ppgen.diagnostics.figures.seen_entries import entry_derivatives

SHAPE = (8, 8)
QUIET: dict[str, Any] = {"progress": False, "compile": False, "seed": 0}
PIXELS: dict[str, Any] = {"shape": SHAPE, "channels": 16, "layers": 4, "dropout": 0.2}
EPOCHS, CLASS_EPOCHS = 40, 60
SHOWN, DRAWS, COMPLETIONS = 12, 5, 400
ROWS_OF_DRAWS, STAGES = 6, 12
SCRATCH = (slice(2, 6), 1)  # four pixels of a column, which are turned around
FIELD_SHAPE, FIELD_ENTRY, FIELD_LAYERS = (9, 9), (7, 3), 8
FIVE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "FullyVisibleBeliefNet": ({"features": 64}, {"epochs": 30}),
    "NADE": ({"features": 64, "hidden": 50}, {"epochs": 40}),
    "MADE": ({"features": 64, "hidden": (100,), "orders": 4}, {"epochs": 30}),
    "GatedPixelCNN": (PIXELS, {"epochs": EPOCHS}),
    "PixelRNN": ({"shape": SHAPE, "kind": "row", "channels": 12, "layers": 2, "dropout": 0.2}, {"epochs": 20}),
}


def trained(name: str, sizes: dict[str, Any], epochs: int, data: Any, quick: bool) -> Any:
    """A model of the zoo in the weights of the epoch with the best validation rows."""
    torch.manual_seed(0)
    model = getattr(models, name)(**sizes)
    return ppgen.fit(model, data, epochs=1 if quick else epochs, restore_best=not quick, **QUIET)


def digits(quick: bool) -> datasets.Dataset:
    """Digits of 8 x 8 bits."""
    return datasets.load("digits", binarize="threshold")


def pixels(quick: bool, data_dir: str | None) -> Found:
    """A gated PixelCNN: completions, images on their way, and the cost of each pixel of spoilt digits."""
    data = digits(quick)
    run = trained("GatedPixelCNN", PIXELS, EPOCHS, data, quick)
    whole = data.test[:SHOWN].clone()
    half = whole.clone()
    half[:, 32:] = float("nan")
    drawn = ppgen.sample(run.pair, COMPLETIONS, given=half, seed=0).samples
    _, rows = stages(run, ROWS_OF_DRAWS, num_stages=SHAPE[0], seed=1)
    counts, progress = stages(run, 1, num_stages=STAGES, num_completions=COMPLETIONS, seed=3)
    clean = whole[: SHOWN // 2]
    spoilt = clean.reshape(-1, *SHAPE).clone()
    spoilt[:, *SCRATCH] = 1 - spoilt[:, *SCRATCH]
    both = torch.cat([clean, spoilt.flatten(1)])
    found = evaluation.log_likelihood(run.pair, both, method="exact", per_position=True)
    arrays = {
        "whole": whole.numpy().astype(np.uint8),
        "given": half.numpy().astype(np.float16),
        "draws": drawn[:DRAWS].numpy().astype(np.uint8),
        "mean": drawn.mean(0).numpy().astype(np.float16),
        "rows": np.stack(list(rows.values())).astype(np.float16),
        "drawn": progress["drawn"].astype(np.float16),
        "expected": progress["expected"].astype(np.float16),
        "counts": np.array(counts),
        "spoilt": both.numpy().astype(np.uint8),
        "terms": np.asarray(found.pointwise).astype(np.float32),
    }
    nats = evaluation.log_likelihood(run.pair, data.test, method="exact").value
    totals = arrays["terms"].sum(1)
    return arrays, {
        **PIXELS,
        "epochs": EPOCHS,
        "nats": nats,
        "completions": COMPLETIONS,
        "clean nats": float(totals[: len(clean)].mean()),
        "spoilt nats": float(totals[len(clean) :].mean()),
    }


def classes(quick: bool, data_dir: str | None) -> Found:
    """Draws of each class from a gated PixelCNN given the class."""
    data = digits(quick)
    run = trained("ClassConditionalPixelCNN", PIXELS, CLASS_EPOCHS, data.given_labels(), quick)
    drawn = ppgen.sample(run.pair, SHOWN, covariates=torch.eye(10), seed=0).samples.transpose(0, 1)
    labels = torch.as_tensor(np.asarray(data.labels["test"])) if data.labels is not None else torch.empty(0)
    wrong = float((run.pair.predict(data.test[:]) != labels).double().mean())
    back = run.pair.predict(drawn.flatten(0, 1)).reshape(10, -1)
    agreed = float((back == torch.arange(10)[:, None]).double().mean())
    about = {**PIXELS, "epochs": CLASS_EPOCHS, "train": len(data.train), "error": wrong, "agreed": agreed}
    return {"draws": drawn.numpy().astype(np.uint8)}, about


def fields(quick: bool, data_dir: str | None) -> Found:
    """Derivatives of the law of one pixel in all before it, of a plain PixelCNN and a gated one of random weights."""
    entry = FIELD_ENTRY[0] * FIELD_SHAPE[1] + FIELD_ENTRY[1]
    settings: dict[str, Any] = {"shape": FIELD_SHAPE, "channels": 8, "layers": FIELD_LAYERS, "first_size": 3}
    arrays, seen = {}, {}
    for name in ("PixelCNN", "GatedPixelCNN"):
        torch.manual_seed(0)
        arrays[name] = entry_derivatives(getattr(models, name)(**settings), entry=entry)
        seen[name] = int((np.nan_to_num(arrays[name]) > 0).sum())
    return arrays, {**settings, "entry": entry, "seen": seen}


def five(quick: bool, data_dir: str | None) -> Found:
    """Draws of five models."""
    data = digits(quick)
    arrays, nats = {"data": data.test[:16].numpy().astype(np.uint8)}, {}
    for name, (sizes, training) in FIVE.items():
        run = trained(name, sizes, training["epochs"], data, quick)
        arrays[name] = ppgen.sample(run.pair, 16, seed=0).samples.numpy().astype(np.uint8)
        found = evaluation.log_likelihood(run.pair, data.test, method="exact")
        nats[name] = {"nats": found.value, "data_se": found.data_se}
    return arrays, {"nats": nats}


STORE = Store(
    "benchmarks.autoregressive.figure_records",
    "autoregressive-figure",
    {"pixels": pixels, "classes": classes, "fields": fields, "five": five},
)
path_of, read = STORE.path_of, STORE.read


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    return STORE.main(__doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
