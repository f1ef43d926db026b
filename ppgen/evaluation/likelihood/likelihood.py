"""log p(x) of a pair: exact where it can be, importance sampling or annealing with error bars where not."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from torch import Tensor

from ppgen.checks.likelihood import check_has_likelihood
from ppgen.checks.seeding import check_seed
from ppgen.checks.switches import check_switches
from ppgen.devices import is_accelerator
from ppgen.evaluation.estimate import Estimate
from ppgen.evaluation.likelihood.estimates import below_one, estimate_of
from ppgen.evaluation.likelihood.given_partitions import partitions_of
from ppgen.evaluation.likelihood.latent_annealing import LatentAnnealing, budget, check_annealing, mover_of
from ppgen.evaluation.likelihood.method import Annealing, Sampling, Subject
from ppgen.evaluation.likelihood.methods import check_arguments, choose
from ppgen.evaluation.likelihood.per_position import check_per_position, with_positions
from ppgen.evaluation.program import ROWS_AT_ONCE, examine
from ppgen.evaluation.rows import CheckedRows
from ppgen.inference.annealing.annealing import make_betas
from ppgen.inference.kernels.hmc import HMC
from ppgen.inference.kernels.posterior_kernel import TemperableKernel
from ppgen.inference.structure.machine_sites import undirected_sites
from ppgen.pair import as_pair
from ppgen.progress import progress_bar
from ppgen.undisturbed import evaluating

# Log-weights at once: with 784 features an activation takes 6 MiB and 0.3 GiB.
CHUNK_CPU, CHUNK_GPU = 2_000, 100_000


def log_likelihood(
    pair: Any,
    x: Any,
    *,
    method: str = "auto",
    num_particles: int = 5000,
    chunk: int | None = None,
    log_partition: Any = None,
    num_chains: int | None = None,
    betas: int | str | Sequence[float] | Tensor | None = None,
    start: str = "prior",
    kernel: HMC | TemperableKernel | None = None,
    per_position: bool = False,
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
    moved by Hamiltonian Monte Carlo, whose step sizes a pilot run finds, or by a kernel that can be tempered, such as
    `inference.SparseGibbs` for sparse codes; they too have the mean p(x) for any ladder. A level costs a step of
    `num_chains` chains a datum, so that a few hundred rows are what one asks for. The pair
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
              `"ais"` where a guide has points and no law (MAP estimates of continuous latents), which give no bound,
              by `SparseGibbs` if the program is one that it reads; the estimate says which.
        num_particles: Particles K a datum for importance sampling.
        chunk: Log-weights (particle or chain x row) evaluated at once, which bounds the memory: an activation of n
            units takes 4 n bytes for each. By default 2,000 on CPU (what caches hold) and 100,000 on a GPU.
        log_partition: log Z if it is known: an estimate, a number, or a mapping from undirected sites to those. A bare
            number is an estimate of unknown error; without one log Z is enumerated or, where that is too much and
            `method` is not `"ais"`, annealed from both sides, at twice the cost of one at most.
        num_chains: Annealing runs: of log Z, or of each datum; 100 by default, and 16 by a tempered kernel.
        betas: Their ladder, as for `log_partition`; 1000 equal steps by default, and 200 by a tempered kernel.
        start: Where annealing of latents begins: `"prior"` or `"guide"`.
        kernel: What moves the latents, one step a level: an `inference.HMC`, by default `HMC()`; or, from the prior, an
            `inference.SparseGibbs` or another `inference.TemperableKernel`.
        per_position: Whether `pointwise` is log p of each entry given those before it, (rows, features), whose sum over
            the features is log p of the row: of exact likelihoods of models without latents, where the data are one
            autoregressive law, or independent entries.
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
            nothing, or the density of a row depends on other rows; it says what to do.
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
    check_switches(vectorize_particles=vectorize_particles, per_position=per_position, progress=progress)
    seed = check_seed(seed)
    pair = as_pair(pair)
    check_has_likelihood(pair, "Log-likelihoods")
    check_arguments(method, num_particles, chunk, compile)
    rows = CheckedRows(x, pair)
    program = examine(pair, rows, chunk)
    rows = CheckedRows(x, pair) if rows.dtype is None else rows  # parameters made at the first run decide the dtype
    chosen = choose(method, program, len(rows), log_partition)
    if per_position:
        check_per_position(pair, rows, program, chosen.name)
    if kernel is None and method == "auto" and chosen is LatentAnnealing and start == "prior":
        with evaluating(pair, seed):
            kernel = mover_of(pair, rows, program.layout, chunk or ROWS_AT_ONCE)
    mover = check_annealing(2 if num_chains is None or not chosen.anneals else num_chains, start, kernel)
    num_chains, betas = budget(num_chains, betas, mover if chosen is LatentAnnealing else None)
    options = {"num_chains": num_chains, "betas": betas, "seed": seed, "progress": progress, "x": rows(0, 1)}
    energies = program.energies
    if any(energy.batch_shape for energy in energies.values()):  # each row has a log Z of its own
        options["x"] = rows(0, len(rows))
        energies = undirected_sites(pair, options["x"])
    partitions = partitions_of(pair, energies if chosen.normalised else {}, log_partition, method, options)
    ladder = make_betas(betas) if chosen.anneals else []
    chunk = chunk or (CHUNK_GPU if is_accelerator(pair.device) else CHUNK_CPU)
    sampling = Sampling(num_particles, chunk, vectorize_particles, compile)
    annealing = Annealing(ladder, num_chains, chunk, compile)
    way = chosen(sampling, annealing, "prior" if start == "prior" else "guide", mover, seed)
    with evaluating(pair, seed), progress_bar("log-likelihood", len(rows), progress) as advance:
        found = way.run(Subject(pair, rows, program, energies, partitions), advance)
    estimate = estimate_of(way, found, partitions)
    if program.discrete:
        estimate = below_one(estimate)
    if per_position:
        with evaluating(pair, seed):
            estimate = with_positions(estimate, pair, rows, chunk)
    return replace(estimate, method=f"auto: {estimate.method}") if method == "auto" else estimate
