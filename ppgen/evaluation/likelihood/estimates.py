"""The estimate that values by datum give: their mean, its error, the error of log Z, and what is to be said of it."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ppgen.evaluation.effective import CONSTANT_RANGE, SHARE, bias_of_mean, error_of_mean, few_particles
from ppgen.evaluation.estimate import Estimate
from ppgen.evaluation.likelihood.given_partitions import own_partitions
from ppgen.evaluation.likelihood.method import LikelihoodMethod
from ppgen.evaluation.per_datum import PerDatum
from ppgen.inference.annealing.effective_runs import ALL_ALIKE, LONE, few_runs

_ROUNDING = 1e-3  # nats


def estimate_of(way: LikelihoodMethod, found: PerDatum, partitions: Mapping[str, Estimate]) -> Estimate:
    """The estimate of a method that has run.

    Args:
        way: The method.
        found: What it found; log Z that differs from row to row is not yet subtracted.
        partitions: Estimate of log Z by undirected site.

    Raises:
        ValueError: If log p(x) of a row is NaN.
    """
    own = [each for each in map(own_partitions, partitions.values()) if each is not None]
    values = found.log_likelihood - sum(own, np.zeros(len(found.log_likelihood)))
    if np.isnan(values).any():
        row = int(np.isnan(values).argmax())
        raise ValueError(f"log p(x) of row {row} is NaN: the parameters or the densities of the pair are not finite.")
    found = found._replace(log_likelihood=values)
    return _with_partitions(_exact(found) if way.kind == "exact" else _sampled(way, found), partitions)


def _exact(found: PerDatum) -> Estimate:
    values = found.log_likelihood
    return Estimate(
        float(values.mean()),
        0.0,
        "exact",
        "exact",
        num_data=len(values),
        data_se=_spread(values),
        per_datum={"log_likelihood": values},
    )


def _sampled(way: LikelihoodMethod, found: PerDatum) -> Estimate:
    if way.weighted:  # there are weights, and where one outweighs all others their spread tells nothing of the error
        lone = ~(found.ess >= LONE) & ~(found.se <= CONSTANT_RANGE)
        found = found._replace(se=np.where(lone, math.nan, found.se))
    values = found.log_likelihood
    per_datum = {"log_likelihood": values, "se": found.se, "ess": found.ess}
    if found.pareto_k is not None:
        per_datum["pareto_k"] = found.pareto_k
    estimate = Estimate(
        float(values.mean()),
        error_of_mean(found.se),
        way.kind,
        way.describe(),
        ess=float(found.ess.mean()) if way.weighted else None,
        num_draws=way.num_draws if way.weighted else None,
        num_data=len(values),
        data_se=_spread(values),
        bias=bias_of_mean(found.se) if way.weighted and way.kind == "lower bound" else None,
        per_datum=per_datum,
        note=way.note,
    )
    warnings = []
    if found.pareto_k is not None:
        if (estimate.num_bad_pareto_k or 0) > SHARE * len(values):
            warnings.append(way.doubt)
        if text := few_particles(found.ess, found.se, way.num_draws):
            warnings.append(text)
    elif way.weighted:
        few = few_runs(found.ess, way.num_draws)
        warnings += [way.doubt] if few.mean() > SHARE else []
        warnings += [ALL_ALIKE] if (np.isnan(found.se) & ~few).mean() > SHARE else []
    return replace(estimate, warning="; ".join(warnings) or None)


def below_one(estimate: Estimate) -> Estimate:
    """An estimate of discrete data, with a warning where it lies above 0 by more than its error."""
    found: dict[str, Any] = dict(estimate.per_datum or {})
    error = np.hypot(found.get("se", 0.0), estimate.log_partition_se or 0.0)
    above = int((found["log_likelihood"] > 4 * np.nan_to_num(error) + _ROUNDING).sum())
    if not above:
        return estimate
    told = (
        f"log p(x) is above 0 for {above} of {len(found['log_likelihood'])} rows of discrete data, and no probability "
        "is above 1: a law is not normalised, or log Z is too low"
    )
    return replace(estimate, warning="; ".join(filter(None, (estimate.warning, told))))


def _with_partitions(estimate: Estimate, partitions: Mapping[str, Estimate]) -> Estimate:
    """The estimate with the errors of log Z, which every datum shares, carried along."""
    if all(each.kind == "exact" for each in partitions.values()):
        return estimate
    log_z_se = math.sqrt(sum(each.se**2 for each in partitions.values()))
    how = ", ".join(dict.fromkeys(each.method for each in partitions.values() if each.kind != "exact"))
    warnings = [text for text in (estimate.warning, *(each.warning for each in partitions.values())) if text]
    sampled = estimate.kind != "exact"
    bias = -sum(each.bias or 0.0 for each in partitions.values())  # log Z from above errs the other way
    errs = "errs high in expectation, as log Z errs low" if bias > 0 else "errs low in expectation, as log Z errs high"
    common_se = math.sqrt(sum(each.se**2 for each in partitions.values() if own_partitions(each) is None))
    per_datum = dict(estimate.per_datum or {})
    own = [
        each.per_datum["se"]
        for each in partitions.values()
        if each.per_datum is not None and own_partitions(each) is not None
    ]
    if own:
        per_datum["se"] = np.sqrt(sum(np.square(each) for each in (per_datum.get("se", 0.0), *own)))
    return replace(
        estimate,
        se=math.hypot(estimate.se, log_z_se),
        kind="estimate",
        method=f"{estimate.method}, log Z by {how}" if sampled else how,
        log_partition_se=common_se or None,
        per_datum=per_datum,
        bias=(estimate.bias or 0.0) + bias,
        warning="; ".join(warnings) or None,
        note=errs if bias and math.isfinite(bias) and not sampled else None,
    )


def _spread(values: np.ndarray) -> float | None:
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None
