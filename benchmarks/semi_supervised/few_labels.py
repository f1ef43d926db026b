"""Errors of semi-supervised autoencoders (M2, M1+M2) with few labels, beside a classifier of the labelled rows alone.

    python -m benchmarks.semi_supervised.few_labels                      # all rows; goes on where it was stopped
    python -m benchmarks.semi_supervised.few_labels --rows "mnist, M1"   # M1, and M1+M2 above it: 100 labels, 5 splits
    python -m benchmarks.semi_supervised.few_labels --rows digits        # 50 labels of small digits
    python -m benchmarks.semi_supervised.few_labels --quick              # a trial on small digits

Each split of labels is a row. M1, one autoencoder that sees no label, serves all splits. Where several weights of the
label term are named, the errors of split 0 on validation rows choose; figures are errors on test rows, in per cent.
MNIST is binarised by drawing, small digits at one half.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import ppgen
from benchmarks.jobs import Job, begin
from ppgen import datasets, inference, models

SETTINGS: dict[str, dict[str, Any]] = {
    "digits": {
        "labels": 50,
        "in_batch": 30,
        "M1": {"latent": 10, "hidden": (128,), "epochs": 60, "lr": 3e-3},
        "sizes": {"latent": 8, "hidden": (64,)},
        "training": {"lr": 1e-2, "batch_size": 128},
        "epochs": {"M2": 100, "M1+M2": 100},
        "weights": {"M2": (1.0, 5.0), "M1+M2": (1.0, 5.0)},
    },
    "mnist": {
        "labels": 100,
        "in_batch": 50,
        "M1": {"latent": 50, "hidden": (500,), "epochs": 60, "lr": 1e-3},
        "sizes": {"latent": 50, "hidden": (500,)},
        "training": {"lr": 1e-3, "batch_size": 200},
        "epochs": {"M2": 25, "M1+M2": 40},
        "weights": {"M2": (1.0,), "M1+M2": (1.0,)},
    },
}
KINDS = ("M1+M2", "M2")
SPLITS = 5


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    job = begin(__spec__.name, __doc__, {"valid_size": {"digits": 200, "mnist": 5000}}, arguments)
    for name, settings in SETTINGS.items():
        if job.wants_of(f"{name}, "):
            _measure(job, name, _short(settings) if job.quick else settings)
    _keep_means(job)
    return 0


def _short(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a trial: two epochs of small networks, and labels for all classes."""
    weights = {kind: chosen[:1] for kind, chosen in settings["weights"].items()}
    once = {"M1": {**settings["M1"], "epochs": 2}, "epochs": dict.fromkeys(KINDS, 2)}
    return {**settings, **once, "weights": weights, "labels": 50, "sizes": {"latent": 2, "hidden": (16,)}}


def _measure(job: Job, name: str, settings: Mapping[str, Any]) -> None:
    """The rows of one data set."""
    small = job.quick or name == "digits"
    options: dict[str, Any] = {"binarize": "threshold"} if small else {"binarize": "dynamic", "root": job.data_dir}
    images = datasets.load("digits" if small else "mnist", **options)
    splits = range(1 if job.quick else SPLITS)
    below = None
    for kind in KINDS:
        stem = f"{name}, {kind}, "
        if not any(job.wants(f"{stem}weight {w:g}, split {k}") for w in settings["weights"][kind] for k in splits):
            continue
        if kind == "M1+M2":
            below = _autoencoder(job, name, settings, images)
        trials = {
            weight: job.row(f"{stem}weight {weight:g}, split 0", _row(settings, images, below, kind, weight, 0))
            for weight in settings["weights"][kind]
        }
        best = min(trials, key=lambda weight, trials=trials: trials[weight]["valid error %"])
        job.keep(chosen={**job.content.get("chosen", {}), f"{name}, {kind}": f"weight {best:g}"})
        for split in splits[1:]:
            row = f"{stem}weight {best:g}, split {split}"
            if job.wants(row):
                job.row(row, _row(settings, images, below, kind, best, split))
    for split in splits:
        if job.wants(row := f"{name}, logistic regression, split {split}"):
            job.row(row, lambda _, split=split: _regression(settings, images, split))


def _keep_means(job: Job) -> None:
    """Mean error of each kind of model over its splits, with the weight that was chosen."""
    means, chosen = {}, job.content.get("chosen", {})
    for name in SETTINGS:
        for kind in (*KINDS, "logistic regression"):
            stem = ", ".join(part for part in (name, kind, chosen.get(f"{name}, {kind}")) if part) + ", split "
            rows = job.content.get("rows", {}).items()
            errors = torch.tensor([row["test error %"] for each, row in rows if each.startswith(stem)])
            if len(errors):
                spread = float(errors.std()) if len(errors) > 1 else 0.0
                means[f"{name}, {kind}"] = {"test error %": float(errors.mean()), "sd": spread, "splits": len(errors)}
                print(f"{stem.removesuffix(', split ')}: {errors.mean():.2f} % (sd {spread:.2f}, {len(errors)} splits)")
    job.keep(means=means)


def _autoencoder(job: Job, name: str, settings: Mapping[str, Any], images: datasets.Dataset) -> models.VAE:
    """M1, trained once for all splits, or gone on with."""
    given = dict(settings["M1"])
    training = {option: given.pop(option) for option in ("epochs", "lr")}
    vae = _seeded(lambda: models.VAE(images.num_features, **given), 0)

    def measured(folder: Path) -> dict[str, float]:
        run = ppgen.fit(vae, images, seed=0, progress=False, folder=folder, resume="auto", **training)
        return {"train value": run.curve("train_value")[-1]}

    row = f"{name}, M1"
    if row in job.content.get("rows", {}):
        measured(job.at(row))  # from its last checkpoint
    else:
        job.row(row, measured, settings["M1"])
    return vae


def _row(
    settings: Mapping[str, Any],
    images: datasets.Dataset,
    below: models.VAE | None,
    kind: str,
    weight: float,
    split: int,
) -> Any:
    """Train one model on one split of labels, or go on with it, and give its errors."""

    def measured(folder: Path) -> dict[str, float]:
        sizes = settings["sizes"]
        model: Any = _seeded(
            lambda: (
                models.SemiSupervisedVAE(images.num_features, **sizes)
                if kind == "M2"
                else models.StackedSemiSupervisedVAE.from_vae(below, images.train[:], **sizes)
            ),
            split,
        )
        few = images.with_labels(keep=settings["labels"], seed=split).stratified(settings["in_batch"])
        chosen = inference.SemiSupervised(label_weight=weight)
        options = {"epochs": settings["epochs"][kind], "seed": split, "progress": False}
        options |= {"folder": folder, "resume": "auto"}
        run = ppgen.fit(model, few, chosen, **settings["training"], **options)
        errors = {f"{name} error %": _error(model, few.split(name)) for name in ("valid", "test")}
        return {**errors, "train value": run.curve("train_value")[-1]}

    return measured


def _error(model: Any, rows: tuple[Any, ...]) -> float:
    """Rows whose most probable class is not theirs, in per cent."""
    x, y = rows
    return 100 * float((model.predict(x[:]) != y).double().mean())


def _regression(settings: Mapping[str, Any], images: datasets.Dataset, split: int) -> dict[str, float]:
    """Logistic regression on the labelled rows alone."""
    from sklearn.linear_model import LogisticRegression

    few = images.with_labels(keep=settings["labels"], seed=split)
    x, y = few.train
    told = y >= 0
    found = LogisticRegression(max_iter=2000).fit(x[:][told].numpy(), y[told].numpy())
    return {"test error %": 100 * (1 - float(found.score(few.test[0][:].numpy(), few.test[1].numpy())))}


def _seeded(make: Any, seed: int) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


if __name__ == "__main__":
    sys.exit(main())
