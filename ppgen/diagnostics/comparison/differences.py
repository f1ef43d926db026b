"""When a difference between two inferences is more than noise."""

import math
from dataclasses import dataclass

import numpy as np

from ppgen.evaluation.estimate import rounded, with_error

LEVEL = 0.95


@dataclass(frozen=True)
class Difference:
    """A difference of two mean log-likelihoods, in nats per datum, and the half width of its interval.

    Attributes:
        value: First minus second.
        margin: Half width of the interval.
        num_seeds: Seeds in common.
    """

    value: float
    margin: float
    num_seeds: int

    @property
    def within_noise(self) -> bool:
        """Whether the interval holds 0: the two may be the same."""
        return abs(self.value) <= self.margin

    def __str__(self) -> str:
        digits = 1 if not 0 < self.margin < math.inf else max(1 - math.floor(math.log10(self.margin)), 1)
        return f"{abs(self.value):.{min(digits, 4)}f} ± {self.margin:.{min(digits, 4)}f}"


def difference(
    first: np.ndarray,
    second: np.ndarray,
    first_error: np.ndarray,
    second_error: np.ndarray,
    rows: np.ndarray | None,
    *,
    pairs: int = 1,
) -> Difference | None:
    r"""Difference of two inferences on one model, paired over the seeds and the data that both have.

    .. math:: \bar d \pm \sqrt{\left(t_{S-1} \, \frac{\mathrm{sd}(d_s)}{\sqrt S}\right)^2
              + z^2 \left(\frac{\mathrm{sd}(\bar d_n)}{\sqrt N}\right)^2
              + z^2 \, \frac{\sum_s \mathrm{se}_{1s}^2 + \mathrm{se}_{2s}^2}{S^2}}

    The three parts are what other seeds, another data set of that size, and other draws of the evaluation would change.
    With one seed the first part is not known, and is left out. t and z are the quantiles of an interval of 95 %; of
    several differences, those by Bonferroni's rule: with eight inferences that are all the same, the one that came out
    best would be held to be better than some other almost every second time, if each pair were looked at by itself.

    Args:
        first: Mean log-likelihood of the first for each seed, NaN where there is none, (S,).
        second: Mean log-likelihood of the second for each seed, NaN where there is none, (S,).
        first_error: Monte Carlo standard errors of the first, (S,).
        second_error: Monte Carlo standard errors of the second, (S,).
        rows: Log-likelihood of each datum of the first minus the second, (S, N); None if it is not known.
        pairs: Number of differences of which all intervals hold together with a probability of 95 %.

    Returns:
        The difference; None if they have no seed in common.

    Example:
        >>> import numpy as np
        >>> from ppgen.diagnostics.comparison.differences import difference
        >>> zero = np.zeros(3)
        >>> difference(np.array([1.0, 1.1, 0.9]), np.array([0.1, 0.0, -0.1]), zero, zero, None).within_noise
        False
    """
    from scipy.stats import norm, t

    both = np.isfinite(first) & np.isfinite(second)
    count = int(both.sum())
    if count == 0:
        return None
    found = first[both] - second[both]
    above = 1 - (1 - LEVEL) / (2 * pairs)
    z = float(norm.ppf(above))
    square = z**2 * float(np.nansum(first_error[both] ** 2 + second_error[both] ** 2)) / count**2
    if rows is not None:
        of_rows = rows[both].mean(0)
        of_rows = of_rows[np.isfinite(of_rows)]
        if len(of_rows) > 1:
            square += z**2 * float(of_rows.var(ddof=1)) / len(of_rows)
    if count > 1:
        square += float(t.ppf(above, count - 1)) ** 2 * float(found.var(ddof=1)) / count
    return Difference(float(found.mean()), math.sqrt(square), count)


MANY = 0.1  # share of rows with a high k-hat from which the mean itself is doubtful


def seed_means(values: np.ndarray) -> np.ndarray:
    """Means over the last dimension of what is there; NaN where nothing is."""
    there = np.isfinite(values)
    counts = there.sum(-1)
    return np.where(counts > 0, np.where(there, values, 0.0).sum(-1) / np.maximum(counts, 1), np.nan)


def seed_error(values: np.ndarray) -> float:
    """Standard error over seeds; NaN with fewer than two."""
    there = values[np.isfinite(values)]
    return float(there.std(ddof=1) / math.sqrt(len(there))) if len(there) > 1 else math.nan


def shown(values: np.ndarray) -> str:
    """Mean over seeds with its standard error, if there are seeds enough for one."""
    mean, error = float(seed_means(values)), seed_error(values)
    if math.isnan(mean):
        return "-"
    return rounded(mean, error) if math.isnan(error) else with_error(mean, error)
