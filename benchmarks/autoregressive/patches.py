"""log p of patches of photographs, and of wines, by RNADE beside a Gaussian and a mixture of Gaussians.

    python -m benchmarks.autoregressive.patches                # writes results/autoregressive-patches.json; goes on
    python -m benchmarks.autoregressive.patches --rows wine    # the wines alone
    python -m benchmarks.autoregressive.patches --quick        # a trial, seconds

`patches`: white patches of 8 x 8 pixels less their mean, of two photographs (`datasets.load("photo_patches")`), whose
last number follows from the others: densities are of the first 63, in nats of these numbers. No pixel of a test patch
is in a training patch; patches of one split overlap, so that standard errors, which count them as independent, are
too small for each figure by itself; the differences are paired by patch. The Gaussian has a full covariance, the
mixture (scikit-learn) 20 of them, and the best of its starts and ridges by validation patches.

`wine`: the 178 wines of scikit-learn, 13 numbers, standardised by the training wines; ten folds, of each of which a
ninth of the training wines chooses settings and epoch. Nats of standardised numbers. RNADE's published figures are of
other wines.
"""

import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from benchmarks.autoregressive.training import NATS, Family, chosen, difference, kept, trained
from benchmarks.jobs import Job, begin
from ppgen import datasets

SETTINGS: dict[str, Any] = {"num_patches": 100_000, "numbers": 63, "folds": 10}
QUICK: dict[str, Any] = {"num_patches": 400, "numbers": 63, "folds": 2}
TRAINING: dict[str, Any] = {"lr_schedule": "cosine", "batch_size": 100, "compile": True, "epochs": 25}
MIXTURE = {"components": 20, "ridges": (1e-6, 1e-4), "starts": (0, 1)}
FEW_MIXTURE = {"components": 2, "ridges": (1e-4,), "starts": (0,)}

FAMILIES: dict[str, Family] = {
    f"patches, RNADE, {law}": Family(
        "RNADE",
        {"features": 63, "hidden": 256, "components": 10, "law": law},
        TRAINING,
        {f"step size {lr:g}": {"lr": lr} for lr in (0.001, 0.003)},
        trial_epochs=1,
    )
    for law in ("normal", "laplace")
}
QUICK_FAMILIES: dict[str, Family] = {
    "patches, RNADE, normal": Family(
        "RNADE",
        {"features": 63, "hidden": 4, "components": 2},
        {"batch_size": 100, "compile": False, "epochs": 1, "lr": 0.01},
    )
}
WINE = Family(
    "RNADE",
    {"features": 13, "hidden": 20, "components": 2, "minimum_scale": 0.1},
    {
        "batch_size": 50,
        "compile": False,
        "epochs": 150,
        "lr": 0.005,
        "lr_schedule": "cosine",
        "optimizer": {"name": "adamw", "weight_decay": 0.1},
    },
    {"1 component": {"model": {"components": 1}}, "2 components": {}},
)


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    quick = "--quick" in (sys.argv[1:] if arguments is None else arguments)
    settings = QUICK if quick else SETTINGS
    job = begin(__spec__.name, __doc__, settings, arguments)
    torch.set_num_threads(1)
    if job.wants_of("patches"):
        patches(job, settings, QUICK_FAMILIES if quick else FAMILIES)
    if job.wants_of("wine"):
        wine(job, settings)
    return 0


def patches(job: Job, settings: Mapping[str, Any], families: Mapping[str, Family]) -> None:
    """Rows of patches: the rivals, RNADE, and the differences."""
    found = datasets.load("photo_patches", size=8, num_patches=settings["num_patches"])
    cut = {split: torch.as_tensor(found.split(split)[:, : settings["numbers"]]) for split in ("train", "valid", "test")}
    arrays = {split: rows.double().numpy() for split, rows in cut.items()}
    rivals: dict[str, Callable[[], dict[str, Any]]] = {
        "patches, Gaussian": lambda: gaussian(arrays),
        "patches, mixture": lambda: mixture(arrays, FEW_MIXTURE if job.quick else MIXTURE),
    }
    for name, measure in rivals.items():
        if job.wants(name):
            job.row(name, _keeping(measure))
    data = datasets.load(cut)
    for name, family in families.items():
        chosen(job, name, family, data, kept(cut["test"]))
        for rival in rivals:
            both = [job.at(each) / NATS for each in (name, rival)]
            if job.wants(name) and all(path.exists() for path in both):
                job.row(
                    f"{name}, less {rival.partition(', ')[2]}", lambda _, both=both: difference(*map(np.load, both))
                )


def _keeping(measure: Callable[[], dict[str, Any]]) -> Callable[[Path], dict[str, Any]]:
    """Figures of a rival, whose log p of each row goes beside the checkpoints."""

    def run(folder: Path) -> dict[str, Any]:
        found = measure()
        folder.mkdir(parents=True, exist_ok=True)
        each = found.pop("each")
        np.save(folder / NATS, each)
        return {**found, "nats": {"value": float(each.mean()), "data_se": float(each.std(ddof=1) / np.sqrt(len(each)))}}

    return run


def gaussian(rows: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """A Gaussian with the mean and the full covariance of the training rows."""
    mean, covariance = rows["train"].mean(0), np.cov(rows["train"].T, bias=True)
    law = torch.distributions.MultivariateNormal(torch.from_numpy(mean), torch.from_numpy(covariance))
    return {"each": law.log_prob(torch.from_numpy(rows["test"])).numpy()}


def mixture(rows: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> dict[str, Any]:
    """A mixture of Gaussians with full covariances, the best on validation rows of several starts and ridges."""
    tried = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # told in the record
        for ridge in settings["ridges"]:
            for start in settings["starts"]:
                tried[ridge, start] = GaussianMixture(
                    settings["components"], reg_covar=ridge, random_state=start, max_iter=200
                ).fit(rows["train"])
    valid = {key: float(each.score(rows["valid"])) for key, each in tried.items()}
    best = max(valid, key=lambda key: valid[key])
    return {
        "components": settings["components"],
        "valid nats": valid[best],
        "tried": {f"ridge {ridge:g}, start {start}": value for (ridge, start), value in valid.items()},
        "converged": bool(tried[best].converged_),
        "each": tried[best].score_samples(rows["test"]),
    }


def wine(job: Job, settings: Mapping[str, Any]) -> None:
    """Rows of wines: each way over all folds, the nats of all wines together."""
    data = load_wine().data[np.random.default_rng(0).permutation(178)]
    folds = [_fold(data, index, settings["folds"]) for index in range(settings["folds"])]
    few = {"components": 2, "ridges": (0.01, 0.1, 1.0), "starts": (0,)}
    ways: dict[str, Callable[[Path], np.ndarray]] = {
        "wine, Gaussian": lambda _: np.concatenate([gaussian(fold)["each"] for fold in folds]),
        "wine, mixture of 2": lambda _: np.concatenate([mixture(fold, few)["each"] for fold in folds]),
        "wine, RNADE": lambda folder: np.concatenate(
            [rnade(fold, folder / str(index), job.quick) for index, fold in enumerate(folds)]
        ),
    }
    for name, way in ways.items():
        if job.wants(name):
            job.row(name, _keeping_folds(way))


def _keeping_folds(way: Callable[[Path], np.ndarray]) -> Callable[[Path], dict[str, Any]]:
    return lambda folder: _keeping(lambda: {"each": way(folder)})(folder)


def _fold(data: np.ndarray, index: int, folds: int) -> dict[str, np.ndarray]:
    """Standardised training, validation and test rows of a fold."""
    parts = np.array_split(data, folds)
    rest = np.concatenate(parts[:index] + parts[index + 1 :])
    valid, train = np.split(rest, [len(rest) // 9])
    mean, scale = train.mean(0), train.std(0)
    return {name: (rows - mean) / scale for name, rows in (("train", train), ("valid", valid), ("test", parts[index]))}


def rnade(fold: Mapping[str, np.ndarray], folder: Path, quick: bool) -> np.ndarray:
    """log p of the test rows of a fold by the candidate with the best validation rows."""
    rows: dict[str, Any] = {split: torch.from_numpy(part).float() for split, part in fold.items()}
    data, tried = datasets.load(rows), {}
    for candidate in WINE.candidates:
        settings = WINE.settings(candidate, 2 if quick else WINE.training["epochs"], 0)
        model, about = trained(settings, data, folder / candidate.replace(" ", "-"))
        tried[about["valid nats"]] = model
    with torch.no_grad():
        return np.asarray(tried[max(tried)].law().log_prob(rows["test"]))


if __name__ == "__main__":
    sys.exit(main())
