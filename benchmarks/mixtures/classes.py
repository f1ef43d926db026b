"""Classifiers and detectors of outliers made of one density a class, on MNIST.

    python -m benchmarks.mixtures.classes                       # writes results/mixtures-classes.json
    python -m benchmarks.mixtures.classes --rows "VAE"          # these rows; goes on where it was stopped
    python -m benchmarks.mixtures.classes --quick               # a trial on small digits, seconds

Random bits: training batches are drawn anew from the grey levels, and 10,000 test rows are one fixed draw. Each part is
trained on the rows of its class; classes follow by Bayes' rule, with log p(x | y) exact (mixtures), by importance
sampling (VAE) or with log Z by annealing (RBM). Outliers beside the test digits: images without ink, digits of half the
size, and the 1s for parts that never saw one. AUROC: how often an outlier has the higher score than a digit.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from benchmarks.jobs import Job, begin
from ppgen import datasets, models, training

LEFT_OUT = 1  # class
FAMILIES: dict[str, dict[str, Any]] = {
    "mixture of 50": {"fit": {"inference": "em", "epochs": 8, "batch_size": 500}},
    "RBM": {"fit": {"inference": "pcd", "epochs": 60, "lr": 0.002, "compile": True}},
    "VAE": {"fit": {"epochs": 60, "lr": 0.001, "compile": True}, "evaluate": {"num_particles": 200}},
}
QUICK: dict[str, dict[str, Any]] = {
    "mixture of 50": {"fit": {"inference": "em", "epochs": 2, "batch_size": 100}},
    "VAE": {"fit": {"epochs": 1}, "evaluate": {"num_particles": 20}},
}


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    quick = "--quick" in (sys.argv[1:] if arguments is None else arguments)
    job = begin(__spec__.name, __doc__, {"left out": LEFT_OUT}, arguments)
    torch.set_num_threads(1)
    data = job.images(binarize="dynamic")
    for name, settings in (QUICK if quick else FAMILIES).items():
        make = _maker(name, data.num_features, quick)
        for part, measure in (("classes", _classes), ("left out", _left_out)):
            row = f"{name}, {part}"
            if job.wants(row):
                job.row(row, lambda at, m=measure, k=make, s=settings: m(job, data, k, s, at), settings)
    return 0


def _maker(name: str, features: int, quick: bool) -> Callable[[], Any]:
    if name == "RBM":
        return lambda: models.RBM(features, 200)
    if name == "VAE":
        return lambda: models.VAE(features, 4, (8,)) if quick else models.VAE(features, 20, (200, 200))
    return lambda: models.BernoulliMixture(features, 5 if quick else 50)


def _fitted(data: Any, make: Callable[[], Any], settings: dict[str, Any], folder: Path) -> training.ClassParts:
    return training.fit_classes(
        make,
        data,
        background=lambda: models.BernoulliMixture(data.num_features, 1),  # independent pixels
        evaluate=settings.get("evaluate"),
        folder=folder,
        resume="auto",
        seed=0,
        progress=False,
        **settings["fit"],
    )


def _classes(
    job: Job, data: datasets.Dataset, make: Callable[[], Any], settings: dict[str, Any], folder: Path
) -> dict[str, Any]:
    parts = _fitted(data, make, settings, folder)
    x, labels = torch.as_tensor(data.test[:]), (data.labels or {})["test"]
    log_score = parts.log_score(x, labels)
    found = {"test error %": 100 * (1 - parts.score(x, labels)), "log p(y|x)": float(log_score), "se": log_score.se}
    inside = x[:1000]
    blank, small = torch.zeros(2, data.num_features), _half_size(inside, data.image_shape)
    return {**found, **_separation(parts, inside, blank, "blank"), **_separation(parts, inside, small, "half size")}


def _left_out(
    job: Job, data: datasets.Dataset, make: Callable[[], Any], settings: dict[str, Any], folder: Path
) -> dict[str, Any]:
    labels = data.labels or {}
    kept = {split: (labels[split] != LEFT_OUT).nonzero().squeeze(-1) for split in ("train", "valid")}
    grey = data.train_probabilities
    seen = replace(
        data,
        train=data.train[kept["train"]],
        valid=data.valid[kept["valid"]],
        train_probabilities=None if grey is None else grey[kept["train"]],
        labels={split: labels[split][index] for split, index in kept.items()},
        checksum=f"{data.checksum} without {LEFT_OUT}",
    )
    parts = _fitted(seen, make, settings, folder)
    x, strange = torch.as_tensor(data.test[:2000]), labels["test"][:2000] == LEFT_OUT
    return _separation(parts, x[~strange], x[strange], "left out")


def _separation(parts: training.ClassParts, inside: Tensor, outside: Tensor, name: str) -> dict[str, float]:
    """AUROC of each score."""
    truth = [0] * len(inside) + [1] * len(outside)
    both = torch.cat([inside, outside])
    scores = {"log p alone": -parts.evidence(both).log_marginal}
    scores |= {method: parts.outlier_score(both, method) for method in ("ratio", "typicality")}
    return {f"AUROC {name}, {method}": float(roc_auc_score(truth, each.numpy())) for method, each in scores.items()}


def _half_size(x: Tensor, shape: Any) -> Tensor:
    """Bits of images of half the size, in the middle of an empty one."""
    rows, columns = shape
    small = avg_pool2d(x.reshape(-1, 1, rows, columns), 2)
    bits = (torch.rand(small.shape, generator=torch.Generator().manual_seed(0)) < small).float()
    return pad(bits, (columns // 4, columns // 4, rows // 4, rows // 4)).reshape(len(x), -1)


if __name__ == "__main__":
    sys.exit(main())
