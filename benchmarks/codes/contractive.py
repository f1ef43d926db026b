"""Features of digits from one contractive layer and from one denoising layer, for classifiers with 10,000 labels.

    python -m benchmarks.codes.contractive            # writes results/codes-contractive.json; goes on where it was
    python -m benchmarks.codes.contractive --quick    # a trial on small digits, seconds

MNIST: one layer of 1,000 sigmoid units with tied weights, trained on 55,000 images without labels, then a softmax on
top and all of it fine-tuned on 10,000 labels, as many of each digit. Both kinds have the same units, epochs and seeds;
the penalty and the level of noise are those with which the first seed errs least on 5,000 validation images. Figures
are errors on the 10,000 test images, and the differences seed by seed.
"""

import math
import statistics
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.codes.deep_autoencoder import QUIET
from benchmarks.codes.stacked_denoising import classified
from benchmarks.jobs import begin
from ppgen import datasets, models, training

SETTINGS: dict[str, Any] = {
    "units": 1000,
    "labels": 10_000,
    "pretraining": {"epochs": 15, "lr": 1e-3, "lr_schedule": "linear", "batch_size": 100},
    "fine_tuning": {"epochs": 30, "lr": 1e-3, "lr_schedule": "linear", "batch_size": 100},
    "denoising": (0.1, 0.25, 0.4),
    "contractive": (0.1, 0.3, 1.0),
    "seeds": (0, 1, 2, 3, 4),
}
QUICK: dict[str, Any] = {
    "units": 24,
    "labels": 100,
    "pretraining": {"epochs": 1, "lr": 1e-3, "lr_schedule": "linear", "batch_size": 100},
    "fine_tuning": {"epochs": 2, "lr": 1e-3, "lr_schedule": "linear", "batch_size": 100},
    "seeds": (0, 1),
}
KINDS = ("denoising", "contractive")


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    quick = "--quick" in (sys.argv[1:] if arguments is None else arguments)
    settings = {**SETTINGS, **QUICK} if quick else SETTINGS
    job = begin(__spec__.name, __doc__, settings, arguments)
    images, (first, *others) = job.images(), settings["seeds"]
    chosen: dict[str, float] = {}
    for kind in KINDS:
        rows = {
            value: job.row(_name(kind, value, first), _row(settings, images, kind, value, first))
            for value in settings[kind]
        }
        chosen[kind] = min(rows, key=lambda value, rows=rows: rows[value]["valid error %"])
    for seed in others:
        for kind, value in chosen.items():
            job.row(_name(kind, value, seed), _row(settings, images, kind, value, seed))
    errors = {
        kind: [job.content["rows"][_name(kind, value, seed)]["test error %"] for seed in settings["seeds"]]
        for kind, value in chosen.items()
    }
    apart = [ours - theirs for ours, theirs in zip(errors["contractive"], errors["denoising"], strict=True)]
    spread = statistics.stdev(apart) / math.sqrt(len(apart))
    job.keep(
        chosen=chosen,
        errors={kind: {"mean": statistics.fmean(each), "sd": statistics.stdev(each)} for kind, each in errors.items()},
        contractive_less_denoising={"mean": statistics.fmean(apart), "se": spread},
    )
    print(f"contractive less denoising: {statistics.fmean(apart):+.3f} ± {spread:.2g} %", flush=True)
    return 0


def _name(kind: str, value: float, seed: int) -> str:
    return f"{kind} {value:g}, seed {seed}"


def _row(
    settings: Mapping[str, Any], images: datasets.Dataset, kind: str, value: float, seed: int
) -> Callable[[Path], dict[str, Any]]:
    def measure(folder: Path) -> dict[str, Any]:
        torch.manual_seed(seed)
        kinds: dict[str, Any] = {"activation": "sigmoid", "code_activation": "sigmoid", "likelihood": "cross-entropy"}
        sizes = images.num_features, (settings["units"],)
        layer = (
            models.DenoisingAutoencoder(*sizes, noise="masking", level=value, tied=True, **kinds)
            if kind == "denoising"
            else models.ContractiveAutoencoder(*sizes, penalty=value, tied=True, **kinds)
        )
        training.pretrain(layer, images, seed=seed, folder=folder / "layers", **settings["pretraining"], **QUIET)
        few = images.with_labels(keep=settings["labels"], seed=seed)
        return classified(layer, few, folder / "classifier", "recognition", seed=seed, **settings["fine_tuning"])

    return measure


if __name__ == "__main__":
    sys.exit(main())
