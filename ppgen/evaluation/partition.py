"""log Z of the Boltzmann machine at a site: by enumeration, or by annealed importance sampling."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor

from ppgen.distributions.enumeration import exact_log_partition
from ppgen.distributions.layered_energy import EVEN, LayeredEnergy
from ppgen.distributions.tempering import BaseRatePath
from ppgen.distributions.units import Bernoulli
from ppgen.evaluation.estimate import Estimate
from ppgen.evaluation.processes import gathered, own_seed, world_size
from ppgen.evaluation.program import choose_site, undirected_sites
from ppgen.inference.annealing import AnnealedWeights, anneal, make_betas
from ppgen.pair import AnyPair, as_pair
from ppgen.progress import progress_bar

METHODS = ("auto", "exact", "ais")
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
    x: Any = None,
    chunk: int | None = None,
    seed: int = 0,
    compile: bool | Literal["auto"] = "auto",
    progress: bool = False,
    distributed: bool = False,
) -> Estimate:
    r"""Estimate log Z of the Boltzmann machine at an undirected site, in nats.

    .. math:: Z = \sum_x e^{-E(x)}, \qquad
        \widehat{\log Z} = \log Z_A + \log \frac{1}{M} \sum_m w_m \quad (\text{annealing, } E[w] = Z / Z_A)

    The mean of the weights is unbiased, so its logarithm is a lower bound of log Z in expectation, and
    log-likelihoods computed with it err *high*. The error bar is that of the delta method, sd(w) / (mean(w)
    sqrt(M)).

    Args:
        pair: A model of the zoo, a `ppgen.Pair` or a run.
        site: Name of the undirected site; not needed if there is one only.
        method: `"exact"` sums over the states of the smaller side, at most 2^20; `"ais"` anneals; `"auto"`
            takes the first where it is possible.
        num_chains: Annealing runs.
        betas: Ladder of `"ais"`: a number of equal steps, increasing numbers up to 1, or
            `"salakhutdinov-2008"`.
        data_mean: Mean of the visible units, (V,), the base model of `"ais"`; if None, the training mean
            that the pair has noted, else the machine's own biases.
        x: A few rows of data with which the model is run to find the site, for models that need them.
        chunk: Annealing runs moved at once, which bounds the memory: a layer of n units takes some 12 n bytes for each.
            None for all.
        seed: Seed of the annealing; the caller's random state is not touched.
        compile: Whether annealing runs as machine code; `"auto"` does it for long runs of large machines, by their size
            and not by the clock. The two agree up to Monte Carlo error.
        progress: Whether to show a progress bar.
        distributed: Whether the processes of `torch.distributed` share out the annealing runs; then all of them must
            call this, and all get the same estimate. The process group must exist, as it does after `fit` under
            `torchrun`.

    Returns:
        The estimate with the fingerprint of the weights it belongs to.

    Raises:
        ValueError: If the pair has no such site, the machine is too large for `"exact"`, or an argument is
            wrong.
        TypeError: If `pair` is none.

    References:
        Neal (2001), Annealed importance sampling, arXiv:physics/9803008.
        Salakhutdinov and Murray (2008), On the quantitative analysis of deep belief networks, ICML.

    Example:
        >>> import numpy as np
        >>> from ppgen import evaluation, models
        >>> rbm = models.RBM.from_arrays(np.ones((3, 2)), np.zeros(3), np.zeros(2))
        >>> evaluation.log_partition(rbm, method="exact")
        6.5528 nats, exact, enumeration (2^2 states)
        >>> evaluation.log_partition(rbm, method="ais", num_chains=200, betas=100).method
        'AIS (200 chains x 100 betas)'
    """
    pair = as_pair(pair)
    _check(method, num_chains, chunk, compile)
    size = world_size() if distributed else 1
    if num_chains < size:
        raise ValueError(f"num_chains must be at least the number of processes, {size}, got {num_chains}.")
    ladder = make_betas(betas)
    energies = undirected_sites(pair, x)
    energy = energies[choose_site(energies, site)]
    if method == "exact" or (method == "auto" and enumerable(energy)):
        return _exact(energy)
    path = BaseRatePath(energy, base_mean(pair, energy, data_mean))
    return _annealed(path, ladder, num_chains, seed, progress, size, chunk, compile)


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
    path: BaseRatePath,
    ladder: list[float],
    num_chains: int,
    seed: int,
    progress: bool,
    size: int,
    chunk: int | None,
    compile: bool | Literal["auto"],
) -> Estimate:
    rank = 0 if size == 1 else dist.get_rank()
    device = path.energy.parameters()[0].device
    generator = torch.Generator(device=device).manual_seed(own_seed(seed, rank))
    with progress_bar("annealing", len(ladder) - 1, progress and rank == 0) as advance:
        own = len(range(rank, num_chains, size))
        runs = anneal(path, ladder, own, generator, chunk=chunk, compile=compile, advance=advance)
    runs = runs._replace(log_weights=gathered(runs.log_weights, size))
    method = f"AIS ({num_chains} chains x {len(ladder) - 1} betas)"
    return summarise(runs, method, path.energy.fingerprint())


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


def _check(method: str, num_chains: int, chunk: int | None, compile: bool | str) -> None:
    if compile not in (True, False, "auto"):
        raise ValueError(f'compile must be True, False or "auto", got {compile!r}.')
    if chunk is not None and (isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < 1):
        raise ValueError(f"chunk must be a positive integer, got {chunk!r}.")
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(map(repr, METHODS))}, got {method!r}.")
    if isinstance(num_chains, bool) or not isinstance(num_chains, int) or num_chains < 2:
        raise ValueError(f"num_chains must be an integer of at least 2 (one run has no error bar), got {num_chains!r}.")
