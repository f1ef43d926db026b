"""Data and machines that every contender gets, the same to the bit in every process; NumPy alone."""

from collections.abc import Iterator

import numpy as np

FEATURES, LATENT, HIDDEN = 784, 50, 200
UNITS, UPPER = 500, 1000
LEARNING_RATE = 1e-3
RBM_LEARNING_RATE, MOMENTUM = 0.01, 0.5
BATCHES = 60  # batches of an epoch


def bits(rows: int, features: int = FEATURES, seed: int = 0) -> np.ndarray:
    """Rows of independent bits whose means differ between the columns, as float32: (rows, features)."""
    random = np.random.default_rng(seed)
    means = random.beta(0.5, 2.0, features).astype(np.float32)
    table = np.empty((rows, features), np.float32)
    for start in range(0, rows, 10_000):
        part = table[start : start + 10_000]
        part[:] = random.random(part.shape, np.float32) < means
    return table


def random_machine(visible: int = FEATURES, hidden: int = UNITS, seed: int = 1) -> tuple[np.ndarray, ...]:
    """Weights (V, H), visible bias (V,) and hidden bias (H,) of a machine with couplings that matter."""
    random = np.random.default_rng(seed)
    weight = random.normal(0, 0.05, (visible, hidden)).astype(np.float32)
    biases = (random.normal(-0.5, 0.5, size).astype(np.float32) for size in (visible, hidden))
    return weight, *biases


def order(rows: int, batch_size: int, seed: int = 2) -> Iterator[np.ndarray]:
    """Indices of one batch after another, for ever, each row once in an epoch."""
    random = np.random.default_rng(seed)
    while True:
        shuffled = random.permutation(rows)
        for start in range(0, rows - batch_size + 1, batch_size):
            yield shuffled[start : start + batch_size]
