"""How far the importance weights of a guide can be trusted, datum by datum."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ppgen.checks.likelihood import check_has_likelihood
from ppgen.checks.seeding import check_seed
from ppgen.checks.switches import check_switches
from ppgen.diagnostics.guides.advice import Latents, annealing_instead, latents_of, weights_advice
from ppgen.evaluation import Estimate, log_likelihood
from ppgen.evaluation.estimate import PARETO_K_LIMIT, with_error
from ppgen.evaluation.program import examine
from ppgen.evaluation.rows import CheckedRows
from ppgen.inference.structure.layout import find_layout
from ppgen.inference.structure.points import check_no_points
from ppgen.pair import AnyPair, as_pair
from ppgen.undisturbed import evaluating

LEAST_PARTICLES = 100  # a tail of twenty draws; with fewer the limit below is under 0.5, and k is mostly noise


@dataclass(frozen=True)
class ImportanceWeights:
    """Pareto shapes and effective sample sizes of the weights p(x, z) / q(z | x), and log p(x) by them.

    Attributes:
        dataset: `xarray.Dataset` over the data plate: `pareto_k`; `ess`, effective particles, and `relative_ess`, the
            same as a share of all; `log_likelihood` and its standard error `log_likelihood_se`, nats.
        log_likelihood: The estimate of log p(x), the mean over the data, with its own warnings.
        num_particles: Particles of each datum.
        limit: Largest k that so many particles can bear.
        latents: What the latents are, which decides what may be done: `"continuous"`, `"discrete"`, or `"machine"`, the
            hidden units of a Boltzmann machine.
    """

    dataset: Any = field(repr=False)
    log_likelihood: Estimate
    num_particles: int
    limit: float
    latents: Latents = "continuous"

    @property
    def share_above_limit(self) -> float:
        """Fraction of the data whose k is above what this number of particles can bear."""
        return self._share(self.limit)

    @property
    def share_unreliable(self) -> float:
        """Fraction of the data with k above 0.7, for which no affordable number of particles is enough."""
        return self._share(PARETO_K_LIMIT)

    @property
    def share_unknown(self) -> float:
        """Fraction of the data with fewer than two effective particles, which have neither a k nor an error."""
        return float(np.isnan(self.dataset.pareto_k.values).mean())

    @property
    def warning(self) -> str | None:
        """What is doubtful about the guide and these estimates, in words; None where nothing is."""
        if self.share_unreliable > 0:
            return (
                f"Pareto k is above {PARETO_K_LIMIT} for {percent(self.share_unreliable)} of the data: there the guide "
                "misses mass of the posterior, log p(x) errs low by more than its error says, and expectations over "
                "the weighted draws are wrong"
            )
        if self.share_unknown > 0:
            return (
                f"one particle carries the estimate of {percent(self.share_unknown)} of the data: there neither Pareto "
                "k nor the error is known, and log p(x) errs low by nobody knows how much"
            )
        if self.share_above_limit > 0:
            return (
                f"Pareto k is above {self.limit:.2f} for {percent(self.share_above_limit)} of the data, more than "
                f"{self.num_particles} particles can bear"
            )
        return None

    @property
    def advice(self) -> str:
        """What to do about the guide, in words."""
        if (share := max(self.share_unreliable, self.share_unknown)) > 0:
            return weights_advice(self.latents, share)
        if self.share_above_limit > 0:
            more = needed_particles(float(self.dataset.pareto_k.max()))
            return f"Use more particles: about {more:,} would bear the largest k."
        return "Nothing needs to be done: log p(x) and its error can be trusted for every datum."

    def __repr__(self) -> str:
        k, share = self.dataset.pareto_k.values, self.dataset.relative_ess.values
        value = self.log_likelihood
        lines = [
            f"Importance weights of {len(k)} data, {self.num_particles} particles each.",
            f"Pareto k: {_range(k)}; above {self.limit:.2f}, what so many "
            f"particles can bear, for {percent(self.share_above_limit)} of the data, above {PARETO_K_LIMIT} for "
            f"{percent(self.share_unreliable)}"
            + (f", unknown for {percent(self.share_unknown)}." if self.share_unknown else "."),
            f"Effective particles: median {percent(float(np.median(share)))}, least {percent(float(share.min()))}.",
            f"log p(x): {with_error(value.value, value.se)} nats per datum ({value.kind}).",
        ]
        warning = [] if self.warning is None else [f"Warning: {self.warning}."]
        return "\n".join([*lines, *warning, self.advice])

    def _share(self, limit: float) -> float:
        return float((self.dataset.pareto_k.values > limit).mean())


def _range(k: np.ndarray) -> str:
    known = k[~np.isnan(k)]
    return f"median {np.median(known):.2f}, largest {known.max():.2f}" if len(known) else "unknown"


def importance_weights(
    pair: Any,
    x: Any,
    *,
    num_particles: int = 1000,
    chunk: int | None = None,
    log_partition: Any = None,
    vectorize_particles: bool = True,
    seed: int = 0,
) -> ImportanceWeights:
    r"""Pareto k, effective sample size and log p(x) of each datum, the guide as the proposal.

    .. math:: w_k = \frac{p(x, z_k)}{q(z_k \mid x)}, \quad z_k \sim q(z \mid x), \qquad
              \mathrm{ess} = \frac{(\sum_k w_k)^2}{\sum_k w_k^2}, \qquad
              \hat k \le \min\Big(1 - \frac{1}{\log_{10} K}, \, 0.7\Big)

    k is the shape of a generalised Pareto law fitted to the largest weights: the weights have 1 / k moments. One is
    fitted for each datum, so that it tells of the guide and not of the number of data; the joint weight of all data,
    which grows with their number, has a heavy tail however good the guide is. A k is judged by the limit on the right,
    which is what K particles can bear (0.67 for 1,000, and 0.7 from 2,155 on): between it and 0.7 more particles help,
    above 0.7 only another guide does. Weights that are all the same, those of an exact posterior, have k = 0.

    At discrete latents of few states the weights are bounded and k is small; a state that the guide never visits is
    then not in the weights, as is true of every importance estimate.

    Args:
        pair: A model of the zoo, a `ppgen.Pair` or a run.
        x: Data, (rows, features); for programs with several arguments a tuple or a mapping.
        num_particles: Particles of each datum, 100 or more.
        chunk: Log-weights evaluated at once, as for `evaluation.log_likelihood`.
        log_partition: log Z of undirected sites, if it is known. k and ess do not depend on it.
        vectorize_particles: False for programs that cannot broadcast over particles.
        seed: Seed of all draws; the caller's random state is as before.

    Raises:
        ValueError: If there are too few particles, the pair has no latent site, or data or other arguments are wrong.
        TypeError: If `pair` or `x` is none.

    References:
        | Pareto Smoothed Importance Sampling (Vehtari, Simpson, Gelman, Yao and Gabry, 2024)
        | https://arxiv.org/abs/1507.02646
        | Yes, but Did It Work?: Evaluating Variational Inference (Yao, Vehtari, Simpson and Gelman, 2018)
        | https://arxiv.org/abs/1802.02538

    Example:
        >>> import torch
        >>> from ppgen import diagnostics, models
        >>> vae = models.VAE(features=6, latent=2, hidden=(4,))
        >>> found = diagnostics.importance_weights(vae, torch.ones(5, 6), num_particles=200)
        >>> dict(found.dataset.sizes), sorted(found.dataset)
        ({'data': 5}, ['ess', 'log_likelihood', 'log_likelihood_se', 'pareto_k', 'relative_ess'])
    """
    seed = check_seed(seed)
    import xarray as xr

    check_switches(vectorize_particles=vectorize_particles)
    if isinstance(num_particles, bool) or not isinstance(num_particles, int) or num_particles < LEAST_PARTICLES:
        raise ValueError(
            f"num_particles must be an integer of at least {LEAST_PARTICLES}, so that the weights have a tail to fit; "
            f"got {num_particles!r}."
        )
    pair = as_pair(pair)
    check_has_likelihood(pair, "Importance weights and their k-hat")
    _check_latents(pair, CheckedRows(x, pair))
    estimate = log_likelihood(
        pair,
        x,
        method="importance",
        num_particles=num_particles,
        chunk=chunk,
        log_partition=log_partition,
        vectorize_particles=vectorize_particles,
        seed=seed,
    )
    found: Any = estimate.per_datum
    values = {
        "pareto_k": (found["pareto_k"], "1"),
        "ess": (found["ess"], "particles"),
        "relative_ess": (found["ess"] / num_particles, "1"),
        "log_likelihood": (found["log_likelihood"], "nats"),
        "log_likelihood_se": (found["se"], "nats"),
    }
    dataset = xr.Dataset(
        {name: (pair.plate, array, {"units": unit}) for name, (array, unit) in values.items()},
        coords={pair.plate: np.arange(len(found["ess"]))},
        attrs={"model": type(pair).__name__, "num_particles": num_particles, "seed": seed},
    )
    latents = latents_of(examine(pair, CheckedRows(x, pair), chunk))
    return ImportanceWeights(dataset, estimate, num_particles, pareto_limit(num_particles), latents)


def pareto_limit(num_particles: int) -> float:
    """Largest Pareto k at which an estimate from so many weights can be trusted.

    Example:
        >>> [round(pareto_limit(number), 3) for number in (100, 1000, 10_000)]
        [0.5, 0.667, 0.7]
    """
    return min(1 - 1 / math.log10(num_particles), PARETO_K_LIMIT)


def needed_particles(k: float) -> int:
    """Number of particles that bear a Pareto k of at most 0.7, to two digits.

    Example:
        >>> needed_particles(0.5), needed_particles(0.69)
        (100, 1700)
    """
    exact = 10 ** (1 / (1 - k))
    unit = 10 ** (math.floor(math.log10(exact)) - 1)
    return unit * math.ceil(round(exact / unit, 6))


def percent(share: float) -> str:
    """A fraction in words: no small one is rounded to nothing, and no large one to all.

    Example:
        >>> percent(0.0), percent(0.0004), percent(0.25), percent(0.9999)
        ('0%', '<1%', '25%', '>99%')
    """
    if 0 < share < 0.005:
        return "<1%"
    return ">99%" if 0.995 < share < 1 else f"{100 * share:.0f}%"


def _check_latents(pair: AnyPair, rows: CheckedRows) -> None:
    batch = rows(0, 1)
    try:
        with evaluating(pair):
            pair.prepare(batch)
            layout = find_layout(pair, batch)
    except RuntimeError:
        return  # data that do not fit the programs, which the likelihood explains
    if not layout.latent:
        raise ValueError(
            "The pair has no latent site, so that log p(x) is the density of its observed sites and there are no "
            "weights to judge. Use evaluation.log_likelihood(pair, x)."
        )
    if layout.points and not layout.improper:  # which the likelihood explains too
        check_no_points(
            layout.points,
            "weights and their k-hat",
            f"{annealing_instead(examine(pair, rows))}For weights give a "
            "guide that draws the site, such as from a Normal.",
        )
