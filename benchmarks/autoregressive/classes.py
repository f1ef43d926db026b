"""A PixelCNN of digits given their class, and the classifier that Bayes' rule makes of it.

    python -m benchmarks.autoregressive.classes            # writes results/autoregressive-classes.json; goes on
    python -m benchmarks.autoregressive.classes --quick    # a trial on small digits, seconds

MNIST with bits drawn once (`binarize="fixed"`): 55,000 images train, 5,000 choose the epoch, 10,000 are tested. The
classifier is trained on log p(image | class) alone and all classes are as probable: the error is the share of test
images of which another class makes the image more probable, with its binomial standard error.
"""

import math
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.autoregressive.data import few
from benchmarks.autoregressive.training import Family, chosen
from benchmarks.jobs import begin

TRAINING: dict[str, Any] = {"lr_schedule": "cosine", "batch_size": 100, "epochs": 10, "lr": 0.003, "compile": True}
FAMILIES: dict[str, Family] = {
    "class-conditional gated PixelCNN": Family(
        "ClassConditionalPixelCNN", {"shape": (28, 28), "classes": 10, "channels": 16, "layers": 6}, TRAINING
    ),
}
QUICK: dict[str, Family] = {
    "class-conditional gated PixelCNN": Family(
        "ClassConditionalPixelCNN",
        {"shape": (8, 8), "classes": 10, "channels": 2, "layers": 1},
        {"batch_size": 32, "epochs": 2, "lr": 0.02, "compile": False},
    ),
}


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    quick = "--quick" in (sys.argv[1:] if arguments is None else arguments)
    job = begin(__spec__.name, __doc__, {"valid_size": 5000, "binarize": "fixed"}, arguments)
    torch.set_num_threads(1)
    images = few(job.images(binarize="threshold")) if quick else job.images(binarize="fixed", valid_size=5000)
    labels = (images.labels or {})["test"]

    def error(model: Any, _: Path) -> dict[str, Any]:
        with torch.no_grad():
            wrong = float((model.predict(images.test[:]) != labels).double().mean())
        return {"error %": 100 * wrong, "se %": 100 * math.sqrt(wrong * (1 - wrong) / len(labels))}

    for name, family in (QUICK if quick else FAMILIES).items():
        chosen(job, name, family, images.given_labels(), error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
