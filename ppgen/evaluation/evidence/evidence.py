"""log p(all data), the evidence of a model, where latents are common to all data."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from ppgen.checks.likelihood import check_has_likelihood
from ppgen.checks.seeding import check_seed
from ppgen.checks.switches import check_switches
from ppgen.devices import check_float64, is_accelerator
from ppgen.evaluation.estimate import Estimate
from ppgen.evaluation.evidence.all_data import AllData, all_data
from ppgen.evaluation.evidence.annealed import annealed_estimate, annealed_weights, check_movable
from ppgen.evaluation.evidence.joint_weights import JointWeights, joint_weights
from ppgen.evaluation.likelihood.latent_annealing import budget, check_annealing
from ppgen.evaluation.likelihood.likelihood import CHUNK_CPU, CHUNK_GPU, log_likelihood
from ppgen.evaluation.likelihood.methods import check_arguments
from ppgen.inference.annealing.annealing import make_betas
from ppgen.inference.kernels.hmc import HMC
from ppgen.inference.kernels.posterior_kernel import TemperableKernel
from ppgen.inference.structure.points import check_no_points
from ppgen.pair import as_pair
from ppgen.progress import progress_bar
from ppgen.undisturbed import evaluating

METHODS = ("auto", "importance", "ais")


def log_evidence(
    pair: Any,
    data: Any,
    *,
    method: str = "auto",
    num_particles: int = 5000,
    chunk: int | None = None,
    num_chains: int | None = None,
    betas: int | str | Sequence[float] | Tensor | None = None,
    start: str = "prior",
    kernel: HMC | TemperableKernel | None = None,
    log_partition: Any = None,
    vectorize_particles: bool = True,
    seed: int = 0,
    progress: bool = False,
) -> Estimate:
    r"""Estimate log p(all data), the evidence or marginal likelihood of the model, in nats.

    .. math::
        \widehat{\log p}(x_{1:N}) = \log \frac{1}{K} \sum_{k=1}^K
        \frac{p(z_k) \prod_n p(x_n, z_{nk} \mid z_k)}{q(z_k, z_{1:N, k})}, \quad (z_k, z_{1:N, k}) \sim q

    Latents outside the data plate are common to all data, so that a particle is one draw of all latents and has one
    joint weight. The value is a lower bound in expectation. Pareto k and the effective number of particles tell how
    far it can be trusted: joint weights spread the more, the more latents there are. Where rows are independent it is
    the sum of their log-likelihoods, each with particles of its own, by `evaluation.log_likelihood`.

    With `method="ais"` the weights are those of annealing runs along p(z) p(x | z)^beta, or from the guide along
    q(z)^(1 - beta) p(x, z)^beta, moved by Hamiltonian Monte Carlo over all latents together; they too have the mean
    p(x). Where the guide is too narrow for weights of its own (Pareto k above 0.7) that is what to take.

    Evidence depends on the prior, however vague it is, and an improper one has none: then this raises.

    Args:
        pair: A model of the zoo, a `ppgen.Pair` or a run.
        data: The whole data set, as the programs take it: a tensor, a tuple or a mapping.
        method: `"importance"`, `"ais"` for continuous latents, or `"auto"`: importance, but annealing from the prior
            where the guide has points and no law (MAP). Of independent rows as `evaluation.log_likelihood` takes it.
        num_particles: Particles K.
        chunk: Particles, or annealing runs, times rows evaluated at once, which bounds the memory; at least one of them
            on all rows. By default 2,000 on CPU and 100,000 on a GPU.
        num_chains: Annealing runs; 100 by default, and 16 by a tempered kernel, such as sparse codes are moved by.
        betas: Their ladder: a number of equal steps, or increasing numbers up to 1; 1000 steps by default, and 200 by a
            tempered kernel.
        start: Where annealing begins: `"prior"` or `"guide"`.
        kernel: What moves the latents, one step a level: an `inference.HMC`, by default `HMC()`; or, from the prior, an
            `inference.SparseGibbs` or another `inference.TemperableKernel`.
        log_partition: log Z of undirected sites, as `evaluation.log_likelihood` takes it; where rows are independent.
        vectorize_particles: False for programs that cannot broadcast over particles.
        seed: Seed of all draws; the caller's random state is as before.
        progress: Whether to show a progress bar.

    Returns:
        The estimate, `unit` `"nats"`; `pareto_k` is that of the joint weights.

    Raises:
        ValueError: If data or arguments are wrong or not the whole data set, a prior is improper, the method
            does not apply, or a site has a scale of its own; it says what to do.
        TypeError: If `pair` or `data` is none.

    References:
        | Pareto Smoothed Importance Sampling (Vehtari, Simpson, Gelman, Yao and Gabry, 2024), arXiv:1507.02646
        | Marginal Likelihood Computation for Model Selection and Hypothesis Testing: An Extensive Review (Llorente,
          Martino, Delgado and Lopez-Santiago, 2023), arXiv:2005.08334

    Example:
        >>> import ppgen, pyro, pyro.distributions as dist, torch
        >>> from ppgen.evaluation import log_evidence
        >>> def model(x):
        ...     mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
        ...     with pyro.plate("data", len(x)):
        ...         pyro.sample("x", dist.Normal(mean, 1.0), obs=x)
        >>> def posterior(x):
        ...     pyro.sample("mean", dist.Normal(x.sum() / (1 + len(x)), (1 + len(x)) ** -0.5))
        >>> round(log_evidence(ppgen.Pair(model, posterior), torch.zeros(3)).value, 4)
        -3.45
    """
    check_switches(vectorize_particles=vectorize_particles, progress=progress)
    seed = check_seed(seed)
    pair = as_pair(pair)
    check_has_likelihood(pair, "Evidence")
    check_arguments(method, num_particles, chunk, False)
    mover = check_annealing(2 if num_chains is None else num_chains, start, kernel)
    check_float64(pair.device, "Evidence")
    found = all_data(pair, data)
    check_evidence(found)
    if found.joint:
        check_method(method)
    else:
        return _sum_over_rows(
            log_likelihood(
                pair,
                data,
                method=method,
                num_particles=num_particles,
                chunk=chunk,
                num_chains=num_chains,
                betas=betas,
                start=start,
                kernel=kernel,
                log_partition=log_partition,
                vectorize_particles=vectorize_particles,
                seed=seed,
                progress=progress,
            )
        )
    if log_partition is not None:
        raise ValueError(
            "log_partition is taken where rows are independent, and here latents are common to all of them. Attach it: "
            "with inference.attach(log_partition=...)."
        )
    chunk = chunk or (CHUNK_GPU if is_accelerator(pair.device) else CHUNK_CPU)
    points = found.layout.points
    if method == "ais" or (method == "auto" and points):
        check_movable(found)
        num_chains, betas = budget(num_chains, betas, mover)
        ladder = make_betas(betas)
        options: dict[str, Any] = {"start": start, "kernel": mover, "seed": seed}
        with evaluating(pair, seed), progress_bar("log-evidence", num_chains, progress) as advance:
            weights = annealed_weights(pair, found, ladder, num_chains, chunk, advance=advance, **options)
        return annealed_estimate(weights, found, start, len(ladder) - 1)
    check_no_points(points, "weights and evidence by them", "Use method='ais', or give a guide that draws the site.")
    with evaluating(pair, seed), progress_bar("log-evidence", num_particles, progress) as advance:
        weights = joint_weights(pair, found, num_particles, chunk, vectorize=vectorize_particles, advance=advance)
    return evidence_of(weights, found)


def check_method(method: str) -> None:
    """Raise unless a method gives evidence where latents are common to all data.

    Raises:
        ValueError: Lists those that do.
    """
    if method not in METHODS:
        raise ValueError(
            f"method must be one of {', '.join(map(repr, METHODS))} where latents are common to all data, got "
            f"{method!r}."
        )


def check_evidence(found: AllData) -> None:
    """Raise if p(all data) is not defined, or weights of the guide do not estimate it.

    Raises:
        ValueError: Says why, and what to do.
    """
    if (why := found.improper) is not None:
        raise ValueError(
            f"p(all data) is not defined: {why}. Give it a proper prior, or compare models by leaving data out: "
            "arviz_stats.loo(diagnostics.from_pyro_svi(pair, data))."
        )
    check_weights(found)


def check_weights(found: AllData) -> None:
    """Raise if log-weights are those of no law, up to a constant.

    Raises:
        ValueError: Says why, and what to do.
    """
    layout = found.layout
    if layout.scaled:
        raise ValueError(
            f"The sites {list(dict.fromkeys(layout.scaled))} have a scale of their own, under which a log-weight is "
            "that of no law, so that nothing of it estimates p(all data). Take poutine.scale, or the subsampling of an "
            "inner plate, away."
        )
    if layout.undirected and found.joint:
        raise ValueError(
            f"log Z at site {layout.undirected[0]!r} is not known; attach it: with inference.attach(log_partition=...)."
        )


def evidence_of(weights: JointWeights, found: AllData) -> Estimate:
    """The estimate that joint weights give."""
    method = f"importance (K={len(weights.log_weights)})"
    return weights.estimate(method, found.num_data, weights.warning, weights.pareto_k)


def _sum_over_rows(mean: Estimate) -> Estimate:
    """The sum over rows that a mean over rows stands for, with the error of a log Z that all of them share."""
    count = mean.num_data or 1
    return replace(
        mean,
        value=mean.value * count,
        se=mean.se * count,
        method=f"sum over rows, {mean.method}",
        unit="nats",
        data_se=None,
        bias=None if mean.bias is None else mean.bias * count,
        log_partition_se=None if mean.log_partition_se is None else mean.log_partition_se * count,
    )
