"""Errors of semi-supervised autoencoders (M2, M1+M2) with few labels.

    python -m benchmarks.semi_supervised.few_labels mnist     # 100 labels, 5 splits, M1 shared; goes on where it was
    python -m benchmarks.semi_supervised.few_labels digits    # 50 labels beside logistic regression
    python -m benchmarks.semi_supervised.few_labels mnist --quick    # a trial on small digits

Every split of labels is a row, kept in the record as soon as it is measured; M1, one autoencoder without labels, serves
all splits. Weights of the label term are chosen by the errors of the first split on validation rows; figures are errors
on test rows, in per cent. Rows are binarised by drawing (MNIST) or at one half (digits).
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import ppgen
from benchmarks import record
from benchmarks.jobs import Job
from ppgen import datasets, inference, models

SETTINGS: dict[str, dict[str, Any]] = {
    "mnist": {
        "labels": 100,
        "splits": 5,
        "in_batch": 50,
        "autoencoder": {"latent": 50, "hidden": (500,), "epochs": 60, "lr": 1e-3},
        "latent": 50,
        "hidden": (500,),
        "training": {"epochs": 60, "lr": 1e-3, "batch_size": 200},
        "weights": (0.1, 1.0),
    },
    "digits": {
        "labels": 50,
        "splits": 5,
        "in_batch": 30,
        "autoencoder": {"latent": 10, "hidden": (128,), "epochs": 60, "lr": 3e-3},
        "latent": 8,
        "hidden": (64,),
        "training": {"epochs": 100, "lr": 1e-2, "batch_size": 128},
        "weights": (0.1, 1.0, 5.0),
    },
}
QUICK: dict[str, Any] = {"labels": 50, "splits": 1, "weights": (1.0,)}
KINDS = ("M2", "M1+M2")


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=sorted(SETTINGS))
    parser.add_argument("--data-dir", help="folder of the data, as PPGEN_DATA names it")
    parser.add_argument("--quick", action="store_true", help="one split and two epochs of small digits")
    parser.add_argument("--results", type=Path, help="where the record is written")
    given = parser.parse_args(arguments)
    settings: dict[str, Any] = dict(SETTINGS[given.data])
    if given.quick:
        short = {name: {**settings[name], "epochs": 2} for name in ("autoencoder", "training")}
        settings |= QUICK | short | {"hidden": (16,), "latent": 2}
    runs = record.ROOT / "runs" / "benchmarks"
    label = f"semi_supervised-{given.data}" + ("-quick" if given.quick else "")
    path = (given.results or (runs if given.quick else record.RESULTS)) / f"{label}.json"
    content = {"kind": "semi-supervised", "settings": json.loads(json.dumps(settings))}
    content["command"] = f"python -m benchmarks.semi_supervised.few_labels {given.data}"
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        if before["settings"] != content["settings"]:
            raise SystemExit(f"{path} was measured with other settings: remove it to begin anew.")
        content = before
    small = given.quick or given.data == "digits"
    job = Job(label, small, given.data_dir, (given.results or runs) / label, path, content)
    measure(job, settings)
    return 0


def measure(job: Job, settings: Mapping[str, Any]) -> None:
    """All rows of a job, and the mean error of each kind of model over its splits."""
    images = job.images(binarize="threshold" if job.quick else "dynamic")
    below = _autoencoder(job, settings, images)
    chosen: dict[str, float] = {}
    for kind in KINDS:
        trials = {
            weight: job.row(f"{kind} weight {weight:g} split 0", _row(settings, images, below, kind, weight, 0))
            for weight in settings["weights"]
        }
        chosen[kind] = min(trials, key=lambda weight, trials=trials: trials[weight]["valid error %"])
        for split in range(1, settings["splits"]):
            name = f"{kind} weight {chosen[kind]:g} split {split}"
            job.row(name, _row(settings, images, below, kind, chosen[kind], split))
    for split in range(settings["splits"]):
        job.row(f"logistic regression split {split}", lambda _, split=split: _regression(settings, images, split))
    rows, means = job.content["rows"], {}
    for kind in (*KINDS, "logistic regression"):
        own = f"{kind} weight {chosen[kind]:g} split " if kind in chosen else f"{kind} split "
        errors = torch.tensor([row["test error %"] for name, row in rows.items() if name.startswith(own)])
        spread = float(errors.std()) if len(errors) > 1 else 0.0
        means[kind] = {"test error %": float(errors.mean()), "sd": spread, "splits": len(errors)}
        print(f"{kind}: {means[kind]['test error %']:.2f} % (sd {spread:.2f}, {len(errors)} splits)")
    job.keep(means=means, chosen=chosen)


def _autoencoder(job: Job, settings: Mapping[str, Any], images: datasets.Dataset) -> models.VAE:
    """M1, trained once for all splits, or gone on with."""
    given = dict(settings["autoencoder"])
    training = {name: given.pop(name) for name in ("epochs", "lr")}
    vae = _seeded(lambda: models.VAE(images.num_features, **given), 0)
    ppgen.fit(vae, images, seed=0, progress=False, folder=job.folder / "M1", resume="auto", **training)
    return vae


def _row(
    settings: Mapping[str, Any], images: datasets.Dataset, below: models.VAE, kind: str, weight: float, split: int
) -> Any:
    """Train one model on one split of labels, or go on with it, and give its errors."""

    def measured(folder: Path) -> dict[str, float]:
        sizes = {"latent": settings["latent"], "hidden": settings["hidden"]}
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
        options = {"seed": split, "progress": False, "folder": folder, "resume": "auto"}
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
