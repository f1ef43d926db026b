"""The findings of a check where latents are common to all data: one weight a particle, and what is not defined."""

import math
from typing import Any

import numpy as np

from ppgen.devices import is_accelerator
from ppgen.diagnostics.checks.report import Check, Finding
from ppgen.diagnostics.guides.importance_weights import needed_particles, pareto_limit
from ppgen.evaluation.estimate import PARETO_K_LIMIT, Estimate, with_error
from ppgen.evaluation.evidence.all_data import AllData, all_data
from ppgen.evaluation.evidence.evidence import check_weights, evidence_of
from ppgen.evaluation.evidence.joint_weights import JointWeights, joint_weights
from ppgen.evaluation.likelihood.likelihood import CHUNK_CPU, CHUNK_GPU
from ppgen.inference.structure.recognition import reads_other_data
from ppgen.pair import AnyPair
from ppgen.undisturbed import evaluating

_RICHER = (
    "A guide with correlations (AutoMultivariateNormal), a reparameterised model (location and scale taken out of the "
    "latents), or an importance weighted bound (inference.IWAE()), which punishes a guide that is too narrow"
)


def check_joint(pair: AnyPair, x: Any, *, num_particles: int, seed: int, far: float, least_gap: float) -> Check:
    """Look at a fit whose latents are common to all data.

    Args:
        pair: The pair.
        x: The whole data set.
        num_particles: Particles, each of which is one draw of all latents.
        seed: Seed of all draws.
        far: Part of the log-evidence from which on a gap decides between models.
        least_gap: Gap in nats below which it is small whatever the data are.

    Raises:
        ValueError: If log-weights are those of no law, or log Z of a site is unknown.
    """
    found = all_data(pair, x, "x")
    layout = found.layout
    check_weights(found)
    subject = f"{type(pair).__name__} on {_data(found)}"
    left = _not_defined(pair, found)
    if layout.points:
        return Check(subject, (_points(layout.points), *left), None)
    chunk = CHUNK_GPU if is_accelerator(pair.device) else CHUNK_CPU
    with evaluating(pair, seed):
        weights = joint_weights(pair, found, num_particles, chunk)
    estimate = None if found.improper else evidence_of(weights, found)
    findings = (
        _evidence(estimate, found),
        _gap(weights, far, least_gap),
        _pareto(weights),
        _effective(weights),
        *left,
    )
    return Check(subject, findings, estimate, {"joint_weights": weights})


def _data(found: AllData) -> str:
    """The data in a few words, with what joins them."""
    layout = found.layout
    if layout.plate is None:
        return "data that are one datum, as there is no plate over them"
    names = [name for name in layout.global_latents if name in layout.model_laws] or layout.coupled
    return f"{layout.num_rows} row{'' if layout.num_rows == 1 else 's'}, which share {', '.join(map(repr, names))}"


def _evidence(estimate: Estimate | None, found: AllData) -> Finding:
    if estimate is None:
        return Finding(
            "log-evidence", f"not defined: {found.improper}; weights hold up to a constant, of which k does not depend"
        )
    text = f"{with_error(estimate.value, estimate.se)} nats for all data ({estimate.kind}, {estimate.method})"
    return Finding("log-evidence", text, values={"value": estimate.value, "se": estimate.se})


def _gap(weights: JointWeights, far: float, least_gap: float) -> Finding:
    gap, error = weights.log_evidence - weights.elbo, math.hypot(weights.elbo_se, weights.se)
    wide = gap > max(least_gap, far * abs(weights.log_evidence)) and not gap <= 4 * error
    return Finding(
        "gap of the guide",
        f"at least {with_error(gap, error)} nats between log-evidence and ELBO, the divergence of the guide from the "
        "posterior",
        f"the guide is {gap:.1f} nats from the posterior of all latents together: the ELBO ranks models by their "
        "guides, and posterior means and standard deviations by the guide may be off"
        if wide
        else None,
        f"{_RICHER}, narrows it." if wide else None,
        {"gap": gap, "se": error},
    )


def _pareto(weights: JointWeights) -> Finding:
    k, count = weights.pareto_k, len(weights.log_weights)
    limit = pareto_limit(count)
    if math.isnan(k):
        return Finding("Pareto k", f"unknown: {count} particles, or those that count of them, are too few", values={})
    told, advice = None, None
    if k > PARETO_K_LIMIT:
        told = (
            f"the joint importance weights have no tail that can be trusted (k above {PARETO_K_LIMIT}): the guide "
            "misses mass of the posterior, and the log-evidence errs low by more than its error says"
        )
        advice = f"{_RICHER}. More particles will not mend this."
    elif k > limit:
        told = f"k is above {limit:.2f}, more than {count} particles can bear"
        advice = f"num_particles={needed_particles(k)} would bear it."
    text = f"{k:.2f} of the joint weights of all latents, where {count} particles bear {limit:.2f}"
    return Finding("Pareto k", text, told, advice, {"pareto_k": k, "limit": limit})


def _effective(weights: JointWeights) -> Finding:
    count = len(weights.log_weights)
    few = None
    if not weights.ess >= 10 and np.ptp(weights.log_weights) > 1e-3:
        few = (
            f"{weights.ess:.1f} of {count} particles carry all estimates by weights, so that the log-evidence errs low"
            + ("" if weights.ess >= 2 else " and its error is unknown")
        )
    advice = f"{_RICHER}; more particles help as long as k is below {PARETO_K_LIMIT}." if few else None
    return Finding("effective particles", f"{weights.ess:.0f} of {count}", few, advice, {"ess": weights.ess})


def _points(points: tuple[str, ...]) -> Finding:
    return Finding(
        "guide",
        f"it gives {', '.join(map(repr, points))} a point and no law (MAP), so that there is no bound, no gap and "
        "no weights; what training reports is the log joint at the point (evaluation.log_evidence(method='ais') "
        "anneals from the prior)",
    )


def _not_defined(pair: AnyPair, found: AllData) -> list[Finding]:
    """What a check of other models has and this one has not, and what stands in its place."""
    alone = "not defined: a datum has no likelihood, gap or k of its own; leaving data out is "
    alone += "arviz_stats.loo_approximate_posterior of diagnostics.from_pyro_svi(pair, x)"
    told = [Finding("single data", alone)] if found.layout.plate is not None else []
    if found.improper:
        calibration = f"not defined: {found.improper}, from which no data can be simulated"
    elif found.layout.points:
        calibration = "not defined: a point has no ranks"
    elif reads_other_data(pair, found.batch):
        calibration = "not looked at: diagnostics.simulation_based_calibration(pair, x=x) simulates whole data sets"
    else:
        calibration = (
            "not looked at: the guide does not read its data, so it is fitted to each simulated data set, "
            'diagnostics.simulation_based_calibration(pair, x=x, refit="svi")'
        )
    return [*told, Finding("calibration", calibration)]
