"""Grey levels to bits, with a random stream in which every row can be drawn alone.

A fixed draw of a data set must be the same whether it is made at once in memory, or row by row from a mapped
file, and on every machine. So its uniforms come from SplitMix64, whose n-th output is a function of n and the
seed.

References:
    Steele, Lea, Flood (2014), Fast splittable pseudorandom number generators, OOPSLA.
    Salakhutdinov, Murray (2008), On the quantitative analysis of deep belief networks (bits
        drawn from grey levels).
    Burda, Grosse, Salakhutdinov (2016), Importance weighted autoencoders, arXiv:1509.00519 (drawn anew for
        each batch).
"""

import numpy as np

METHODS = ("threshold", "fixed", "dynamic")
THRESHOLD = 0.5

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def check_binarize(binarize: str | None) -> None:
    """Raise ValueError unless `binarize` is None or one of `METHODS`."""
    if binarize is not None and binarize not in METHODS:
        known = ", ".join(repr(method) for method in METHODS)
        raise ValueError(f"binarize must be None or one of {known}, got {binarize!r}.")


def splitmix64(seed: int, position: np.ndarray) -> np.ndarray:
    """Outputs of the SplitMix64 generator at the given positions of its stream.

    Args:
        seed: Initial state.
        position: Any shape, uint64; 0 is the first output.

    Example:
        >>> int(splitmix64(1234567, np.array([0], dtype=np.uint64))[0])
        6457827717110365317
    """
    state = np.uint64(seed % 2**64)
    z = (position + np.uint64(1)) * _GOLDEN  # uint64 arithmetic on arrays wraps, as the generator wants
    z += state
    z ^= z >> np.uint64(30)
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return z


def uniforms(stream: int, rows: np.ndarray, num_features: int) -> np.ndarray:
    """Uniforms in [0, 1) of the given rows, each a function of the stream and the row alone.

    Args:
        stream: Seed of the stream, see `stream_seed`.
        rows: (B,) positions of the rows in their split.
        num_features: F.

    Returns:
        (B, F) float32 with 24 random bits each.
    """
    columns = np.arange(num_features, dtype=np.uint64)
    position = rows.astype(np.uint64)[:, None] * np.uint64(num_features) + columns
    return (splitmix64(stream, position) >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)


def stream_seed(seed: int, split: str) -> int:
    """Seed of one split's stream: two splits of one seed, and two seeds near each other, share no draws."""
    number = ("train", "valid", "test").index(split)
    return int(splitmix64(seed, np.array([number], dtype=np.uint64))[0])


def permutation(length: int, seed: int) -> np.ndarray:
    """Random order of `length` rows that no library version changes: (length,) int64."""
    return np.argsort(splitmix64(seed, np.arange(length, dtype=np.uint64)), kind="stable")


def binarized(grey: np.ndarray, method: str | None, stream: int, rows: np.ndarray) -> np.ndarray:
    """Bits of grey levels: `grey > 0.5`, or `u < grey` with the uniforms of the stream at those rows.

    Args:
        grey: (B, F) float32 in [0, 1].
        method: None (grey levels are returned), `"threshold"`, or `"fixed"`.
        stream: Seed of the split's stream; used by `"fixed"`.
        rows: (B,) positions of the rows in their split; used by `"fixed"`.

    Returns:
        (B, F) float32.
    """
    if method is None:
        return grey
    if method == "threshold":
        return (grey > THRESHOLD).astype(np.float32)
    return (uniforms(stream, rows, grey.shape[1]) < grey).astype(np.float32)
