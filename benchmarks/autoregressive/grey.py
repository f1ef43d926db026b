"""Bits per dimension of grey images: small digits of 17 levels, MNIST of 256.

    python -m benchmarks.autoregressive.grey                 # writes results/autoregressive-grey.json; goes on
    python -m benchmarks.autoregressive.grey --rows digits   # the small digits alone, minutes
    python -m benchmarks.autoregressive.grey --quick         # a trial, seconds

The laws are discrete, probabilities of levels, so that bits per dimension are -log p(x) / (D ln 2) as they stand:
nothing is added for a scale, and no noise is added to the levels. Of the small digits the split is that of
`datasets.load("digits")`: 1,297 train, 200 choose the settings and the epoch, 300 are tested. MNIST: 55,000, 5,000
and 10,000. Errors are standard errors over test images.
"""

import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks import record
from benchmarks.autoregressive.data import few
from benchmarks.autoregressive.training import CHUNK, Family, chosen
from benchmarks.jobs import begin
from ppgen import datasets, evaluation

DIGITS: dict[str, Any] = {"shape": (8, 8), "levels": 17, "channels": 32, "layers": 6}
MNIST: dict[str, Any] = {"shape": (28, 28), "levels": 256, "channels": 16, "layers": 6}
SHORT: dict[str, Any] = {"lr_schedule": "cosine", "batch_size": 50, "epochs": 120, "lr": 0.003, "compile": True}
LONG: dict[str, Any] = {"lr_schedule": "cosine", "batch_size": 50, "epochs": 5, "lr": 0.003, "compile": True}
DROPOUTS = {f"dropout {share:g}": {"model": {"dropout": share}} for share in (0.2, 0.35, 0.5)}

FAMILIES: dict[str, Family] = {
    "digits, PixelCNN": Family("PixelCNN", DIGITS, SHORT, DROPOUTS, trial_epochs=60),
    "digits, gated PixelCNN": Family(
        "GatedPixelCNN", {**DIGITS, "channels": 24, "layers": 5}, SHORT, DROPOUTS, trial_epochs=60
    ),
    "mnist, PixelCNN, logistic": Family("PixelCNN", {**MNIST, "outputs": "logistic", "components": 10}, LONG),
    "mnist, PixelCNN, categorical": Family("PixelCNN", MNIST, LONG),
}
QUICK: dict[str, Family] = {
    "digits, PixelCNN": Family(
        "PixelCNN",
        {"shape": (8, 8), "levels": 17, "channels": 2, "layers": 1},
        {"epochs": 1, "batch_size": 64, "lr": 0.01, "compile": False},
        {f"dropout {share:g}": {"model": {"dropout": share}} for share in (0.0, 0.5)},
    ),
}


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    quick = "--quick" in (sys.argv[1:] if arguments is None else arguments)
    job = begin(__spec__.name, __doc__, {"valid_size": {"digits": 200, "mnist": 5000}}, arguments)
    torch.set_num_threads(1)
    loaded: dict[str, datasets.Dataset] = {}
    for name, family in (QUICK if quick else FAMILIES).items():
        if not job.wants(name):
            continue
        images = name.partition(",")[0]
        if images not in loaded:
            root, size = (None, None) if images == "digits" else (job.data_dir, 5000)
            loaded[images] = datasets.load(images, root=root, valid_size=size, integers="levels")
        data = few(loaded[images]) if quick else loaded[images]

        def bits(model: Any, _: Path, data: datasets.Dataset = data) -> dict[str, Any]:
            found = evaluation.log_likelihood(model, data.test, method="exact", chunk=CHUNK)
            return {"bits": record.figure(evaluation.bits_per_dimension(found, data.num_features))}

        chosen(job, name, family, data, bits)
    return 0


if __name__ == "__main__":
    sys.exit(main())
