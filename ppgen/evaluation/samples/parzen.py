"""Parzen windows: the score of draws by a kernel density of them, beside what real rows and centroids score."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppgen.checks.arguments import check_count, check_number
from ppgen.checks.seeding import check_seed
from ppgen.evaluation.estimate import with_error
from ppgen.evaluation.samples.drawn_rows import as_table, drawn_rows
from ppgen.pair import as_pair

SDS = tuple(float(each) for each in np.geomspace(0.05, 1.0, 31).round(3))
"""Standard deviations of the windows that are tried: 0.05 to 1, a tenth more from one to the next."""
_LEAST_VALID, _MOST_VALID = 2, 1_000
_BLOCK = 2_000_000  # distances held at once


@dataclass(frozen=True)
class ParzenLine:
    """One line of a score by Parzen windows.

    Attributes:
        centres: What the windows stand around.
        num_centres: How many.
        value: Mean log-density of the rows, nats.
        se: Its standard error over the rows.
        sd: Standard deviation of the windows, chosen on other rows.
        at_edge: Whether that is the smallest or largest that was tried, so that a better one may lie beyond.
    """

    centres: str
    num_centres: int
    value: float
    se: float
    sd: float
    at_edge: bool

    def __repr__(self) -> str:
        edge = ", the end of those tried" if self.at_edge else ""
        return f"{with_error(self.value, self.se)} from {self.num_centres:,} {self.centres} (sd {self.sd:g}{edge})"


@dataclass(frozen=True)
class ParzenScore:
    """Scores by Parzen windows of a model's draws, and of its two controls, in nats per row.

    Attributes:
        model: Windows around draws of the model.
        real: Windows around rows of the data themselves.
        centroids: Windows around k-means centroids of those rows.
        num_rows: Rows that are scored.
        per_datum: Log-density of each row by line.
    """

    model: ParzenLine
    real: ParzenLine
    centroids: ParzenLine
    num_rows: int
    per_datum: dict[str, np.ndarray] = field(repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """The three lines as JSON can hold them."""
        lines = {"model": self.model, "real": self.real, "centroids": self.centroids}
        return {"num_rows": self.num_rows, **{name: asdict(line) for name, line in lines.items()}}

    def __repr__(self) -> str:
        above = self.model.value > self.real.value
        told = "is above" if above else "is not above"
        return (
            f"Parzen windows of {self.num_rows:,} rows, nats per row:\n"
            f"  model      {self.model!r}\n  real rows  {self.real!r}\n  k-means    {self.centroids!r}\n"
            f"The model's score {told} that of real rows. A score above it is no praise: windows reward draws near the "
            "middle of clusters, as centroids are, and are no estimate of log p(x)."
        )


def parzen(
    pair: Any,
    rows: Any,
    *,
    num_samples: int = 10_000,
    controls: Any,
    valid: Any = None,
    num_centroids: int | None = None,
    sds: Sequence[float] = SDS,
    seed: int = 0,
) -> ParzenScore:
    r"""Score rows by a kernel density of a model's draws, beside the scores of real rows and of k-means centroids.

    .. math:: \log \frac{1}{M} \sum_m N(x; y_m, \sigma^2 I)

    The width is chosen for each line by itself, on rows that are neither scored nor centres. The number is what the
    literature reports of models without a likelihood; it is no likelihood of the model, and puts models in another
    order than their likelihoods do. So it never comes alone: rows of the data themselves, as a perfect model would draw
    them, and k-means centroids, which no one would call draws, are scored by the same procedure.

    Draws are means of their law where it has one (grey pixels of bits, a decoder's mean).

    References:
        | A note on the evaluation of generative models (Theis, van den Oord and Bethge, 2016),
          https://arxiv.org/abs/1511.01844
        | On the Quantitative Analysis of Decoder-Based Generative Models (Wu et al., 2017),
          https://arxiv.org/abs/1611.04273

    Args:
        pair: A pair or run whose model takes `num_rows`; or draws, (num_samples, features).
        rows: Rows to score, (rows, features), on which nothing was trained.
        num_samples: Draws of the model, and the most rows that are centres of the first control.
        controls: Rows of the same data, such as the training rows, for the two controls.
        valid: Rows on which widths are chosen; None takes the last tenth of `controls`, at most 1,000, for that.
        num_centroids: Centroids of the second control; by default a fifth of its rows, at most `num_samples`.
        sds: Standard deviations of the windows that are tried.
        seed: Seed of draws and of k-means.

    Raises:
        TypeError: If rows are no arrays.
        ValueError: If features differ, rows are too few, or a width is not positive.

    Example:
        >>> from ppgen import datasets, evaluation, models
        >>> digits = datasets.load("digits")
        >>> generator = models.Generator(features=64, latent=2, hidden=(8,))
        >>> score = evaluation.parzen(generator, digits.test, num_samples=200, controls=digits.train)
        >>> score.model.value < score.real.value < score.centroids.value
        True
    """
    check_count("num_samples", num_samples)
    check_count("num_centroids", num_centroids, optional=True)
    seed = check_seed(seed)
    if not isinstance(sds, Sequence) or isinstance(sds, str) or not len(sds):
        raise TypeError(f"sds must be a sequence of standard deviations such as (0.1, 0.2), got {sds!r}.")
    for each in sds:
        check_number("each of sds", each, "be positive", lambda number: number > 0)
    scored = as_table("rows", rows, least=2)
    known = as_table("controls", controls, like=scored, least=4)
    if valid is None:
        count = min(_MOST_VALID, max(_LEAST_VALID, len(known) // 10))
        known, chosen_on = known[:-count], known[-count:]
    else:
        chosen_on = as_table("valid", valid, like=scored)
    drawn = _draws(pair, num_samples, seed, scored)
    real = _some(known, num_samples, seed)
    if num_centroids is None:
        num_centroids = max(1, min(num_samples, len(known) // 5))
    elif num_centroids > len(known):
        raise ValueError(f"num_centroids must be at most {len(known)}, the rows of controls, got {num_centroids}.")
    centroids = _centroids(known, num_centroids, seed)
    lines, per_datum = {}, {}
    widths = sorted(float(each) for each in sds)
    for name, label, centres in (
        ("model", "draws", drawn),
        ("real", "rows", real),
        ("centroids", "centroids", centroids),
    ):
        on_valid = log_densities(chosen_on, centres, widths).mean(1)
        best = int(on_valid.argmax())
        values = log_densities(scored, centres, [widths[best]])[0].double().cpu().numpy()
        se = float(values.std(ddof=1) / math.sqrt(len(values)))
        edge = len(widths) > 1 and best in (0, len(widths) - 1)
        lines[name] = ParzenLine(label, len(centres), float(values.mean()), se, widths[best], edge)
        per_datum[name] = values
    return ParzenScore(**lines, num_rows=len(scored), per_datum=per_datum)


@torch.no_grad()
def log_densities(rows: Tensor, centres: Tensor, sds: Sequence[float]) -> Tensor:
    """log of the mean of Normal windows around centres, by width: (widths, rows), nats.

    Args:
        rows: (rows, features).
        centres: (centres, features).
        sds: Widths.

    Example:
        >>> log_densities(torch.zeros(1, 2), torch.zeros(3, 2), [1.0])  # log of 1 / (2 pi)
        tensor([[-1.8379]])
    """
    variances = torch.tensor(sds, dtype=rows.dtype, device=rows.device).square().reshape(-1, 1, 1)
    features, block = rows.shape[1], max(1, _BLOCK // (len(centres) * len(sds)))
    found = []
    for part in rows.split(block):
        squares = torch.cdist(part, centres, compute_mode="donot_use_mm_for_euclid_dist").square()
        found.append(torch.logsumexp(squares / (-2 * variances), -1))
    scale = features / 2 * torch.log(2 * math.pi * variances[:, :, 0])
    return torch.cat(found, 1) - math.log(len(centres)) - scale


def _draws(pair: Any, num_samples: int, seed: int, like: Tensor) -> Tensor:
    if isinstance(pair, (Tensor, np.ndarray)) or (hasattr(pair, "__array__") and not hasattr(pair, "pair")):
        return as_table("pair", pair, like=like)
    drawn = drawn_rows(as_pair(pair), num_samples, seed).to(like)
    if drawn.shape[1] != like.shape[1]:
        raise ValueError(f"rows must have the {drawn.shape[1]} features of the model, got {like.shape[1]}.")
    return drawn


def _some(rows: Tensor, count: int, seed: int) -> Tensor:
    """As many of the rows, without order; all of them if there are no more."""
    if len(rows) <= count:
        return rows
    return rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:count].to(rows.device)]


def _centroids(rows: Tensor, count: int, seed: int) -> Tensor:
    """k-means centroids of rows, of batches of them where they are many."""
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning

    table = rows.double().cpu().numpy()
    few = len(table) * count <= 10_000_000
    method: Any = KMeans if few else MiniBatchKMeans
    options = {} if few else {"batch_size": 10_000}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of rows that stand twice: then centroids do, too
        fitted = method(n_clusters=count, n_init=1, random_state=seed % 2**32, **options).fit(table)
    return torch.as_tensor(fitted.cluster_centers_).to(rows)
