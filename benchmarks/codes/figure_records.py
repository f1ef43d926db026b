"""What the figures of codes are drawn from: arrays and settings, one file a figure.

    python -m benchmarks.codes.figure_records                # trains what is not in benchmarks/results yet; minutes
    python -m benchmarks.codes.figure_records faces --again  # one of them, anew
    python -m benchmarks.codes.figure_records --quick        # a trial on small data; writes to runs/benchmarks

Each file, `figure-NAME.npz`, holds numpy arrays and, as text, a JSON object of settings and numbers.
`python -m benchmarks.codes.figures` draws from them and trains nothing.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import ppgen
from benchmarks.codes import deep_autoencoder, dictionary, patches
from benchmarks.faces.features import orientation
from benchmarks.figure_store import Found, Store
from ppgen import datasets, features, models
from ppgen.datasets.photo_patches import photo_whitening
from ppgen.nn import Lasso

TERMS, LINES = 3, 3  # atoms of a sum, and patches that are shown as sums
LEVELS = (0.0, 0.25, 0.5)
SHOWN = 49  # filters of each level
UNITS, FILTER_EPOCHS, FILTER_LR, ROWS = 100, 15, 5e-3, 10_000
DEEP: dict[str, Any] = {"hidden": (128, 32, 2), "activation": "relu", "likelihood": "cross-entropy"}
CODE_EPOCHS, CODE_LR, POINTS = 30, 2e-3, 2_000
FACE_EPOCHS = 40  # fewer than those of the job, for a picture
QUIET: dict[str, Any] = {"progress": False, "compile": False, "batch_size": 100, "lr_schedule": "linear", "seed": 0}


def bases(quick: bool, data_dir: str | None) -> Found:
    """A dictionary of patches of photographs; patches that three of its atoms explain best."""
    size = patches.SIZE
    shared = dictionary.settings(quick)
    rows = dictionary.cut("split", quick)
    way = {"forgetting_rate": 0.6, "sweeps": 20}
    atoms, _ = dictionary.ours(rows.train, way, shared, dictionary.all_steps(rows, shared))
    codes = (
        Lasso(torch.from_numpy(rows.test).double(), torch.from_numpy(atoms.copy()), shared["penalty"]).solve().numpy()
    )
    explained = shares(rows.test, atoms, codes)
    energy = np.square(rows.test).sum(1)
    chosen = np.where(energy > np.median(energy), explained, -1.0).argsort()[::-1]
    apart = _apart(rows.test[chosen], LINES)
    chosen = chosen[apart]
    noise = orientation(np.random.default_rng(0).normal(size=(dictionary.NOISE, size, size)))
    power = orientation(atoms.T.reshape(-1, size, size))
    used = (codes != 0).sum(0)
    arrays = {
        "atoms": atoms[:, np.argsort(-used, kind="stable")].astype(np.float32),
        "inverse": photo_whitening(size).inverse.astype(np.float32),
        "patches": rows.test[chosen],
    }
    arrays["codes"] = codes[chosen][:, np.argsort(-used, kind="stable")].astype(np.float32)
    about = {key: shared[key] for key in ("atoms", "penalty", "batch_size", "epochs")} | way
    return arrays, about | {
        "train": len(rows.train),
        "test": len(rows.test),
        "nonzero": float((codes != 0).sum(1).mean()),
        "dead": int((used == 0).sum()),
        "oriented": float((power > np.quantile(noise, dictionary.QUANTILE)).mean()),
        "explained by three": {"chosen": explained[chosen].tolist(), "median": float(np.median(explained))},
    }


def shares(rows: np.ndarray, atoms: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Share of each row's square that its three largest codes explain, (rows,)."""
    largest = np.abs(codes).argsort(1)[:, :-TERMS]
    few = codes.copy()
    np.put_along_axis(few, largest, 0.0, axis=1)
    return 1 - np.square(rows - few @ atoms.T).sum(1) / np.square(rows).sum(1)


def _apart(rows: np.ndarray, count: int) -> list[int]:
    """The first rows of which no two are alike, up to their sign, as patches of neighbouring places are."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    taken: list[int] = []
    for number, each in enumerate(unit):
        if all(abs(float(each @ unit[other])) < 0.4 for other in taken):
            taken.append(number)
        if len(taken) == count:
            break
    return taken


def faces(quick: bool, data_dir: str | None) -> Found:
    """Held-out faces, and what an autoencoder and principal components make of them."""
    settings = {**deep_autoencoder.SETTINGS, **deep_autoencoder.QUICK} if quick else deep_autoencoder.SETTINGS
    if not quick:
        settings = {**settings, "faces": {**settings["faces"], "epochs": FACE_EPOCHS}}
    pictures = deep_autoencoder.pictures(quick, data_dir)
    with tempfile.TemporaryDirectory() as folder:
        model = deep_autoencoder.of_faces(pictures, settings, Path(folder), compile=False)
    train, valid, test = deep_autoencoder.of_pictures(pictures)
    seen = torch.cat([train, valid])
    codes = settings["faces"]["hidden"][-1]
    rebuilt = principal(seen, test, codes)
    arrays = {
        "data": test.numpy(),
        "autoencoder": features.reconstruct(model, test).numpy(),
        "components": rebuilt.float().numpy(),
    }
    errors = {
        "autoencoder": features.reconstruction_error(model, test),
        "components": deep_autoencoder.components(seen, test, codes),
        "components, moved": deep_autoencoder.components(
            deep_autoencoder.moved(seen, settings["faces"]["shift"]), test, codes
        ),
    }
    return {key: value.astype(np.float16) for key, value in arrays.items()}, {
        **settings["faces"],
        "errors": errors,
        "train": len(train),
        "valid": len(valid),
        "test": len(test),
    }


def principal(train: Tensor, rows: Tensor, count: int) -> Tensor:
    """Rows projected onto principal components of others: mean + V V' (x - mean)."""
    mean = train.double().mean(0)
    centred = train.double() - mean
    vectors = torch.linalg.eigh(centred.mT @ centred)[1][:, -count:]
    return mean + (rows.double() - mean) @ vectors @ vectors.mT


def filters(quick: bool, data_dir: str | None) -> Found:
    """Weights of a layer of denoising autoencoders, at three levels of noise."""
    data = digits(quick, data_dir)
    train, side = data.train[: 500 if quick else ROWS], round(data.num_features**0.5)
    arrays, about = {}, {}
    for level in LEVELS:
        torch.manual_seed(0)
        model = models.DenoisingAutoencoder(
            data.num_features,
            (16 if quick else UNITS,),
            noise="masking",
            level=level,
            tied=True,
            activation="sigmoid",
            code_activation="sigmoid",
            likelihood="cross-entropy",
        )
        ppgen.fit(model, train, epochs=1 if quick else FILTER_EPOCHS, lr=FILTER_LR, **QUIET)
        weights = model.encoder_layers()[0][0].detach().T.numpy()
        if weights.shape[1] != data.num_features:
            weights = weights.T
        largest = np.linalg.norm(weights, axis=1).argsort()[::-1][:SHOWN]
        name = f"{level:.0%}"
        arrays[name] = weights[largest].astype(np.float16)
        about[name] = {
            "error": features.reconstruction_error(model, data.test),
            "oriented": float(np.median(orientation(weights.reshape(-1, side, side)))),
            "pixels": float(np.median(extent(weights))),
        }
    settings = {"units": UNITS, "epochs": FILTER_EPOCHS, "lr": FILTER_LR, "train": len(train), "side": side}
    return arrays, {**settings, "levels": about}


def extent(weights: np.ndarray) -> np.ndarray:
    """Pixels over which each filter's power is spread, (sum w^2)^2 / sum w^4: 1 for a point, all for a constant."""
    power = np.square(weights)
    return power.sum(1) ** 2 / np.square(power).sum(1)


def codes(quick: bool, data_dir: str | None) -> Found:
    """Codes of two numbers: a deep autoencoder's and principal components'."""
    data = digits(quick, data_dir)
    torch.manual_seed(0)
    model = models.Autoencoder(data.num_features, **DEEP)
    train = data.train[: 500 if quick else ROWS]
    ppgen.fit(model, train, epochs=1 if quick else CODE_EPOCHS, lr=CODE_LR, **QUIET)
    test, labels = data.test[:], np.asarray(data.labels["test"])
    mean = train.double().mean(0)
    vectors = torch.linalg.eigh((train.double() - mean).mT @ (train.double() - mean))[1][:, -2:].flip(1)
    found = {
        "autoencoder": features.encode(model, test).numpy(),
        "principal components": ((test.double() - mean) @ vectors).numpy(),
    }
    errors = {
        "autoencoder": features.reconstruction_error(model, test),
        "principal components": deep_autoencoder.components(train, test, 2),
    }
    about = {name: {"error": errors[name], "same": same_class(each, labels)} for name, each in found.items()}
    arrays = {name: each[:POINTS].astype(np.float32) for name, each in found.items()}
    arrays["labels"] = labels[:POINTS].astype(np.uint8)
    settings = {**DEEP, "epochs": CODE_EPOCHS, "lr": CODE_LR, "train": len(train), "test": len(test)}
    return arrays, {**settings, "codes": about}


def same_class(points: np.ndarray, labels: np.ndarray) -> float:
    """Share of points whose nearest other point is of their class."""
    rows = torch.from_numpy(np.asarray(points, dtype=np.float64))
    right = 0
    for start in range(0, len(rows), 1000):
        distances = torch.cdist(rows[start : start + 1000], rows)
        distances[torch.arange(len(distances)), torch.arange(start, start + len(distances))] = torch.inf
        nearest = distances.argmin(1).numpy()
        right += int((labels[nearest] == labels[start : start + 1000]).sum())
    return right / len(rows)


def digits(quick: bool, data_dir: str | None) -> datasets.Dataset:
    """MNIST, or in a trial the small digits."""
    return datasets.load("digits") if quick else datasets.load("mnist", data_dir)


STORE = Store(
    "benchmarks.codes.figure_records", "figure", {"bases": bases, "faces": faces, "filters": filters, "codes": codes}
)
path_of, read = STORE.path_of, STORE.read


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    return STORE.main(__doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
