"""log p(x) of a pair: exact where it can be, importance sampling or annealing with error bars where not."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from torch import Tensor

from ppgen.checks.seeding import check_seed
from ppgen.checks.switches import check_switches
from ppgen.devices import is_accelerator
from ppgen.distributions import BaseRatePath
from ppgen.evaluation.blindness import ALL_ALIKE
from ppgen.evaluation.effective import CONSTANT_RANGE, LONE, SHARE, bias_of_mean, error_of_mean, few_particles, few_runs
from ppgen.evaluation.estimate import Estimate
from ppgen.evaluation.likelihood.bounds import bounds
from ppgen.evaluation.likelihood.given_partitions import own_partitions, partitions_of
from ppgen.evaluation.likelihood.hidden_layers import annealed_hidden, enumerated
from ppgen.evaluation.likelihood.importance import importance
from ppgen.evaluation.likelihood.latent_annealing import annealed, check_annealing, check_start
from ppgen.evaluation.likelihood.methods import check_arguments, choose
from ppgen.evaluation.likelihood.reverse_annealing import ANNEALING_MODEL, raised
from ppgen.evaluation.per_datum import PerDatum
from ppgen.evaluation.program import examine
from ppgen.evaluation.rows import CheckedRows
from ppgen.inference.annealing.annealing import make_betas
from ppgen.inference.kernels.hmc import HMC
from ppgen.inference.structure.machine_sites import base_mean, undirected_sites
from ppgen.pair import as_pair
from ppgen.progress import progress_bar
from ppgen.undisturbed import evaluating

# Log-weights at once: with 784 features an activation takes 6 MiB and 0.3 GiB.
CHUNK_CPU, CHUNK_GPU = 2_000, 100_000
_ROUNDING = 1e-3  # nats

_DOUBTFUL_GUIDE = (
    "the guide is too narrow or too far off for its weights, and the value errs low by "
    "more than the error bar says; use a better guide, as more particles help little"
)
_DOUBTFUL_LADDER = (
    "a few annealing runs carry the estimate of many rows, and the value errs low by more than the error bar says; "
    "use more betas"
)


def log_likelihood(
    pair: Any,
    x: Any,
    *,
    method: str = "auto",
    num_particles: int = 5000,
    chunk: int | None = None,
    log_partition: Any = None,
    num_chains: int = 100,
    betas: int | str | Sequence[float] | Tensor = 1000,
    start: str = "prior",
    kernel: HMC | None = None,
    seed: int = 0,
    vectorize_particles: bool = True,
    compile: bool | Literal["auto"] = "auto",
    progress: bool = False,
) -> Estimate:
    r"""Estimate log p(x), the mean over the data in nats per datum, and of every datum.

    .. math::
        \widehat{\log p}(x) = \log \frac{1}{K} \sum_{k=1}^K \frac{p(x, z_k)}{q(z_k \mid x)},
        \quad z_k \sim q(z \mid x)

    It is a lower bound in expectation, and equal to log p(x) for every K where the guide is the exact
    posterior (an RBM). Under a Boltzmann machine an estimate of log Z enters every datum alike; its error is
    part of `se` and is given by itself as `log_partition_se`. With `"ais"` a directed pair's weights are those of
    annealing runs from the prior, along p(z) p(x | z)^beta, or from the guide, along q(z | x)^(1 - beta) p(x, z)^beta,
    moved by Hamiltonian Monte Carlo; they too have the mean p(x) for any ladder. A pilot run finds the step sizes. A
    level costs a trajectory of `num_chains` chains a datum, so that a few hundred rows are what one asks for. The pair
    is run in evaluation mode; its training flags and the caller's random state are left as they are. Before that, every
    value is held against the law of the site that observes it, unless it is missing under a mask, and a few rows in a
    batch against the same alone, as a datum whose density depends on others has no likelihood of its own.

    Args:
        pair: A model of the zoo, a `ppgen.Pair` or a run.
        x: Data, (rows, features), tensor or array; for programs with several arguments a tuple or a mapping.
        method: One of

            - `"importance"`, and `"elbo"`, the mean of the log-weights instead of the logarithm of their mean;
            - `"exact"` where log Z can be enumerated and the guide is the exact posterior, or the model is a machine
              whose hidden layers can be enumerated for each datum;
            - `"bound"`: the ELBO with a machine's hidden units at the means of the guide, in closed form, which papers
              on deep machines print (`inference.MeanField`);
            - `"ais"`: `"exact"` with log Z by annealing; for a deep machine, annealing of the hidden units of every
              datum as well; for a directed pair with continuous latents, annealing of the latents of every datum;
            - `"raise"`: a machine without any log Z, by annealing runs that go down from each datum. It bounds the law
              at which annealing upwards ends, not the machine's: it errs low for data like the machine's own draws and
              high for data that the base rates explain better, both the less the longer the ladder;
            - `"auto"`: `"exact"` where that is cheap, else log Z by annealing from both sides, else `"importance"`, or
              `"ais"` where a guide has points and no law (MAP estimates of continuous latents), which give no bound;
              the estimate says which.
        num_particles: Particles K a datum for importance sampling.
        chunk: Log-weights (particle or chain x row) evaluated at once, which bounds the memory: an activation of n
            units takes 4 n bytes for each. By default 2,000 on CPU (what caches hold) and 100,000 on a GPU.
        log_partition: log Z if it is known: an estimate, a number, or a mapping from undirected sites to those. A bare
            number is an estimate of unknown error; without one log Z is enumerated or, where that is too much and
            `method` is not `"ais"`, annealed from both sides, at twice the cost of one at most.
        num_chains: Annealing runs: of log Z, or of each datum.
        betas: Their ladder, as for `log_partition`.
        start: Where annealing of latents begins: `"prior"` or `"guide"`.
        kernel: What moves the latents, one trajectory a level; `inference.HMC()` by default.
        seed: Seed of all randomness.
        vectorize_particles: False for programs that cannot broadcast over particles.
        compile: Whether importance sampling runs as machine code: the pair is traced once and compiled, within the same
            chunks. `"auto"` does it for long runs of large pairs, by their size and not by the clock. The draws of
            machine code are its own: they follow from the seed, but agree with those of the program only up to Monte
            Carlo error. Where there is no compiler or no graph of the pair, a warning says why and the program runs.
        progress: Whether to show a progress bar.

    Returns:
        The estimate; `pointwise` and `pareto_k` are arrays over the data.

    Raises:
        ValueError: If data or arguments are wrong, log Z is stale, the method does not apply, the model observes
            nothing, or rows lean on each other; it says what to do.
        TypeError: If `pair` or `x` is none.

    References:
        Burda, Grosse and Salakhutdinov (2016), Importance weighted autoencoders, arXiv:1509.00519.
        Wu, Burda, Salakhutdinov and Grosse (2017), On the quantitative analysis of decoder-based generative models,
        arXiv:1611.04273.
        Burda, Grosse and Salakhutdinov (2015), Accurate and conservative estimates of MRF log-likelihood using reverse
        annealing, arXiv:1412.8566.
        Vehtari, Simpson, Gelman, Yao and Gabry (2024), Pareto smoothed importance sampling, arXiv:1507.02646.

    Example:
        >>> import numpy as np
        >>> from ppgen import evaluation, models
        >>> rbm = models.RBM.from_arrays(np.ones((3, 2)), np.zeros(3), np.zeros(2))
        >>> evaluation.log_likelihood(rbm, np.tri(3))
        -2.2269 nats per datum, exact, auto: exact, 3 rows; spread over data ±1.0
    """
    check_switches(vectorize_particles=vectorize_particles, progress=progress)
    seed = check_seed(seed)
    pair = as_pair(pair)
    check_arguments(method, num_particles, chunk, compile)
    rows = CheckedRows(x, pair)
    program = examine(pair, rows, chunk)
    rows = CheckedRows(x, pair) if rows.dtype is None else rows  # parameters made at the first run decide the dtype
    chosen = choose(method, program, len(rows))
    chunk = chunk or (CHUNK_GPU if is_accelerator(pair.device) else CHUNK_CPU)
    options = {"num_chains": num_chains, "betas": betas, "seed": seed, "progress": progress, "x": rows(0, 1)}
    energies = program.energies
    if any(energy.batch_shape for energy in program.energies.values()):  # each row has a log Z of its own
        if chosen == "hidden annealing":
            raise ValueError(
                f"method={method!r} needs a machine with one log Z; the energy of this one depends on the datum, so "
                "each row has its own. Use method='auto', 'exact' or 'raise'."
            )
        options["x"] = rows(0, len(rows))
        energies = undirected_sites(pair, options["x"])
    if chosen == "raise" and log_partition is not None:
        raise ValueError(
            "method='raise' needs no log Z: it anneals down from the data. Leave log_partition out, or use "
            "method='auto'."
        )
    partitions = partitions_of(pair, {} if chosen == "raise" else energies, log_partition, method, options)
    # What differs from row to row is subtracted at the end, where rows are not in batches.
    common = {site: each.value if own_partitions(each) is None else 0.0 for site, each in partitions.items()}
    log_partitions = sum(
        (own for own in map(own_partitions, partitions.values()) if own is not None), np.zeros(len(rows))
    )
    ladder = make_betas(betas) if chosen in ("annealing", "hidden annealing", "raise") else []
    mover = check_annealing(num_chains if ladder else 2, start, kernel)
    if chosen == "annealing":
        check_start(program.layout, start)
    with evaluating(pair, seed), progress_bar("log-likelihood", len(rows), progress) as advance:
        if chosen == "annealing":
            found = annealed(
                pair,
                rows,
                len(rows),
                layout=program.layout,
                betas=ladder,
                num_chains=num_chains,
                chunk=chunk,
                start="prior" if start == "prior" else "guide",
                kernel=mover,
                seed=seed,
                advance=advance,
            )
        elif chosen == "raise" and program.machine is not None:
            energy = energies[program.machine.site]
            found = raised(
                BaseRatePath(energy, base_mean(pair, energy)),
                program.machine,
                rows,
                len(rows),
                betas=ladder,
                num_chains=num_chains,
                chunk=chunk,
                seed=seed,
                compile=compile,
                advance=advance,
            )
        elif chosen == "hidden annealing":
            (log_z,) = (each.value for each in partitions.values())
            found = annealed_hidden(
                program,
                rows,
                len(rows),
                log_z,
                betas=ladder,
                num_chains=num_chains,
                chunk=chunk,
                seed=seed,
                advance=advance,
            )
        elif chosen == "enumeration":
            (log_z,) = common.values()
            found = enumerated(program, rows, len(rows), log_z, advance)
        elif chosen in ("elbo", "bound"):
            found = bounds(
                pair,
                rows,
                len(rows),
                layout=program.layout,
                num_particles=num_particles if chosen == "elbo" else 1,
                chunk=chunk,
                log_partition=common,
                closed=chosen == "bound",
                advance=advance,
            )
        else:
            found = importance(
                pair,
                rows,
                len(rows),
                layout=program.layout,
                num_particles=num_particles if chosen == "importance" else 1,
                chunk=chunk,
                log_partition=common,
                vectorize_particles=vectorize_particles,
                pareto=chosen == "importance",
                compile=compile,
                advance=advance,
            )
    found = found._replace(log_likelihood=found.log_likelihood - log_partitions)
    if np.isnan(found.log_likelihood).any():
        row = int(np.isnan(found.log_likelihood).argmax())
        raise ValueError(f"log p(x) of row {row} is NaN: the parameters or the densities of the pair are not finite.")
    if chosen == "importance":
        estimate = _sampled(found, num_particles, f"importance (K={num_particles})", _DOUBTFUL_GUIDE)
    elif chosen == "annealing":
        how = f"AIS from the {start} ({num_chains} chains x {len(ladder) - 1} betas)"
        estimate = _sampled(found, num_chains, how, _DOUBTFUL_LADDER)
    elif chosen == "hidden annealing":
        how = f"AIS of the hidden units ({num_chains} chains x {len(ladder) - 1} betas)"
        estimate = _sampled(found, num_chains, how, _DOUBTFUL_LADDER)
    elif chosen == "raise":
        how = f"reverse AIS from each datum ({num_chains} chains x {len(ladder) - 1} betas)"
        estimate = replace(
            _sampled(found, num_chains, how, _DOUBTFUL_LADDER),
            kind="estimate",
            bias=None,
            note=ANNEALING_MODEL,
        )
    elif chosen in ("elbo", "bound"):
        how = f"ELBO (K={num_particles})" if chosen == "elbo" else "mean field"
        estimate = _sampled(found, num_particles if chosen == "elbo" else 1, how, "")
        estimate = replace(estimate, ess=None, num_draws=None, bias=None)  # a mean, of which nothing is weighted
    else:
        estimate = _exact(found)
    estimate = _with_partitions(estimate, partitions)
    if program.discrete:
        estimate = _below_one(estimate)
    return replace(estimate, method=f"auto: {estimate.method}") if method == "auto" else estimate


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


def _sampled(found: PerDatum, num_draws: int, method: str, doubt: str) -> Estimate:
    if doubt:  # there are weights, and where one outweighs all others their spread tells nothing of the error
        lone = ~(found.ess >= LONE) & ~(found.se <= CONSTANT_RANGE)
        found = found._replace(se=np.where(lone, math.nan, found.se))
    values = found.log_likelihood
    per_datum = {"log_likelihood": values, "se": found.se, "ess": found.ess}
    if found.pareto_k is not None:
        per_datum["pareto_k"] = found.pareto_k
    estimate = Estimate(
        float(values.mean()),
        error_of_mean(found.se),
        "lower bound",
        method,
        ess=float(found.ess.mean()),
        num_draws=num_draws,
        num_data=len(values),
        data_se=_spread(values),
        bias=bias_of_mean(found.se),
        per_datum=per_datum,
    )
    warnings = []
    if found.pareto_k is not None:
        if (estimate.num_bad_pareto_k or 0) > SHARE * len(values):
            warnings.append(doubt)
        if text := few_particles(found.ess, found.se, num_draws):
            warnings.append(text)
    elif doubt:
        few = few_runs(found.ess, num_draws)
        warnings += [doubt] if few.mean() > SHARE else []
        warnings += [ALL_ALIKE] if (np.isnan(found.se) & ~few).mean() > SHARE else []
    return replace(estimate, warning="; ".join(warnings) or None)


def _below_one(estimate: Estimate) -> Estimate:
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


def _with_partitions(estimate: Estimate, partitions: dict[str, Estimate]) -> Estimate:
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
