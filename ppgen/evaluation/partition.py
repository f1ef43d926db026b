"""log Z of the Boltzmann machine at a site: by enumeration, or by annealed importance sampling."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ppgen.distributions import Bernoulli
from ppgen.distributions.enumeration import exact_log_partition
from ppgen.distributions.layered_energy import EVEN, LayeredEnergy
from ppgen.distributions.tempering import BaseRatePath
from ppgen.evaluation.estimate import Estimate
from ppgen.evaluation.processes import gathered, own_seed, world_size
from ppgen.evaluation.program import choose_site, undirected_sites
from ppgen.evaluation.sandwich import downwards, draws_of_the_machine, sandwiched, state_chains
from ppgen.inference.annealing import AnnealedWeights, anneal, make_betas
from ppgen.pair import AnyPair, as_pair
from ppgen.progress import progress_bar

METHODS = ("auto", "exact", "ais", "reverse_ais", "sandwich")
MAX_EXACT_STATES = 2**20  # about ten seconds for a machine with 500 units on the other side
LOW_ESS = 0.1  # share of the chains below which a few runs carry the whole estimate


def log_partition(
    pair: Any,
    *,
    site: str | None = None,
    method: str = "exact",
    num_chains: int = 100,
    betas: int | str | Sequence[float] | Tensor = 1000,
    data_mean: Any = None,
    sweeps: int = 1000,
    x: Any = None,
    seed: int = 0,
    progress: bool = False,
    distributed: bool = False,
) -> Estimate:
    r"""Estimate log Z of the Boltzmann machine at an undirected site, in nats.

    .. math:: Z = \sum_x e^{-E(x)}, \qquad
        \widehat{\log Z} = \log Z_A + \log \frac{1}{M} \sum_m w_m \quad (\text{annealing, } E[w] = Z / Z_A)

    The mean of the weights is unbiased, so its logarithm is a lower bound of log Z in expectation, and
    log-likelihoods computed with it err *high*. Annealing downwards from draws of the machine itself has weights of
    mean Z_A / Z and gives an upper bound: where the two meet, both are right. The upper one is only as good as its
    draws: exact ones for machines that can be enumerated, else the persistent chains of training after `sweeps` more
    Gibbs sweeps. The error bar is that of the delta method, sd(w) / (mean(w) sqrt(M)).

    Args:
        pair: A model of the zoo, a `ppgen.Pair` or a run.
        site: Name of the undirected site; not needed if there is one only.
        method: `"exact"` sums over the states of the smaller side, at most 2^20; `"ais"` anneals upwards, from
            base rates to the machine, `"reverse_ais"` downwards, `"sandwich"` both ways; `"auto"` sums where that is
            possible and anneals upwards otherwise.
        num_chains: Annealing runs.
        betas: Ladder of `"ais"`: a number of equal steps, increasing numbers up to 1, or
            `"salakhutdinov-2008"`.
        data_mean: Mean of the visible units, (V,), the base model of `"ais"`; if None, the training mean
            that the pair has noted, else the machine's own biases.
        sweeps: Gibbs sweeps of the chains from which annealing goes down.
        x: A few rows of data with which the model is run to find the site, for models that need them.
        seed: Seed of the annealing; the caller's random state is not touched.
        progress: Whether to show a progress bar.
        distributed: Whether the processes of `torch.distributed` share out the annealing runs; then all of them must
            call this, and all get the same estimate. The process group must exist, as it does after `fit` under
            `torchrun`.

    Returns:
        The estimate with the fingerprint of the weights it belongs to; of `"sandwich"` with `lower`, `upper` and `gap`,
        its value being the lower one.

    Raises:
        ValueError: If the pair has no such site, the machine is too large for `"exact"`, or an argument is
            wrong.
        TypeError: If `pair` is none.

    References:
        Neal (2001), Annealed importance sampling, arXiv:physics/9803008.
        Salakhutdinov and Murray (2008), On the quantitative analysis of deep belief networks, ICML.
        Burda, Grosse and Salakhutdinov (2015), Accurate and conservative estimates of MRF log-likelihood using reverse
        annealing, arXiv:1412.8566.

    Example:
        >>> import numpy as np
        >>> from ppgen import evaluation, models
        >>> rbm = models.RBM.from_arrays(np.ones((3, 2)), np.zeros(3), np.zeros(2))
        >>> evaluation.log_partition(rbm, method="exact")
        6.5528 nats, exact, enumeration (2^2 states)
        >>> evaluation.log_partition(rbm, method="ais", num_chains=200, betas=100).method
        'AIS (200 chains x 100 betas)'
        >>> abs(evaluation.log_partition(rbm, method="sandwich", num_chains=200, betas=100).gap) < 0.1
        True
    """
    pair = as_pair(pair)
    _check(method, num_chains, sweeps)
    size = world_size() if distributed else 1
    if num_chains < size:
        raise ValueError(f"num_chains must be at least the number of processes, {size}, got {num_chains}.")
    ladder = make_betas(betas)
    energies = undirected_sites(pair, x)
    site = choose_site(energies, site)
    energy = energies[site]
    if method == "exact" or (method == "auto" and enumerable(energy)):
        return _exact(energy)
    path = BaseRatePath(energy, base_mean(pair, energy, data_mean))
    if method in ("auto", "ais"):
        return _annealed(path, ladder, num_chains, seed, progress, size)
    if size > 1:
        raise ValueError(f"distributed=True shares out annealing upwards only, method='ais'; got {method!r}.")
    upper = _reverse(path, ladder, num_chains, seed, progress, state_chains(pair, site), sweeps)
    if method == "reverse_ais":
        return upper
    lower = _annealed(path, ladder, num_chains, seed, progress, size)
    how = f"AIS upwards, and downwards from {upper.method.partition(' from ')[2].rstrip(')')}"
    return sandwiched(lower, upper, f"{how} ({num_chains} chains x {len(ladder) - 1} betas)")


def enumerable(energy: LayeredEnergy) -> bool:
    """Whether the smaller side has few enough states to be summed over."""
    return energy.num_states(energy.smaller_side) <= MAX_EXACT_STATES


@torch.no_grad()
def _exact(energy: LayeredEnergy) -> Estimate:
    value = float(exact_log_partition(energy, MAX_EXACT_STATES))
    states = math.log2(energy.num_states(energy.smaller_side))
    method = f"enumeration (2^{states:.4g} states)"
    return Estimate(value, 0.0, "exact", method, unit="nats", fingerprint=energy.fingerprint())


def _annealed(
    path: BaseRatePath, ladder: list[float], num_chains: int, seed: int, progress: bool, size: int
) -> Estimate:
    rank = 0 if size == 1 else dist.get_rank()
    device = path.energy.parameters()[0].device
    generator = torch.Generator(device=device).manual_seed(own_seed(seed, rank))
    with progress_bar("annealing", len(ladder) - 1, progress and rank == 0) as advance:
        runs = anneal(path, ladder, len(range(rank, num_chains, size)), generator, advance=advance)
    runs = runs._replace(log_weights=gathered(runs.log_weights, size))
    method = f"AIS ({num_chains} chains x {len(ladder) - 1} betas)"
    return summarise(runs, method, path.energy.fingerprint())


def _reverse(
    path: BaseRatePath,
    ladder: list[float],
    num_chains: int,
    seed: int,
    progress: bool,
    chains: Tensor | None,
    sweeps: int,
) -> Estimate:
    energy = path.energy
    generator = torch.Generator(device=energy.parameters()[0].device).manual_seed(own_seed(seed, "downwards"))
    start, source = draws_of_the_machine(energy, num_chains, chains, sweeps, MAX_EXACT_STATES, generator)
    with progress_bar("annealing downwards", len(ladder) - 1, progress) as advance:
        runs = anneal(path, ladder, num_chains, generator, start=start, advance=advance)
    method = f"reverse AIS ({num_chains} chains x {len(ladder) - 1} betas, from {source})"
    return downwards(summarise(runs, method, energy.fingerprint()), float(runs.log_base_partition), method)


def summarise(runs: AnnealedWeights, method: str, fingerprint: str | None = None) -> Estimate:
    """Estimate of log Z from annealing runs, with its error by the delta method."""
    num_chains = len(runs.log_weights)
    log_mean = torch.logsumexp(runs.log_weights, 0) - math.log(num_chains)
    weights = (runs.log_weights - log_mean).exp()  # of mean 1
    ess = float(weights.sum().square() / weights.square().sum())
    se = float(weights.std() / math.sqrt(num_chains))
    warning = None
    if not ess >= LOW_ESS * num_chains:
        warning = (
            f"the effective number of annealing runs is {ess:.1f} of {num_chains}, so a few carry the "
            "estimate and its error is not to be trusted; use more betas"
        )
    return Estimate(
        float(runs.log_base_partition + log_mean),
        se,
        "estimate",
        method,
        unit="nats",
        ess=ess,
        num_draws=num_chains,
        bias=-(se**2) / 2,
        warning=warning,
        note="a lower bound of log Z in expectation, so log p(x) errs high",
        fingerprint=fingerprint,
    )


def base_mean(pair: AnyPair, energy: LayeredEnergy, data_mean: Any = None) -> Tensor | None:
    """Mean of the even side for the base model: the visible one given, else noted in training, else None.

    Raises:
        ValueError: If the mean does not fit the visible layer or is no mean of its units.
    """
    even = [energy.units[layer] for layer in energy.sides[EVEN]]
    visible = even[0].size
    if data_mean is None:
        data_mean = getattr(pair, "data_mean", None)
        if not isinstance(data_mean, Tensor) or data_mean.shape != (visible,) or not data_mean.isfinite().all():
            return None
    like = energy.parameters()[0]
    mean = torch.as_tensor(data_mean, dtype=like.dtype, device=like.device)
    fits = mean.shape == (visible,) and bool(mean.isfinite().all())
    if not fits or (isinstance(even[0], Bernoulli) and not ((mean >= 0) & (mean <= 1)).all()):
        raise ValueError(
            f"data_mean must hold the means of the {visible} visible units (within [0, 1] for bits), as "
            f"data.mean does; got shape {tuple(mean.shape)}"
            + (f" and values {mean.min():g} to {mean.max():g}." if fits else ".")
        )
    others = [units.mean(torch.zeros_like(units.parameters()[0])) for units in even[1:]]
    return torch.cat([mean, *others])


def _check(method: str, num_chains: int, sweeps: int) -> None:
    if isinstance(sweeps, bool) or not isinstance(sweeps, int) or sweeps < 0:
        raise ValueError(f"sweeps must be a number of Gibbs sweeps, 0 or more, got {sweeps!r}.")
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(map(repr, METHODS))}, got {method!r}.")
    if isinstance(num_chains, bool) or not isinstance(num_chains, int) or num_chains < 2:
        raise ValueError(f"num_chains must be an integer of at least 2 (one run has no error bar), got {num_chains!r}.")
