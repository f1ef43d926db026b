"""Which fit to believe: one report on a trained pair, `diagnostics.check`."""

import math
from typing import Any

import numpy as np

from ppgen.checks.arguments import check_count, check_kind
from ppgen.checks.likelihood import check_has_likelihood
from ppgen.checks.room import check_room
from ppgen.checks.seeding import check_seed
from ppgen.diagnostics.chains.free_energies import OVERFITTING, free_energies, signed
from ppgen.diagnostics.checks.coded import check_coded
from ppgen.diagnostics.checks.independent_features import independent_features, trivial_finding
from ppgen.diagnostics.checks.joint import check_joint
from ppgen.diagnostics.checks.report import Check, Finding
from ppgen.diagnostics.guides.advice import Latents, gap_advice, latents_of, weights_advice
from ppgen.diagnostics.latents.units import latent_units
from ppgen.evaluation import Estimate, log_partition
from ppgen.evaluation import log_likelihood as estimate_log_likelihood
from ppgen.evaluation.effective import error_of_mean
from ppgen.evaluation.estimate import PARETO_K_LIMIT, with_error
from ppgen.evaluation.evidence.all_data import is_joint
from ppgen.evaluation.partition.partition import enumerable
from ppgen.evaluation.partition.sandwich import PartitionSandwich
from ppgen.evaluation.program import examine
from ppgen.evaluation.rows import CheckedRows
from ppgen.pair import as_pair

FAR = 0.05  # of |log p(x)|: a gap that decides between models
LEAST_GAP = 1.0  # nats; below it a gap is small whatever the data are
_Z = 4.0  # standard errors from which a difference is none of chance
_LADDER: dict[str, Any] = {"num_chains": 100, "betas": 1000}
_ELBO_PARTICLES = 10
_POINTS: dict[str, Any] = {"num_chains": 16, "betas": 200}  # annealing of each datum, where the guide gives no weights
_ANNEALED_ROWS = 100  # of training data, where each takes a ladder of its own
_SWEEPS = 20
_NO_PRIOR = "here a latent has a flat prior, so that they have none"


def check(
    pair: Any,
    x: Any,
    *,
    train: Any = None,
    log_likelihood: Estimate | None = None,
    partitions: Any = None,
    num_particles: int = 1000,
    num_samples: int = 1000,
    max_rows: int | None = 500,
    seed: int = 0,
) -> Check:
    r"""Look at a trained pair from all sides, and say in sentences what is wrong and what to try.

    - log-likelihood with its error, of a Boltzmann machine with log Z exactly or from both sides;
    - the gap of the guide, log p(x) minus ELBO, which is the divergence of the guide from the posterior;
    - Pareto k of the importance weights, and the share of data where it is above 0.7;
    - latent units that do nothing, and layers that have collapsed;
    - the trivial model of the same rows, independent features fitted to them, which every fit should beat;
    - of undirected models: R-hat of the chains, and free energies of data and chains (overfitting, mixing);
    - with training data, how much worse new data do.

    Where latents are common to all data, single data have no likelihood: the findings are the log-evidence of all of
    them, the gap of the guide, Pareto k and the effective number of the joint weights, and in words what is not defined
    (`evaluation.log_evidence`). All rows of `x` are looked at then. Where a latent has a flat prior, as the code of an
    autoencoder, there is no log-likelihood: the findings are the squared error of the reconstructions beside the
    variance of the data, and in words what is not defined.

    Each warning says what it means. A closer look: `evaluation.bdmc`, `diagnostics.simulation_based_calibration`,
    `diagnostics.approximation_gap`, `diagnostics.importance_weights`, `diagnostics.convergence`.

    Args:
        pair: A model of the zoo, a `ppgen.Pair` or a run.
        x: Data that were not trained on, (rows, features); for programs with several arguments a tuple or a mapping.
        train: Training data, to compare with: as many rows as of `x`, but 100 where each of them must be annealed, as
            under a guide that is a point, unless `max_rows` is None.
        log_likelihood: Estimate of the log-likelihood of all rows of `x`, if there is one already.
        partitions: log Z, as `evaluation.log_likelihood` takes it, if it is known.
        num_particles: Particles a datum for importance sampling.
        num_samples: Draws of the chains of a Boltzmann machine.
        max_rows: Rows that are looked at, of more a random part; None for all.
        seed: Seed of all draws; the caller's random state is as before.

    Returns:
        A `Check`, whose `details` holds the results of the single diagnostics.

    Raises:
        ValueError: If data or arguments are wrong, or log-weights are those of no law.
        TypeError: If `pair` or `x` is none.

    Example:
        >>> import torch
        >>> from ppgen import diagnostics, models
        >>> found = diagnostics.check(models.VAE(features=6, latent=2, hidden=(4,)), torch.eye(6))
        >>> [finding.name for finding in found.findings]
        ['log-likelihood', 'gap of the guide', 'Pareto k', 'latent units', 'independent features']
    """
    seed = check_seed(seed)
    given, pair = pair, as_pair(pair)
    check_has_likelihood(pair, "The findings of a check")
    for name, number, least in (
        ("num_particles", num_particles, 2),
        ("num_samples", num_samples, 2),
        ("max_rows", max_rows, 2),
    ):
        check_count(name, number, least, optional=name == "max_rows")
    check_room("num_samples", num_samples)
    if log_likelihood is not None:
        check_kind("log_likelihood", log_likelihood, Estimate, "an estimate of evaluation.log_likelihood")
    if is_joint(pair, x):
        _check_none(train=train, log_likelihood=log_likelihood, partitions=partitions)
        return check_joint(pair, x, num_particles=num_particles, seed=seed, far=FAR, least_gap=LEAST_GAP)
    program = examine(pair, CheckedRows(x, pair))
    if program.layout.improper:
        _check_none(train=train, log_likelihood=log_likelihood, partitions=partitions, why=_NO_PRIOR)
        return check_coded(pair, x, program.layout)
    every = CheckedRows(x, pair)
    rows, some = _part(every, max_rows, seed)
    findings, details = [], dict[str, Any]()
    common: dict[str, Any] = {"seed": seed}
    points = program.layout.points
    common |= _POINTS if points else {}
    inexact, latents = bool(program.inexact_sites) and not points, latents_of(program)
    own = any(energy.batch_shape for energy in program.energies.values())  # each row has a log Z of its own
    known = partitions is not None or not program.energies
    if program.energies and not own:
        if partitions is None:
            found = program.energies.items()
            partitions = {site: _partition(given, site, energy, every(0, 1), seed) for site, energy in found}
        findings += [finding for estimate in _values(partitions) for finding in _partition_finding(estimate)]
        common["log_partition"] = details["log_partition"] = partitions
    estimate = log_likelihood
    if estimate is None:
        estimate = estimate_log_likelihood(given, rows, num_particles=num_particles, **common)
    findings.insert(0, _likelihood_finding(estimate))
    if points:
        findings.append(_point_finding(points))
    if inexact:
        elbo = estimate_log_likelihood(given, rows, method="elbo", num_particles=_ELBO_PARTICLES, **common)
        same = log_likelihood is None or (known and not some)  # the same rows and the same log Z
        beside = estimate if same else estimate_log_likelihood(given, rows, num_particles=num_particles, **common)
        findings.append(_gap_finding(beside, elbo, latents))
    if estimate.num_bad_pareto_k is not None:
        findings.append(_pareto_finding(estimate, latents))
    if program.layout.latent:
        finding, details["latent_units"] = _units_finding(given, rows, seed)
        findings.append(finding)
    if program.energies and not own:
        pairs = (rows, None) if train is None else (train, rows)
        free = free_energies(given, *pairs, num_samples=num_samples, max_rows=max_rows, sweeps=_SWEEPS, seed=seed)
        details["free_energies"] = free
        findings += _free_energy_findings(free, train is not None)
    elif train is not None:
        how: dict[str, Any] = {"method": "elbo", "num_particles": _ELBO_PARTICLES} if inexact else {"method": "auto"}
        most = min(max_rows, _ANNEALED_ROWS) if points and max_rows is not None else max_rows
        new = estimate if points and log_likelihood is None else None  # annealed above
        findings.append(_generalisation_finding(given, pair, train, rows, {**common, **how}, most, new))
    trivial = independent_features(pair, rows, min(len(every), max_rows or len(every)), program.energies)
    if trivial is not None:
        values = (estimate.per_datum or {}).get("log_likelihood")
        if values is not None and some and len(values) == len(every):
            values = values[_picked(len(every), max_rows, seed)]
        findings.append(trivial_finding(estimate, values, trivial))
    count = len(every) if log_likelihood is not None or not some else len(rows)
    subject = f"{type(pair).__name__} on {count} row{'' if count == 1 else 's'}" + (
        f" (a part of {len(every)})" if count < len(every) else ""
    )
    return Check(subject, tuple(findings), estimate, details)


def _check_none(why: str = "here latents are common to all of them", **given: Any) -> None:
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"{name} is of data that have likelihoods of their own, and {why}. Leave it out.")


def _part(rows: CheckedRows, most: int | None, seed: int) -> tuple[Any, bool]:
    """The rows, or a random part of them, and whether it is a part."""
    if most is None or len(rows) <= most:
        return rows(0, len(rows)), False
    return rows.at(_picked(len(rows), most, seed)), True


def _picked(count: int, most: int | None, seed: int) -> np.ndarray:
    """Index of the rows of that part."""
    return np.sort(np.random.default_rng(seed).choice(count, most or count, replace=False))


def _values(partitions: Any) -> list[Any]:
    return list(partitions.values()) if isinstance(partitions, dict) else [partitions]


def _partition(pair: Any, site: str, energy: Any, row: Any, seed: int) -> Estimate:
    method = "exact" if enumerable(energy) else "sandwich"
    return log_partition(pair, site=site, method=method, x=row, seed=seed, **_LADDER)


def _partition_finding(estimate: Any) -> list[Finding]:
    if not isinstance(estimate, PartitionSandwich):
        return []
    gap, error = estimate.gap, estimate.gap_se
    wide = abs(gap) > max(LEAST_GAP, _Z * error)
    return [
        Finding(
            "log Z",
            f"between {with_error(estimate.lower.value, estimate.lower.se)} and "
            f"{with_error(estimate.upper.value, estimate.upper.se)} nats, {with_error(gap, error)} apart",
            f"annealing upwards and downwards leave {gap:.1f} nats open, by which every log-likelihood may err"
            if wide
            else None,
            "More betas: evaluation.log_partition(pair, method='sandwich', betas=10_000), or betas='adaptive'."
            if wide
            else None,
            {"gap": gap, "gap_se": error},
        )
    ]


def _likelihood_finding(estimate: Estimate) -> Finding:
    error = f"{with_error(estimate.value, estimate.se)} nats per datum ({estimate.kind}, {estimate.method})"
    values = {"value": estimate.value, "se": estimate.se}
    return Finding("log-likelihood", error, values=values)


def _gap_finding(estimate: Estimate, elbo: Estimate, latents: Latents) -> Finding:
    gap = estimate.value - elbo.value
    error = math.hypot(_own_error(estimate), _own_error(elbo))  # log Z, and so its error, is common to both
    # An error that is unknown (NaN) excuses no gap: an estimate from too few draws errs low, and the gap with it.
    far = gap > max(LEAST_GAP, FAR * abs(estimate.value)) and not gap <= _Z * error
    least = "at least " if estimate.kind == "lower bound" else ""
    return Finding(
        "gap of the guide",
        f"{least}{with_error(gap, error)} nats per datum between log-likelihood and ELBO",
        f"the guide is {gap:.1f} nats from the posterior: the ELBO ranks models by their guides, and posterior means "
        "by the guide are off"
        if far
        else None,
        gap_advice(latents) if far else None,
        {"gap": gap, "se": error},
    )


def _point_finding(points: tuple[str, ...]) -> Finding:
    return Finding(
        "guide",
        f"it gives {', '.join(map(repr, points))} a point and no law (MAP), so that there is no bound, no gap and no "
        "weights: log p(x) is annealed from the prior, and what training reports is the log joint at the point",
    )


def _own_error(estimate: Estimate) -> float:
    """Error of an estimate beside that of log Z, whether or not the latter is known."""
    common = estimate.log_partition_se or 0.0
    if math.isnan(common):
        own = (estimate.per_datum or {}).get("se")
        return 0.0 if own is None else error_of_mean(own)
    return math.sqrt(max(estimate.se**2 - common**2, 0.0)) if math.isfinite(estimate.se) else math.nan


def _pareto_finding(estimate: Estimate, latents: Latents) -> Finding:
    bad, count = estimate.num_bad_pareto_k or 0, estimate.num_data or 1
    share, unknown = bad / count, (estimate.num_unknown_pareto_k or 0) / count
    k = (estimate.per_datum or {}).get("pareto_k", np.array([]))
    largest = float(np.nanmax(k)) if np.isfinite(k).any() else math.nan
    text = f"above {PARETO_K_LIMIT} for {share:.1%} of the data, " + (
        "known of none" if math.isnan(largest) else f"largest {largest:.2f}"
    )
    told = []
    if bad:
        told.append(
            f"the importance weights of {bad} of {count} data have no tail that can be trusted: there the guide misses "
            "mass of the posterior, and log p(x) errs low by more than its error says"
        )
    if unknown:
        told.append(
            f"one particle carries the estimate of {unknown:.1%} of the data: there neither k nor the error is known, "
            "and log p(x) errs low by nobody knows how much"
        )
    return Finding(
        "Pareto k",
        f"{text}, unknown for {unknown:.1%}" if unknown else text,
        "; ".join(told) or None,
        weights_advice(latents, max(share, unknown)) if told else None,
        {"share": share, "largest": largest, "unknown": unknown},
    )


def _units_finding(pair: Any, rows: Any, seed: int) -> tuple[Finding, Any]:
    try:
        found = latent_units(pair, rows, num_samples=50, seed=seed)
    except ValueError as error:  # such as a guide with sites that the model has not
        return Finding("latent units", f"not looked at: {error}"), None
    text = f"{found.num_inactive} of {found.num_units} inactive"
    if len(found.sites) > 1:
        each = (f"{name} {int(found.dataset.num_active.sel(site=name))} active" for name in found.sites)
        text += f" ({', '.join(each)})"
    values = {"inactive": float(found.num_inactive), "units": float(found.num_units)}
    warning = found.warning
    return Finding("latent units", text, warning, found.advice if warning else None, values), found


def _free_energy_findings(free: Any, both: bool) -> list[Finding]:
    told = {kind: (text, advice) for kind, text, advice in free.told}
    rhat = Finding(
        "R-hat of the chains",
        f"{free.rhat:.3f} of their free energies and units",
        *told.get("mixing", (None, None)),
        values={"rhat": float(free.rhat)},
    )
    gap, error = free.chain_gap
    chains = Finding(
        "chains and data",
        f"the model's free energies lie {signed(gap, error)} nats from those of the data",
        *told.get("fit", (None, None)),
        values={"gap": gap, "se": error},
    )
    if not both:
        return [rhat, chains]
    gap, error = free.gap
    held_out = Finding(
        "overfitting",
        f"free energies of new data lie {signed(gap, error)} nats from those of training data",
        *told.get("overfitting", (None, None)),
        values={"gap": gap, "se": error},
    )
    return [rhat, chains, held_out]


def _generalisation_finding(
    pair: Any, bare: Any, train: Any, rows: Any, how: dict[str, Any], most: int | None, new: Estimate | None = None
) -> Finding:
    """How much lower the bound (or log p(x) itself) of new data lies, of which there may be an estimate already."""
    part, some = _part(CheckedRows(train, bare), most, how["seed"])
    seen = estimate_log_likelihood(pair, part, **how)
    new = estimate_log_likelihood(pair, rows, **how) if new is None else new
    gap = seen.value - new.value
    error = math.hypot(seen.data_se or 0.0, new.data_se or 0.0)
    far = gap > max(LEAST_GAP, FAR * abs(new.value)) and gap > _Z * error
    what = "ELBO" if how["method"] == "elbo" else "log-likelihood"
    told = f"{most} training rows, a part of them," if some and most == _ANNEALED_ROWS else "training data"
    return Finding(
        "overfitting",
        f"{what} of {told} {with_error(gap, error)} nats per datum above that of new data",
        f"new data do {gap:.1f} nats worse than training data: the model, or its guide, knows rows by heart"
        if far
        else None,
        OVERFITTING if far else None,
        {"gap": gap, "se": error},
    )
