"""Simulation-based calibration of the posterior draws of a pair."""

from collections.abc import Mapping
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor

from ppgen import inference
from ppgen.checks.arguments import check_count, check_kind, check_number
from ppgen.checks.likelihood import check_has_likelihood
from ppgen.checks.room import check_room
from ppgen.checks.seeding import check_seed
from ppgen.checks.switches import check_switches
from ppgen.diagnostics.calibration.data_sets import DataSets, drawn_of_data_sets
from ppgen.diagnostics.calibration.draws import Drawn, drawn_by_pair
from ppgen.diagnostics.calibration.gibbs import MakeKernel, drawn_by_gibbs
from ppgen.diagnostics.calibration.latents import Latents, Quantity, Sites
from ppgen.diagnostics.calibration.ranks import ranks_among
from ppgen.diagnostics.calibration.refit import Refit, check_recognition, drawn_by_refits
from ppgen.diagnostics.calibration.result import DENSITIES, Calibration, summarise
from ppgen.diagnostics.calibration.simulations import batch_like, simulated
from ppgen.evaluation.evidence.all_data import all_data, is_joint
from ppgen.evaluation.rows import CheckedRows
from ppgen.inference.kernels.machine_kernel import MachineKernel
from ppgen.pair import as_pair
from ppgen.progress import progress_bar
from ppgen.undisturbed import evaluating

CHUNK = 10_000  # draws x rows at once
GUIDE_SAMPLES, CHAIN_SAMPLES = 99, 500


def simulation_based_calibration(
    pair: Any,
    *,
    num_simulations: int = 500,
    num_samples: int | None = None,
    posterior: str | inference.PosteriorKernel | MakeKernel = "guide",
    x: Any = None,
    quantities: Mapping[str, Quantity] | None = None,
    sampler: Any = None,
    refit: str | Refit | None = None,
    num_chains: int = 1,
    warmup_steps: int = 500,
    level: float = 0.05,
    chunk: int = CHUNK,
    vectorize_particles: bool = True,
    seed: int = 0,
    progress: bool = False,
) -> Calibration:
    r"""Whether posterior draws have the right location and width, on data simulated from the model.

    .. math:: z \sim p(z), \quad x \sim p(x \mid z), \quad z_1, \dots, z_L \sim q(z \mid x): \qquad
              \mathrm{rank}(z; z_1, \dots, z_L) \sim \mathrm{Uniform}\{0, \dots, L\} \ \text{if } q = p(z \mid x)

    Each simulation is one datum with latents of its own, and all of them are one batch. Ranks of every unit of every
    latent site form a U where draws are too narrow (or off to either side, depending on x), a hump where they are too
    wide, a slope where they are shifted. Ties, which discrete latents have, are broken at random, so that their ranks
    are uniform too. Ranks of units alone cannot see a posterior that ignores the data, as the prior has uniform ranks;
    those of log p(x | z) and log p(x, z), here `log_likelihood` and `log_joint`, can.

    A calibrated guide is one for data of the model. It says nothing of how well the model fits real data, nor of the
    guide on data unlike its own.

    Args:
        pair: A model of the zoo, a `ppgen.Pair` or a run. Where latents are common to all data, each simulation is a
            whole data set, of the size of `x`; discrete sites that are summed out have no ranks, and count in the
            densities.
        num_simulations: Number of simulations.
        num_samples: Draws of each: 99 of the guide by default; of chains 500 steps of each, which are thinned by their
            longest autocorrelation time, so that the result tells how many were ranked.
        posterior: Whence draws come: `"guide"`; a kernel of posteriors as `inference.sample_posterior` takes it, such
            as `inference.HMC()` or `inference.SparseGibbs()`; or for Boltzmann machines `"gibbs"`, or what makes a
            kernel of the machine conditioned on the data, such as `inference.ParallelTempering` or
            `lambda machine: inference.BlockGibbs(machine, sweeps=5)`.
        x: For a `Pair` of your own, or a model of y given x: data, of which shapes are taken and arguments that are
            not observed; rows are used in turn. Not needed with a run whose batches are observed.
        quantities: Test quantities of your own by name: functions of the latents by site, (draws, simulations, ...),
            and of the data; they return (draws, simulations, ...).
        sampler: Sampler of the prior of undirected sites, as `inference.attach` takes it; by default small machines
            are enumerated.
        refit: For guides that do not read the data, which are posteriors of one data set: how the guide is fitted to
            each simulation before it is drawn from. `"svi"`: 500 steps of Adam on its ELBO; or a function of the pair
            and a batch of one row, such as `lambda pair, x: ppgen.fit(pair, x, "elbo", steps=300, progress=False)`.
            Each fit starts from the parameters as they are, only those of the guide alone are trained, and the pair is
            as before afterwards. It takes `num_simulations` fits: begin with 100.
        num_chains: Chains of each simulation.
        warmup_steps: Steps of a chain before those that are kept.
        level: Probability, at most, that any unit fails though the posterior is exact.
        chunk: Draws times simulations that model and guide see at once.
        vectorize_particles: False for programs that cannot broadcast over draws.
        seed: Seed of all randomness; the caller's random state is as before.
        progress: Whether to show a progress bar.

    Returns:
        Ranks, tests of their uniformity and what they say; its `to_datatree()` is for `arviz_plots.plot_ecdf_pit`.

    Raises:
        ValueError: If an argument is wrong, data cannot be simulated from the model, a prior is improper, latents of
            each datum are summed out, chains mix too slowly for a rank, or the guide draws the same whatever the data
            are and is neither the prior nor fitted to each simulation.
        TypeError: If `pair` is none, or `posterior` is nothing that draws.

    References:
        Talts, Betancourt, Simpson, Vehtari and Gelman (2018), Validating Bayesian inference algorithms with
        simulation-based calibration, arXiv:1804.06788.
        Modrak, Moon, Kim, Buerkner, Huurre, Faltejskova, Gelman and Vehtari (2023), Simulation-based calibration
        checking for Bayesian computation: the choice of test quantities shapes sensitivity, arXiv:2211.02383.

    Example:
        >>> from ppgen import diagnostics, models
        >>> rbm = models.RBM(visible=6, hidden=3)
        >>> diagnostics.simulation_based_calibration(rbm, num_simulations=200).calibrated  # its guide is exact
        True
    """
    check_switches(vectorize_particles=vectorize_particles, progress=progress)
    seed = check_seed(seed)
    run, pair = pair, as_pair(pair)
    check_has_likelihood(pair, "Posteriors and their calibration")
    _check_refit(refit, posterior)
    count = _check(posterior, num_simulations, num_samples, num_chains, warmup_steps, level, chunk, quantities)
    if x is not None and is_joint(pair, x):
        if posterior != "guide" and not isinstance(posterior, inference.HMC):
            raise ValueError(
                f"posterior={posterior!r} draws for each datum, and here latents are common to all data. Leave it out, "
                "or give posterior=ppgen.inference.HMC(): guide and chains are calibrated on whole data sets."
            )
        generator = np.random.default_rng(seed)
        found = all_data(pair, x)
        chains: dict[str, Any] | None = None
        if isinstance(posterior, inference.HMC):
            own = int(generator.integers(2**31))
            chains = {"kernel": posterior, "num_chains": num_chains, "warmup_steps": warmup_steps, "seed": own}
        with evaluating(pair, seed):
            drawn, data_sets = drawn_of_data_sets(
                pair, found, num_simulations, count, refit, vectorize_particles, progress, chains
            )
            ranks = _ranks(drawn, data_sets, quantities or {}, chunk, generator, progress)
        return _result(pair, drawn, ranks, data_sets(0, num_simulations), level, generator)
    like = batch_like(run, pair, x, num_simulations)
    generator = np.random.default_rng(seed)
    settings: dict[str, Any] = {"num_samples": count}
    if not (isinstance(posterior, str) and posterior == "guide"):
        # A seed of their own: of the seed of the simulations chains would start at the noise that made the latents.
        own = int(generator.integers(2**31))
        settings |= {"num_chains": num_chains, "warmup_steps": warmup_steps, "seed": own}
    with evaluating(pair, seed):
        if x is not None:  # what is wrong with the pair is told before what is wrong with the data
            pair.prepare(like)
            Sites(pair, like)
        batch, truth = simulated(pair, like, num_simulations, sampler, replaced=x is None)
        pair.prepare(batch)
        kernel = posterior if _is_kernel(posterior) else None
        if kernel is None and posterior != "guide":
            make_kernel: Any = inference.BlockGibbs if posterior == "gibbs" else posterior
            drawn = drawn_by_gibbs(pair, batch, truth, make_kernel, {**settings, "progress": progress})
        elif refit is not None:
            drawn = drawn_by_refits(pair, batch, truth, num_simulations, refit, count, vectorize_particles, progress)
        else:
            if posterior == "guide":
                with evaluating(pair):
                    other = simulated(pair, like, num_simulations, sampler, replaced=x is None)[0]
                    check_recognition(pair, batch, other)
            drawn = drawn_by_pair(pair, batch, truth, num_simulations, kernel, settings, vectorize_particles)
        ranks = _ranks(drawn, CheckedRows(batch, pair), quantities or {}, chunk, generator, progress)
    return _result(pair, drawn, ranks, batch, level, generator)


def _result(
    pair: Any, drawn: Drawn, ranks: dict[str, np.ndarray], x: Any, level: float, generator: np.random.Generator
) -> Calibration:
    dims = {name: [f"{name}_dim_{index}" for index in range(value.ndim - 1)] for name, value in ranks.items()}
    return summarise(
        ranks,
        {**dims, **drawn.dims},
        drawn.num_samples,
        generator,
        model=type(pair).__name__,
        method=drawn.method,
        level=level,
        sites=tuple(drawn.truth),
        x=x,
        autocorrelation_time=drawn.autocorrelation_time,
    )


def _is_kernel(posterior: Any) -> TypeGuard[inference.PosteriorKernel]:
    """Whether it moves the latents of a pair, and is no class that makes kernels of machines."""
    return isinstance(posterior, inference.PosteriorKernel) and not isinstance(posterior, type)


def _check_refit(refit: Any, posterior: Any) -> None:
    if refit is None:
        return
    if not callable(refit) and refit != "svi":
        raise TypeError(f'refit must be "svi", a function of the pair and a batch, or None, got {refit!r}.')
    if not (isinstance(posterior, str) and posterior == "guide"):
        raise ValueError(f"refit fits the guide, and posterior={posterior!r} does not draw from it. Give one of them.")


def _ranks(
    drawn: Drawn,
    rows: CheckedRows | DataSets,
    quantities: Mapping[str, Quantity],
    chunk: int,
    generator: np.random.Generator,
    progress: bool,
) -> dict[str, np.ndarray]:
    """Ranks of the truth in every latent and test quantity, (simulations, ...)."""
    for name in {*DENSITIES, *quantities} & set(drawn.truth):
        raise ValueError(f"quantities must not be called {name!r}, which is a latent of the model.")
    block = max(1, chunk // (drawn.num_samples + 1))
    ranks: dict[str, list[np.ndarray]] = {}
    with progress_bar("ranks of simulations", len(rows), progress) as advance:
        for first in range(0, len(rows), block):
            last = min(first + block, len(rows))
            part = rows(first, last)
            draws = drawn.draws(first, last, part)
            # The truth is one more draw before the others, so that everything is computed of it as of them.
            values = {name: torch.cat([value[None, first:last], draws[name]]) for name, value in drawn.truth.items()}
            prior, likelihood = drawn.densities(first, last, part, values)
            told = dict(zip(DENSITIES, (likelihood, prior + likelihood), strict=True))
            for name, quantity in quantities.items():
                told[name] = _quantity(name, quantity, values, part, (drawn.num_samples + 1, last - first))
            for name, each in {**values, **told}.items():
                ranks.setdefault(name, []).append(ranks_among(each[0], each[1:], generator))
            if advance is not None:
                advance(last)
    return {name: np.concatenate(parts) for name, parts in ranks.items()}


def _quantity(name: str, quantity: Quantity, latents: Latents, x: Any, shape: tuple[int, int]) -> Tensor:
    value = quantity(latents, x)
    if not isinstance(value, Tensor) or value.shape[:2] != shape:
        got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(
            f"quantities[{name!r}] must return a tensor of shape (draws, simulations, ...), here {shape}; got {got}."
        )
    return value


def _check(
    posterior: Any,
    num_simulations: Any,
    num_samples: Any,
    num_chains: Any,
    warmup_steps: Any,
    level: Any,
    chunk: Any,
    quantities: Any,
) -> int:
    """Draws of each simulation; raises if an argument is wrong."""
    if isinstance(posterior, MachineKernel):
        raise TypeError(
            f"posterior must make kernels of the machine conditioned on data: give {type(posterior).__name__} itself, "
            f"or lambda machine: inference.{type(posterior).__name__}(machine, ...)."
        )
    known = posterior in ("guide", "gibbs") if isinstance(posterior, str) else callable(posterior)
    if not (known or _is_kernel(posterior)):
        raise TypeError(
            f'posterior must be "guide", an inference.HMC(...) or another inference.PosteriorKernel, "gibbs", or what '
            f"makes a kernel of a Boltzmann machine, got {posterior!r}."
        )
    if isinstance(posterior, type) and issubclass(posterior, inference.PosteriorKernel):
        raise TypeError(f"posterior must be a kernel, got the class {posterior.__name__}: call it.")
    independent = isinstance(posterior, str) and posterior == "guide"
    count = num_samples if num_samples is not None else GUIDE_SAMPLES if independent else CHAIN_SAMPLES
    for name, value, least in (
        ("num_simulations", num_simulations, 20),
        ("num_samples", count, 1),
        ("num_chains", num_chains, 1),
        ("warmup_steps", warmup_steps, 0),
        ("chunk", chunk, 1),
    ):
        check_count(name, value, least)
    check_room("num_simulations", num_simulations)
    check_room("num_samples", count, values=num_simulations)
    check_number("level", level, "lie between 0 and 1, both excluded", lambda number: 0 < number < 1)
    if quantities is not None:
        check_kind("quantities", quantities, Mapping, "a mapping from names to functions")
    for name in quantities or {}:
        if name in DENSITIES:
            raise ValueError(f"quantities must not be called {name!r}, which is always among them.")
    return count
