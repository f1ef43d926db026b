"""Patches of photographs for benchmarks of dictionaries."""

from dataclasses import dataclass

import numpy as np

from ppgen import datasets
from ppgen.datasets.photo_patches import photographs

SIZE, COUNTS = 12, (28_000, 2_000, 2_000)


@dataclass(frozen=True)
class Patches:
    """White patches, (N, pixels), float32."""

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray


def drawn(seed: int) -> Patches:
    """Patches at random places of both photographs, whitened by the covariance of the training ones.

    Held-out patches share pixels with training ones, so that their objective is a little low for every method alike.
    """
    generator, cut = np.random.default_rng(seed), []
    for picture in photographs():
        windows = np.lib.stride_tricks.sliding_window_view(picture, (SIZE, SIZE))
        places = (generator.integers(0, side, sum(COUNTS) // 2) for side in windows.shape[:2])
        cut.append(windows[tuple(places)].reshape(-1, SIZE**2))
    rows = generator.permutation(np.concatenate(cut))
    rows = rows - rows.mean(1, keepdims=True)
    whitening = datasets.Whitening.fitted(rows[: COUNTS[0]])
    white = ((rows - whitening.mean) @ whitening.matrix).astype(np.float32)
    return Patches(*np.split(white, np.cumsum(COUNTS)[:-1]))


def split() -> Patches:
    """The data set `photo_patches`, whose splits share no pixel."""
    data = datasets.load("photo_patches", size=SIZE, num_patches=COUNTS[0])
    return Patches(*(np.asarray(data.split(name)) for name in ("train", "valid", "test")))
