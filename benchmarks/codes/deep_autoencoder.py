"""Codes of 30 numbers: a network trained layer by layer and unrolled, beside principal components.

    python -m benchmarks.codes.deep_autoencoder            # writes results/codes-deep_autoencoder.json; resumes
    python -m benchmarks.codes.deep_autoencoder --quick    # a trial on small digits, seconds

MNIST, 784-1000-500-250-30 with a linear code: the layers by contrastive divergence on bits drawn from the grey levels,
means sent up, then the whole by Adam on the cross-entropy of the grey levels. The number of epochs and the weight decay
are chosen on 5,000 validation images. The error is the squared one, summed over pixels, mean over test images (Hinton
and Salakhutdinov, 2006: 3.00; 30 principal components of the training images 13.87).

Faces of 25 x 25 pixels (`faces25.npy`): 80 are learnt from, with their mirror images, each also moved by up to two
pixels; 20 are held out. 10 of the 80 choose the epoch.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import ppgen
from benchmarks.jobs import Job, begin
from benchmarks.undirected.measure import data_file
from ppgen import datasets, features, inference, models, training

SETTINGS: dict[str, Any] = {
    "hidden": (1000, 500, 250, 30),
    "pretraining": {"epochs": 20, "lr": (0.1, 0.1, 0.1, 0.001), "batch_size": 100},
    "momentum": 0.9,
    "weight_decay": 2e-4,
    "fine_tuning": {"epochs": 100, "lr": 1e-3, "lr_schedule": "linear", "batch_size": 100},
    "decays": {"plain": 0.0, "decay": 0.01, "more decay": 0.05},
    "faces": {"hidden": (400, 30), "epochs": 100, "lr": 1e-3, "level": 0.1, "shift": 2},
    "seed": 0,
}
QUICK: dict[str, Any] = {
    "hidden": (32, 16, 6),
    "pretraining": {"epochs": 1, "lr": (0.1, 0.1, 0.001), "batch_size": 100},
    "fine_tuning": {"epochs": 2, "lr": 1e-3, "lr_schedule": "linear", "batch_size": 100},
    "faces": {"hidden": (20, 6), "epochs": 1, "lr": 1e-3, "level": 0.1, "shift": 1},
}
SIDE, FACES = 25, 100
QUIET: dict[str, Any] = {"progress": False, "checkpoint_minutes": 2.0, "resume": "auto"}


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    quick = "--quick" in (sys.argv[1:] if arguments is None else arguments)
    settings = {**SETTINGS, **QUICK} if quick else SETTINGS
    job = begin(__spec__.name, __doc__, settings, arguments)
    mnist(job, settings)
    faces(job, settings)
    return 0


def mnist(job: Job, settings: Mapping[str, Any]) -> None:
    """Digits: principal components, the pretrained stack, one from a random start."""
    grey = job.images()
    codes = settings["hidden"][-1]
    job.row("mnist, principal components", lambda _: {"test error": components(_rows(job), grey.test, codes)})
    for name in settings["decays"]:
        job.row(f"mnist, pretrained, {name}", _of_digits(job, settings, grey, name, pretrained=True))
    chosen = max(settings["decays"], key=lambda name: -job.content["rows"][f"mnist, pretrained, {name}"]["valid error"])
    best = job.content["rows"][f"mnist, pretrained, {chosen}"]
    job.keep(mnist={"chosen": chosen, "test error": best["test error"], "published": 3.0})
    job.row(f"mnist, random start, {chosen}", _of_digits(job, settings, grey, chosen, pretrained=False))


def _of_digits(
    job: Job, settings: Mapping[str, Any], grey: datasets.Dataset, decay: str, *, pretrained: bool
) -> Callable[[Path], dict[str, Any]]:
    def measure(folder: Path) -> dict[str, Any]:
        torch.manual_seed(settings["seed"])
        sizes = grey.num_features, settings["hidden"]
        if pretrained:
            layers = job.folder / "layers"  # the same for every decay
            model = training.unroll(greedy(job.images(binarize="dynamic"), settings, layers), "cross-entropy")
        else:
            kinds = {"activation": "sigmoid", "code_activation": "linear", "likelihood": "cross-entropy"}
            model = models.Autoencoder(*sizes, **kinds)
        start = features.reconstruction_error(model, grey.test)
        optimizer = {"name": "adamw", "weight_decay": settings["decays"][decay]}
        options = {**settings["fine_tuning"], "optimizer": optimizer, "restore_best": True, "seed": settings["seed"]}
        run = ppgen.fit(model, grey, folder=folder, **options, **QUIET)
        return {
            "error before fine-tuning": start,
            "train error": features.reconstruction_error(model, grey.train[:10_000]),
            "valid error": features.reconstruction_error(model, grey.valid),
            "test error": features.reconstruction_error(model, grey.test),
            "best epoch": run.state["best_epoch"],
        }

    return measure


def greedy(bits: datasets.Dataset, settings: Mapping[str, Any], folder: Path) -> models.DBN:
    """A network with a linear code, trained layer by layer on means by contrastive divergence."""
    dbn = models.DBN(bits.num_features, settings["hidden"], top_units="gaussian")
    optimizer = {"name": "sgd", "momentum": settings["momentum"], "weight_decay": settings["weight_decay"]}
    # Small steps at first, as the lower momentum of the first epochs makes them.
    options = {**settings["pretraining"], "optimizer": optimizer, "lr_schedule": cautious, "seed": settings["seed"]}
    budget = {"num_particles": 2, "num_chains": 2, "betas": 10}  # the bounds are not asked for
    phase = inference.CD(1, centred=False)
    training.pretrain(dbn, bits, phase, activities="mean", folder=folder, **options, **budget, **QUIET)
    return dbn


def cautious(progress: float) -> float:
    """A fifth of the step size in the first tenth of training."""
    return 0.2 if progress < 0.1 else 1.0


def _rows(job: Job) -> Tensor:
    """All training images, those for validation too."""
    return job.images(valid_size=0).train[:]


def components(train: Tensor, test: Tensor, count: int) -> float:
    """Squared error of principal components fitted on some rows, of others: summed over features, mean over rows."""
    mean = train.double().mean(0)
    centred, held = train.double() - mean, test.double() - mean
    vectors = torch.linalg.eigh(centred.mT @ centred)[1][:, -count:]
    return float((held - held @ vectors @ vectors.mT).square().sum(1).mean())


def faces(job: Job, settings: Mapping[str, Any]) -> None:
    """Held-out faces: principal components of the same faces, and an autoencoder of more of them."""
    rows = pictures(job.quick, job.data_dir)
    shift, (_, valid, test) = settings["faces"]["shift"], of_pictures(rows)
    codes = settings["faces"]["hidden"][-1]
    job.row(
        "faces, principal components",
        lambda _: {
            "test error": components(rows[:80], test, codes),
            "test error, with mirrored and moved faces": components(moved(rows[:80], shift), test, codes),
        },
    )

    def measure(folder: Path) -> dict[str, Any]:
        model = of_faces(rows, settings, folder)
        return {
            "valid error": features.reconstruction_error(model, valid),
            "test error": features.reconstruction_error(model, test),
        }

    job.row("faces, autoencoder", measure)


def pictures(quick: bool, data_dir: str | None) -> Tensor:
    """Faces as rows of pixels, (faces, pixels); in a trial random ones."""
    if quick:
        return torch.rand(FACES, SIDE**2)
    return torch.from_numpy(np.load(data_file("faces25.npy", data_dir))[:FACES]).float().flatten(1)


def of_pictures(pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Faces to learn from, to choose the epoch by, and held out."""
    return pictures[:70], pictures[70:80], pictures[80:]


def of_faces(
    pictures: Tensor, settings: Mapping[str, Any], folder: Path, **options: Any
) -> models.DenoisingAutoencoder:
    """An autoencoder of faces, mirrored and moved, (pictures, pixels); its checkpoints lie in a folder."""
    torch.manual_seed(settings["seed"])
    given, (train, valid, _) = settings["faces"], of_pictures(pictures)
    data = datasets.load({"train": moved(train, given["shift"]), "valid": valid}, test_size=0)
    kinds: dict[str, Any] = {"activation": "tanh", "likelihood": "gaussian", "noise": "gaussian"}
    model = models.DenoisingAutoencoder(SIDE**2, given["hidden"], level=given["level"], **kinds)
    options |= {"epochs": given["epochs"], "lr": given["lr"], "lr_schedule": "linear", "batch_size": 50}
    ppgen.fit(model, data, restore_best=True, seed=settings["seed"], folder=folder, **options, **QUIET)
    return model


def moved(pictures: Tensor, shift: int) -> Tensor:
    """Pictures and their mirror images, each moved by up to `shift` pixels, their edges repeated: (rows, pixels)."""
    whole = pictures.reshape(-1, 1, SIDE, SIDE)
    wide = torch.nn.functional.pad(torch.cat([whole, whole.flip(-1)]), [shift] * 4, mode="replicate")
    places = range(2 * shift + 1)
    return torch.cat([wide[..., i : i + SIDE, j : j + SIDE] for i in places for j in places]).flatten(1)


if __name__ == "__main__":
    sys.exit(main())
