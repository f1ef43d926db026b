"""What the figures of conditional and latent-variable models are drawn from: arrays and settings, one file a record.

    python -m benchmarks.conditional.figure_records                   # trains what is not in benchmarks/results yet
    python -m benchmarks.conditional.figure_records quadrants --again  # one of them, anew
    python -m benchmarks.conditional.figure_records --quick           # a trial; writes to runs/benchmarks

Each file, `conditional-figure-NAME.npz`, holds numpy arrays, images as whole numbers from 0 to 255, and, as text, a
JSON object of settings and numbers. Each model trains for a minute or so on one core.
`python -m benchmarks.conditional.figures` draws from them and trains nothing.
"""

import sys
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

import ppgen
from benchmarks.conditional.digit_classifier import judge
from benchmarks.figure_store import Found, Store
from ppgen import datasets, features, models
from ppgen.diagnostics.figures.latent_grid import moved_latents, plane
from ppgen.diagnostics.figures.nearest import nearer
from ppgen.training import ImageClassifier, fit_image_classifier

QUIET: dict[str, Any] = {"progress": False, "compile": False, "batch_size": 200, "lr_schedule": "linear", "seed": 0}
LR = 2e-3
GIVEN, SHOWN, DRAWS = 1, 12, 6
QUADRANTS: dict[str, Any] = {"latent": 50, "hidden": (300, 300)}
STYLES: dict[str, Any] = {"latent": 4, "hidden": (300,)}
PLANE: dict[str, Any] = {"latent": 2, "hidden": (300, 100)}
CODES: dict[str, Any] = {"latent": 10, "hidden": (300,)}
EPOCHS = {"quadrants": 14, "styles": 8, "plane": 12, "vae": 10, "autoencoder": 6}
SIDE, STEPS, SPAN, MOVED = 16, 11, 3.0, 8
SAMPLES, NEAREST, PAIRS = 2_000, 3, 8


def quadrants(quick: bool, data_dir: str | None) -> Found:
    """A conditional VAE that is given the lower left quadrant: what is given, its completions, and the digits."""
    data = bits(quick, data_dir).split_quadrants(GIVEN)
    covariates, outputs = (part.shape[1] for part in data.test)
    net = made(lambda: models.ConditionalVAE(covariates, outputs, **QUADRANTS))
    run = ppgen.fit(net, data, epochs=epochs("quadrants", quick), lr=1e-3, **QUIET)
    chosen = one_of_each(data.rows, SHOWN)
    given, rest = (part[chosen] for part in data.test)
    drawn = ppgen.sample(run.pair, DRAWS, covariates=given, seed=1).means
    missing = torch.full_like(rest, torch.nan)
    arrays = {
        "given": np.nan_to_num(data.whole(given, missing).numpy() * 255, nan=-1).astype(np.int16),
        "draws": grey(data.whole(given.expand(DRAWS, -1, -1).flatten(0, 1), drawn.flatten(0, 1))),
        "whole": grey(data.whole(given, rest)),
    }
    return arrays, {**QUADRANTS, "epochs": epochs("quadrants", quick), "side": side(data.rows)}


def styles(quick: bool, data_dir: str | None) -> Found:
    """A class-conditional VAE: the styles of test digits, each in all ten classes."""
    data = bits(quick, data_dir)
    pairs = data.given_labels()
    net = made(lambda: models.ClassConditionalVAE(data.num_features, 10, **STYLES))
    ppgen.fit(net, pairs, epochs=epochs("styles", quick), lr=LR, **QUIET)
    chosen = one_of_each(data, 10)
    classes, rows = (part[chosen] for part in pairs.test)
    z = features.encode(net, (classes, rows), site="z")
    every = torch.eye(10).repeat(len(rows), 1)
    again = features.decode(net, z.repeat_interleave(10, 0), (every, rows.repeat_interleave(10, 0)))
    judged = classifier(quick, data_dir)
    many = torch.eye(10).repeat(100, 1)
    noise = torch.randn(len(many), z.shape[1], generator=seeded(0))
    read = judged.predict(features.decode(net, noise, (many, torch.zeros(len(many), data.num_features))))
    arrays = {"whole": grey(rows), "styles": grey(again)}
    about = {"epochs": epochs("styles", quick), "side": side(data)}
    return arrays, {**STYLES, **about, "read back": float((read == many.argmax(1)).double().mean())}


def latents(quick: bool, data_dir: str | None) -> Found:
    """A VAE with two latents over their plane, and one of ten with each of its latents moved alone."""
    data = bits(quick, data_dir)
    net = made(lambda: models.VAE(data.num_features, **PLANE))
    ppgen.fit(net, data, epochs=epochs("plane", quick), lr=LR, **QUIET)
    arrays = {"plane": grey(torch.from_numpy(plane(net, SIDE)))}
    larger = vae(quick, data_dir)
    whole = data.test[one_of_each(data, 10)[3:4]]
    code = features.encode(larger, whole)[0]
    spread = features.encode(larger, data.test[:SAMPLES]).std(0)
    used = spread.argsort(descending=True)[:MOVED].tolist()
    rows, moved, values = moved_latents(larger, code, used, SPAN, STEPS)
    arrays |= {"moved": grey(torch.from_numpy(rows)), "whole": grey(whole)}
    about = {"plane": PLANE, "codes": CODES, "epochs": {name: epochs(name, quick) for name in ("plane", "vae")}}
    told = {"moved": moved, "values": values, "spread": spread[used].tolist(), "side": side(data)}
    return arrays, about | told


def decoders(quick: bool, data_dir: str | None) -> Found:
    """An autoencoder and a VAE of the same nets: reconstructions, decoded noise, and what is nearest to the draws."""
    data = bits(quick, data_dir)
    greys = datasets.load("digits") if quick else datasets.load("mnist", root=data_dir)
    nets = {"VAE": vae(quick, data_dir)}
    hidden, code = CODES["hidden"], CODES["latent"]
    settings = {"hidden": (*hidden, code), "likelihood": "cross-entropy"}
    nets["autoencoder"] = made(lambda: models.Autoencoder(data.num_features, **settings))
    ppgen.fit(nets["autoencoder"], data, epochs=epochs("autoencoder", quick), lr=LR, **QUIET)
    judged = classifier(quick, data_dir)
    noise = torch.randn(SAMPLES, code, generator=seeded(0))
    chosen = one_of_each(data, 20)
    arrays, about = {"whole": grey(data.test[chosen])}, {}
    draws = {}
    for name, net in nets.items():
        codes = features.encode(net, data.test)
        draws[name] = features.decode(net, noise)
        drawn = {"noise": draws[name], "scaled": features.decode(net, codes.mean(0) + codes.std(0) * noise)}
        arrays |= {f"{name} {kind}": grey(each[:20]) for kind, each in drawn.items()}
        arrays[f"{name} again"] = grey(features.reconstruct(net, data.test[chosen]))
        about[name] = {
            "none": {kind: share_of_none(judged, each) for kind, each in drawn.items()},
            "error": features.reconstruction_error(net, data.test),
            "spread": [float(codes.std(0).min()), float(codes.std(0).max())],
        }
    about["data none"] = share_of_none(judged, greys.test[:])
    near, told = neighbours(draws["VAE"], greys, judged)
    settings = {**CODES, "epochs": {name: epochs(name, quick) for name in ("vae", "autoencoder")}}
    return arrays | near, {**settings, **about, "nearest": told, "side": side(data)}


def neighbours(drawn: Tensor, data: datasets.Dataset, judged: ImageClassifier) -> Found:
    """Draws and test rows, what training rows are nearest to them, in pixels and in features of the classifier."""
    held_out = data.test[: len(drawn)]
    arrays, told = {}, {}
    train = data.train[:]
    spaces = {"pixels": lambda rows: rows, "features": judged.features}
    for space, seen in spaces.items():
        among, distances = seen(train), {}
        for name, rows in (("draws", drawn), ("held out", held_out)):
            found = features.nearest_rows(seen(rows), among, NEAREST)
            arrays[f"{space} {name} near"] = grey(train[found.indices[:SHOWN].flatten()])
            distances[name] = found.distances[:, 0].numpy()
            arrays[f"{space} {name} distances"] = distances[name].astype(np.float16)
        told[space] = nearer(distances["draws"], distances["held out"])
    arrays |= {"draws": grey(drawn[:SHOWN]), "held out": grey(held_out[:SHOWN])}
    return arrays, told


def pixels(quick: bool, data_dir: str | None) -> Found:
    """Digits, the same shifted by one pixel, and digits of other classes that are nearer to them than that."""
    data = datasets.load("digits") if quick else datasets.load("mnist", root=data_dir)
    width, train = side(data), data.train[:]
    labels = {name: torch.as_tensor(np.asarray(each)) for name, each in (data.labels or {}).items()}
    rows, classes = data.test[:SAMPLES], labels["test"][:SAMPLES]
    shifted = rows.reshape(-1, width, width).roll(1, 2)
    shifted[:, :, 0] = 0
    shifted = shifted.flatten(1)
    judged = classifier(quick, data_dir)
    shares, found = {}, {}
    for space, seen in {"pixels": lambda each: each, "features": judged.features}.items():
        own = (seen(rows) - seen(shifted)).square().sum(1)
        other, which = torch.full_like(own, torch.inf), torch.zeros(len(rows), dtype=torch.long)
        for label in range(10):
            here, there = classes == label, (labels["train"] != label).nonzero().flatten()
            if here.any():
                near = features.nearest_rows(seen(rows[here]), seen(train[there]))
                other[here], which[here] = near.distances[:, 0], there[near.indices[:, 0]]
        shares[space] = float((other < own).double().mean())
        found[space] = own, other, which
    own, other, which = found["pixels"]
    ratio = (own / other).masked_fill(~own.isfinite(), 0)
    chosen = [int((ratio * (classes == label)).argmax()) for label in range(10) if (classes == label).any()]
    chosen = sorted(chosen, key=lambda row: -float(ratio[row]))[:PAIRS]
    arrays = {"digits": grey(rows[chosen]), "shifted": grey(shifted[chosen]), "others": grey(train[which[chosen]])}
    arrays |= {"own": own[chosen].numpy(), "other": other[chosen].numpy()}
    labelled = {"labels": classes[chosen].tolist(), "other labels": labels["train"][which[chosen]].tolist()}
    return arrays, {"share nearer": shares, "rows": len(rows), "side": width, **labelled}


@cache
def vae(quick: bool, data_dir: str | None) -> Any:
    """The VAE of ten latents that several records show, trained."""
    data = bits(quick, data_dir)
    net = made(lambda: models.VAE(data.num_features, **CODES))
    ppgen.fit(net, data, epochs=epochs("vae", quick), lr=LR, **QUIET)
    return net


def classifier(quick: bool, data_dir: str | None) -> ImageClassifier:
    """The classifier of `benchmarks.conditional.digit_classifier`, or in a trial one of a second."""
    if not quick:
        return judge()
    return fit_image_classifier(datasets.load("digits"), epochs=1, copies=0, progress=False, compile=False)


def share_of_none(judged: ImageClassifier, rows: Tensor) -> float:
    """Share of images that are of no class."""
    return float((judged.predict(rows) == judged.none).double().mean())


def bits(quick: bool, data_dir: str | None) -> datasets.Dataset:
    """MNIST, or in a trial the small digits, whose bits are drawn anew in each epoch."""
    name, root = ("digits", None) if quick else ("mnist", data_dir)
    return datasets.load(name, root=root, binarize="dynamic")


def epochs(name: str, quick: bool) -> int:
    """Epochs of a model."""
    return 1 if quick else EPOCHS[name]


def one_of_each(data: datasets.Dataset, count: int) -> list[int]:
    """Test rows of the classes 0, 1, 2 and so on, the first of each, then the second."""
    labels = np.asarray((data.labels or {})["test"])
    return [int((labels == number % 10).nonzero()[0][number // 10]) for number in range(count)]


def side(data: datasets.Dataset) -> int:
    """Pixels of a side."""
    return round(data.num_features**0.5)


def grey(rows: Tensor) -> np.ndarray:
    """Images within [0, 1] as whole numbers from 0 to 255."""
    return (rows.detach().clamp(0, 1) * 255).round().numpy().astype(np.uint8)


def made(make: Any) -> Any:
    """A model with the weights of one seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make()


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


STORE = Store(
    "benchmarks.conditional.figure_records",
    "conditional-figure",
    {"quadrants": quadrants, "styles": styles, "latents": latents, "decoders": decoders, "pixels": pixels},
)
path_of, read = STORE.path_of, STORE.read


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    return STORE.main(__doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
