"""Gaussian machines beside Gaussians and mixtures of Gaussians: test log-likelihood of image patches.

Patches of 8 x 8 pixels of faces: 70 faces for training, 10 for validation, 20 for the test. A patch has its mean taken
away, is divided by its contrast, and is whitened by the principal components of the training patches, the 64th of which
is nothing. The densities of all models are of these 63 numbers.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.mixture import GaussianMixture

import ppgen
from benchmarks.undirected.rows import best, row
from ppgen import evaluation, inference, models

SIZE, CONTRAST, FACES = 8, 0.1, 100
SPLIT, ROWS = (70, 80), (15_000, 2_000, 4_000)
HIDDEN = 16
Score = Callable[[np.ndarray], np.ndarray]


def measure(path: Path, quick: bool) -> dict[str, Any]:
    """Test log p(x) of each model in nats per patch."""
    train, valid, test = patches(np.load(path)[:FACES].astype(np.float64), (200, 100, 100) if quick else ROWS)
    rows, validation = [], {}
    scores: dict[str, np.ndarray] = {}
    size = machine_size(train.shape[1], HIDDEN)
    for name, candidates in models_of(train, size, quick).items():
        tried: dict[str, tuple[Score, int]] = {setting: make() for setting, make in candidates.items()}
        validation[name] = {setting: float(score(valid).mean()) for setting, (score, _) in tried.items()}
        setting = best(validation[name], largest=True)
        score, parameters = tried[setting]
        scores[name] = score(test)
        print(name, validation[name], scores[name].mean(), flush=True)
        rows.append(row(name, scores[name], parameters, setting=setting))
    return {
        "size": SIZE,
        "contrast": CONTRAST,
        "patches": {"train": len(train), "valid": len(valid), "test": len(test)},
        "rows": rows,
        "differences": [row(f"{OURS} above {name}", scores[OURS] - scores[name]) for name in scores if name != OURS],
        "validation": validation,
    }


def patches(images: np.ndarray, rows: tuple[int, int, int]) -> list[np.ndarray]:
    """Whitened patches of three groups of images."""
    generator = np.random.default_rng(0)
    groups = np.split(images[generator.permutation(len(images))], [round(len(images) * at / FACES) for at in SPLIT])
    cut = []
    for group, count in zip(groups, rows, strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(group, (SIZE, SIZE), axis=(1, 2)).reshape(-1, SIZE * SIZE)
        chosen = windows[generator.permutation(len(windows))[:count]]
        chosen = chosen - chosen.mean(1, keepdims=True)
        cut.append(chosen / np.sqrt(chosen.var(1, keepdims=True) + CONTRAST**2))
    mean, (variances, directions) = cut[0].mean(0), np.linalg.eigh(np.cov(cut[0].T))
    whitening = directions[:, 1:] / np.sqrt(variances[1:])  # the first is that of the means, which are gone
    return [((each - mean) @ whitening).astype(np.float32) for each in cut]


def machine_size(visible: int, hidden: int) -> int:
    """Parameters of a Gaussian machine whose variances are learned."""
    return visible * hidden + hidden + 2 * visible


OURS = "GaussianRBM, variances learned"


def models_of(train: np.ndarray, size: int, quick: bool) -> Mapping[str, Mapping[str, Callable[[], tuple[Score, int]]]]:
    """What is compared: candidates by setting; mixtures have no fewer parameters than the machine."""
    visible = train.shape[1]
    diagonal, spherical = -(-size // (2 * visible + 1)), -(-size // (visible + 2))
    epochs = (1,) if quick else (8, 24)
    return {
        "Gaussian": {"full covariance": lambda: mixture(train, "full", 1)},
        "mixture, diagonal": {f"{diagonal} components": lambda: mixture(train, "diag", diagonal)},
        "mixture, spherical": {f"{spherical} components": lambda: mixture(train, "spherical", spherical)},
        "mixture, full": {"2 components": lambda: mixture(train, "full", 2)},
        "GaussianRBM, unit variances": {
            f"{HIDDEN} units, {count} epochs": (lambda count=count: machine(train, False, count)) for count in epochs
        },
        OURS: {
            f"{HIDDEN} units, {count} epochs": (lambda count=count: machine(train, True, count)) for count in epochs
        },
    }


def mixture(train: np.ndarray, covariance: str, components: int) -> tuple[Score, int]:
    """scikit-learn's mixture of Gaussians."""
    made = GaussianMixture(components, covariance_type=covariance, max_iter=200, random_state=0).fit(train)
    return made.score_samples, int(made._n_parameters())


def machine(train: np.ndarray, learn_variance: bool, epochs: int) -> tuple[Score, int]:
    """A Gaussian machine by persistent contrastive divergence; its log p is exact."""
    torch.manual_seed(0)
    made = models.GaussianRBM(train.shape[1], HIDDEN, learn_variance)
    how: Mapping[str, Any] = {"epochs": epochs, "batch_size": 100, "lr": 0.003, "lr_schedule": "linear"}
    ppgen.fit(made, torch.as_tensor(train), inference.PCD(num_chains=100), progress=False, **how)

    def score(x: np.ndarray) -> np.ndarray:
        found: Any = evaluation.log_likelihood(made, torch.as_tensor(x), method="exact")
        return np.asarray(found.per_datum["log_likelihood"])

    return score, sum(parameter.numel() for parameter in made.parameters())
