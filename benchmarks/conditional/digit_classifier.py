"""A classifier of digits that knows which images are none, to judge what models draw.

    python -m benchmarks.conditional.digit_classifier            # minutes on one core; goes on where it was
    python -m benchmarks.conditional.digit_classifier --quick    # a trial on small digits; writes to runs/benchmarks

The weights are kept beside the checkpoints, where `judge` finds them for other benchmarks.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import jobs, record
from ppgen import datasets
from ppgen.training import ImageClassifier, fit_image_classifier
from ppgen.training.stages.no_class import KINDS, images_of_no_class

NONE = 6_000  # fresh images of no class that are judged
SETTINGS: dict[str, Any] = {
    "mnist": {"epochs": 5, "lr": 3e-3, "batch_size": 100},
    "digits": {"epochs": 20, "lr": 5e-3, "batch_size": 64, "copies": 5},
}
QUICK: dict[str, Any] = {"digits": {"epochs": 2, "lr": 5e-3, "batch_size": 64}}


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    quick = "--quick" in (sys.argv[1:] if arguments is None else arguments)
    settings = QUICK if quick else SETTINGS
    job = jobs.begin("benchmarks.conditional.digit_classifier", __doc__, settings, arguments)
    for name, training in settings.items():
        if job.wants(name):
            data = datasets.load(name, **({} if name == "digits" else {"root": job.data_dir}))
            job.row(name, lambda folder, data=data, training=training: measured(data, folder, training), training)
    return 0


def measured(data: datasets.Dataset, folder: Path, training: dict[str, Any]) -> dict[str, Any]:
    """Train on the training rows, or go on, and give errors on test rows, in per cent."""
    judge = fit_image_classifier(data, folder=folder, resume="auto", progress=False, **training)
    judge.save(_path(folder))
    labels = (data.labels or {})["test"]
    test = data.test[:]
    generator = torch.Generator().manual_seed(1)
    bits = (torch.rand(test.shape, generator=generator) < test).float()
    fresh = images_of_no_class(judge.hidden.images(test), labels, NONE, generator)
    apart = judge.predict(judge.hidden.rows(fresh)).eq(judge.none).view(len(KINDS), -1).double().mean(1)
    return {
        "test error %": _error(judge, test, labels),
        "test error of bits %": _error(judge, bits, labels),
        "digits called none %": 100 * float(judge.predict(test).eq(judge.none).double().mean()),
        "none found %": {kind.__name__: 100 * float(share) for kind, share in zip(KINDS, apart, strict=True)},
        "test rows": len(test),
    }


def judge(name: str = "mnist") -> ImageClassifier:
    """The classifier of a data set that the command has trained.

    Raises:
        FileNotFoundError: If it has not been trained on this machine.
    """
    path = _path(record.ROOT / "runs" / "benchmarks" / "conditional" / "digit_classifier" / name)
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there: python -m benchmarks.conditional.digit_classifier --rows {name}")
    return ImageClassifier.load(path)


def _path(folder: Path) -> Path:
    return folder / "judge.safetensors"


def _error(judge: ImageClassifier, rows: Tensor, labels: Tensor) -> float:
    return 100 * (1 - judge.score(rows, labels))


if __name__ == "__main__":
    sys.exit(main())
