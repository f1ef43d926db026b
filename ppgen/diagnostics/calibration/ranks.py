"""Ranks of true values among draws, and whether they are uniform."""

import numpy as np
import torch
from torch import Tensor

MAX_POINTS = 200  # of the ECDF that are held against their band
SMALLEST = 1e-12  # probability of a tail below which tails are not told apart


def ranks_among(truth: Tensor, draws: Tensor, generator: np.random.Generator) -> np.ndarray:
    r"""Rank of each true value among its draws, from 0 to their number, ties broken at random.

    .. math:: r = \#\{l: z_l < z\} + U, \quad U \sim \mathrm{Uniform}\{0, \dots, \#\{l: z_l = z\}\}

    Uniform on 0, ..., L if truth and draws are exchangeable, for discrete values too.

    Args:
        truth: (rows, ...).
        draws: (L, rows, ...).
        generator: Source of the randomness of ties.

    References:
        Modrak, Moon, Kim, Buerkner, Huurre, Faltejskova, Gelman and Vehtari (2023), Simulation-based calibration
        checking for Bayesian computation: the choice of test quantities shapes sensitivity, arXiv:2211.02383.

    Example:
        >>> zeros = torch.zeros(5, 1000)
        >>> sorted(set(ranks_among(torch.zeros(1000), zeros, np.random.default_rng(0)).tolist()))
        [0, 1, 2, 3, 4, 5]
    """
    below = (draws < truth).sum(0).cpu().numpy()
    ties = (draws == truth).sum(0).cpu().numpy()
    return below + generator.integers(0, ties + 1)


def rank_statistics(pit: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tests of uniformity and the two directions in which PIT values depart from it, for each unit.

    Args:
        pit: Values in (0, 1), (simulations, units).

    Returns:
        p-values of `uniformity_pvalues`; mean and standard deviation of the normal scores, which are 0 and 1 if the
        values are uniform. For a Normal posterior with a Normal approximation these are the distance of the truth from
        the approximation's mean, and the spread of the truth around it, in standard deviations of the approximation.

    Example:
        >>> pit = (np.arange(1000)[:, None] + 0.5) / 1000
        >>> [round(float(each[0]), 2) + 0.0 for each in rank_statistics(pit)]
        [1.0, 0.0, 1.0]
    """
    scores = torch.special.ndtri(torch.from_numpy(pit)).numpy()
    return uniformity_pvalues(pit), scores.mean(0), scores.std(0, ddof=1)


def uniformity_pvalues(pit: np.ndarray) -> np.ndarray:
    r"""Exact p-values of the simultaneous ECDF band at which the worst point of each unit's ECDF stands on its edge.

    .. math:: T = \min_k \min\{P(C_k \le c_k), P(C_k \ge c_k)\}, \quad C_k \sim \mathrm{Binomial}(n, k/K)

    for the number c_k of the n values that are at most k/K. The counts of uniform values are those of a Poisson process
    with n points, so that P(T > t) is a recursion over k through the counts inside the band.

    Args:
        pit: Values in (0, 1), (simulations, units).

    Returns:
        P(T <= t) under uniform values, (units,).

    References:
        Saeilynoja, Buerkner and Vehtari (2022), Graphical test for discrete uniformity and its applications in
        goodness-of-fit evaluation and multiple sample comparison, arXiv:2103.10522.

    Example:
        >>> even = (np.arange(100) + 0.5) / 100
        >>> uniformity_pvalues(np.stack([even, even**2], 1)).round(3).tolist()
        [1.0, 0.0]
    """
    size = len(pit)
    num = min(size, MAX_POINTS)
    points = np.arange(1, num) / num
    counts = np.stack([np.searchsorted(np.sort(unit), points, side="right") for unit in pit.T])  # (units, points)
    log_law = (
        _log_factorials(size)[-1]
        - _log_factorials(size)
        - _log_factorials(size)[::-1]
        + np.outer(np.log(points), np.arange(size + 1))
        + np.outer(np.log1p(-points), np.arange(size, -1, -1))
    )
    law = np.exp(log_law)  # Binomial, (points, counts)
    tails = np.minimum(law.cumsum(1), law[:, ::-1].cumsum(1)[:, ::-1])
    worst = np.maximum(tails[np.arange(num - 1), counts].min(1), SMALLEST)
    mean = size / num
    jumps = np.exp(np.arange(size + 1) * np.log(mean) - mean - _log_factorials(size))  # Poisson
    before, inside = np.zeros(1, dtype=int), np.ones((len(worst), 1))
    for allowed in tails:
        after = np.flatnonzero(allowed > SMALLEST)
        inside = inside @ _transitions(jumps, before, after)
        inside *= allowed[after] > worst[:, None] * (1 + 1e-9)  # a unit's own worst point is on its edge
        before = after
    inside = inside @ _transitions(jumps, before, np.array([size]))
    log_total = size * np.log(size) - size - _log_factorials(size)[-1]  # that all n points fall
    return np.clip(1 - inside[:, 0] / np.exp(log_total), 0.0, 1.0)


def _transitions(jumps: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Probabilities of going from counts to later counts, (before, after)."""
    steps = after - before[:, None]
    return np.where(steps >= 0, jumps[np.maximum(steps, 0)], 0.0)


def _log_factorials(largest: int) -> np.ndarray:
    """log n! for n = 0, ..., largest."""
    return np.concatenate([[0.0], np.log(np.arange(1, largest + 1)).cumsum()])


def holm(pvalues: np.ndarray, level: float) -> np.ndarray:
    """Which hypotheses are rejected when none that is true may be with a probability above `level`.

    Example:
        >>> holm(np.array([0.04, 0.001, 0.03]), 0.05).tolist()
        [False, True, False]
    """
    order = np.argsort(pvalues)
    kept = pvalues[order] > level / (len(pvalues) - np.arange(len(pvalues)))
    rejected = np.zeros(len(pvalues), dtype=bool)
    rejected[order] = np.cumsum(kept) == 0
    return rejected
