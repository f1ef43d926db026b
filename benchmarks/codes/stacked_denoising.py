"""Classifiers of digits with layers from a stack of denoising autoencoders, and from a random start.

    python -m benchmarks.codes.stacked_denoising            # writes results/codes-stacked_denoising.json; resumes
    python -m benchmarks.codes.stacked_denoising --quick    # a trial on small digits, seconds

MNIST with all 60,000 labels, 5,000 of them for validation: 784-1000-1000-500-10, sigmoid units, a fraction of the
pixels, and of the codes, set to 0 for the layer in training. Both starts have the same seeds, and each the step size
with which its first seed errs least on the validation images. Figures are errors on the 10,000 test images (Vincent et
al., 2010, three layers: 1.28 %).
"""

import statistics
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.codes.deep_autoencoder import QUIET
from benchmarks.jobs import Job, begin
from ppgen import datasets, models, training

SETTINGS: dict[str, Any] = {
    "hidden": (1000, 1000, 500),
    "level": 0.25,
    "pretraining": {"epochs": 15, "lr": 1e-3, "lr_schedule": "linear", "batch_size": 100},
    "fine_tuning": {"epochs": 30, "lr_schedule": "linear", "batch_size": 100},
    "lr": (3e-4, 1e-3),
    "seeds": (0, 1, 2),
}
QUICK: dict[str, Any] = {
    "hidden": (24, 16),
    "pretraining": {"epochs": 1, "lr": 1e-3, "lr_schedule": "linear", "batch_size": 100},
    "fine_tuning": {"epochs": 2, "lr_schedule": "linear", "batch_size": 100},
    "seeds": (0, 1),
}
STARTS = {"pretrained": "recognition", "random": "random"}


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    quick = "--quick" in (sys.argv[1:] if arguments is None else arguments)
    settings = {**SETTINGS, **QUICK} if quick else SETTINGS
    job = begin(__spec__.name, __doc__, settings, arguments)
    images = job.images()
    first = settings["seeds"][0]
    chosen: dict[str, float] = {}
    for start in STARTS:
        found = {
            lr: job.row(_name(start, lr, first), _row(job, settings, images, start, lr, first)) for lr in settings["lr"]
        }
        chosen[start] = min(found, key=lambda lr, found=found: found[lr]["valid error %"])
    for seed in settings["seeds"][1:]:
        for start, lr in chosen.items():
            job.row(_name(start, lr, seed), _row(job, settings, images, start, lr, seed))
    errors = {
        start: [job.content["rows"][_name(start, lr, seed)]["test error %"] for seed in settings["seeds"]]
        for start, lr in chosen.items()
    }
    job.keep(
        chosen=chosen,
        errors={
            start: {"mean": statistics.fmean(each), "sd": statistics.stdev(each)} for start, each in errors.items()
        },
        published=1.28,
    )
    return 0


def _name(start: str, lr: float, seed: int) -> str:
    return f"{start}, lr {lr:g}, seed {seed}"


def _row(
    job: Job, settings: Mapping[str, Any], images: datasets.Dataset, start: str, lr: float, seed: int
) -> Callable[[Path], dict[str, Any]]:
    def measure(folder: Path) -> dict[str, Any]:
        stack = denoising_stack(images, settings, seed)
        if start == "pretrained":
            layers = job.folder / f"layers, seed {seed}"  # the same for every step size
            training.pretrain(stack, images, seed=seed, folder=layers, **settings["pretraining"], **QUIET)
        return classified(stack, images, folder, STARTS[start], seed=seed, lr=lr, **settings["fine_tuning"])

    return measure


def denoising_stack(images: datasets.Dataset, settings: Mapping[str, Any], seed: int) -> models.DenoisingAutoencoder:
    """Sigmoid layers that are to be trained on spoilt grey levels, from a seed."""
    torch.manual_seed(seed)
    kinds = {"activation": "sigmoid", "code_activation": "sigmoid", "likelihood": "cross-entropy"}
    return models.DenoisingAutoencoder(
        images.num_features, settings["hidden"], noise="masking", level=settings["level"], **kinds
    )


def classified(stack: Any, data: Any, folder: Path, initialise: Any, **options: Any) -> dict[str, Any]:
    """Errors, in per cent, of a classifier whose layers start from a stack.

    Args:
        stack: Autoencoder.
        data: Images with labels, or pairs of images and labels.
        folder: Of its checkpoints.
        initialise: Where its layers start.
        **options: Of `training.finetune_classifier`.
    """
    images = getattr(data, "rows", data)
    found = training.finetune_classifier(stack, data, initialise=initialise, folder=folder, **options, **QUIET)
    return {
        f"{split} error %": 100 * (1 - found.score(images.split(split), images.labels[split]))
        for split in ("valid", "test")
    }


if __name__ == "__main__":
    sys.exit(main())
