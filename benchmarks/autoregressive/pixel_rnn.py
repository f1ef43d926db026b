"""PixelRNN beside PixelCNN, with about as many parameters.

    python -m benchmarks.autoregressive.pixel_rnn               # writes results/autoregressive-pixel_rnn.json; goes on
    python -m benchmarks.autoregressive.pixel_rnn --rows 8x8    # the small digits alone
    python -m benchmarks.autoregressive.pixel_rnn --quick       # a trial, seconds

`8x8`: scikit-learn's digits cut at a threshold; `14x14`: MNIST, the means of four pixels cut at a half. All networks
have 17,000 to 18,600 parameters, PixelCNN the most. Step size and dropout (and layers of PixelCNN, fewer wide ones or
more narrow ones) are chosen for each by short trials on validation rows, and so is the epoch. Three seeds of weights
and batches on the small digits; the difference of two networks is paired by test image, and its standard error is that
over test images of the mean over seeds.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.autoregressive.data import few, half_size
from benchmarks.autoregressive.training import NATS, Family, chosen, difference, kept
from benchmarks.jobs import Job, begin
from ppgen import datasets

SHORT: dict[str, Any] = {"lr_schedule": "cosine", "batch_size": 50, "epochs": 60, "compile": True}
LONG: dict[str, Any] = {"lr_schedule": "cosine", "batch_size": 100, "epochs": 10, "compile": True}
WIDTHS: dict[str, tuple[str, dict[str, dict[str, Any]]]] = {
    "PixelCNN": ("PixelCNN", {"3 x 19": {"layers": 3, "channels": 19}, "6 x 15": {"layers": 6, "channels": 15}}),
    "row LSTM": ("PixelRNN", {"3 x 12": {"kind": "row", "layers": 3, "channels": 12}}),
    "diagonal": ("PixelRNN", {"3 x 11": {"kind": "diagonal", "layers": 3, "channels": 11}}),
}
"""Layers and widths of 17,000 to 18,600 parameters; of PixelCNN two, the better of which counts."""


def family(network: str, side: int, training: Mapping[str, Any], dropouts: Sequence[float], trial: int) -> Family:
    """A network with its candidates: widths, step sizes and dropout."""
    model, widths = WIDTHS[network]
    candidates = {
        f"{width}, step size {lr:g}, dropout {share:g}": {"lr": lr, "model": {**sizes, "dropout": share}}
        for width, sizes in widths.items()
        for lr in (0.003, 0.01)
        for share in dropouts
    }
    return Family(model, {"shape": (side, side)}, training, candidates, trial)


FAMILIES: dict[str, Family] = {
    **{f"8x8, {name}": family(name, 8, SHORT, (0.0, 0.2), 20) for name in WIDTHS},
    **{f"14x14, {name}": family(name, 14, LONG, (0.0,), 1) for name in WIDTHS},
}
_TRIAL: dict[str, Any] = {"batch_size": 64, "epochs": 1, "lr": 0.01, "compile": False}
QUICK: dict[str, Family] = {
    "8x8, PixelCNN": Family("PixelCNN", {"shape": (8, 8), "layers": 1, "channels": 4}, _TRIAL),
    "8x8, row LSTM": Family("PixelRNN", {"shape": (8, 8), "layers": 1, "channels": 2}, _TRIAL),
}
SEEDS = {"8x8": (0, 1, 2), "14x14": (0,)}


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    quick = "--quick" in (sys.argv[1:] if arguments is None else arguments)
    job = begin(__spec__.name, __doc__, {"seeds": SEEDS, "valid_size": {"8x8": 200, "14x14": 5000}}, arguments)
    torch.set_num_threads(1)
    families = QUICK if quick else FAMILIES
    for part, seeds in SEEDS.items():
        names = [name for name in families if name.startswith(part) and job.wants(name)]
        if not names:
            continue
        data = images(job, part)
        for name in names:
            chosen(job, name, families[name], data, kept(data.test), seeds=(0,) if quick else seeds)
        compare(job, part, list(families), (0,) if quick else seeds)
    return 0


def images(job: Job, part: str) -> datasets.Dataset:
    """Bits of images of that size."""
    if job.quick or part == "8x8":
        found = datasets.load("digits", binarize="threshold")
        return few(found) if job.quick else found
    return half_size(datasets.load("mnist", root=job.data_dir, valid_size=5000))


def compare(job: Job, part: str, names: list[str], seeds: Sequence[int]) -> None:
    """Rows of the differences to the first network, as far as both are trained."""
    first, *others = [name for name in names if name.startswith(part)]
    for other in others:
        rows = [f"{name}, seed {seed}" for name in (other, first) for seed in seeds]
        if all(row in job.content["rows"] for row in rows) and all((job.at(row) / NATS).exists() for row in rows):

            def apart(_: Path, other: str = other) -> dict[str, Any]:
                each = {
                    name: np.mean([np.load(job.at(f"{name}, seed {seed}") / NATS) for seed in seeds], axis=0)
                    for name in (other, first)
                }
                return difference(each[other], each[first])

            job.row(f"{other} less {first.partition(', ')[2]}", apart)


if __name__ == "__main__":
    sys.exit(main())
