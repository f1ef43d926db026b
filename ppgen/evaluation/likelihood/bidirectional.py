"""Bidirectional Monte Carlo: log p(x) of simulated data between a lower and an upper bound."""

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from pyro import poutine
from torch import Tensor

from ppgen.batch import changed, parts_of, split_batch
from ppgen.checks.arguments import check_count
from ppgen.checks.likelihood import check_has_likelihood
from ppgen.checks.room import check_room
from ppgen.checks.seeding import check_seed
from ppgen.checks.switches import check_switches
from ppgen.devices import is_accelerator
from ppgen.evaluation.effective import delta_error
from ppgen.evaluation.estimate import with_error
from ppgen.evaluation.likelihood.importance import summarise
from ppgen.evaluation.likelihood.latent_annealing import check_annealing, check_start, forward, prepared, reverse
from ppgen.evaluation.per_datum import PerDatum
from ppgen.evaluation.program import examine
from ppgen.evaluation.rows import CheckedRows
from ppgen.inference.annealing.annealing import make_betas
from ppgen.inference.engine.label_term import method_of
from ppgen.inference.kernels.hmc import HMC
from ppgen.inference.kernels.latent_density import LatentDensity, Start
from ppgen.inference.kernels.posterior_kernel import TemperableKernel
from ppgen.inference.structure.layout import find_layout
from ppgen.inference.structure.machine_sites import undirected_sites
from ppgen.inference.structure.traces import data_frame, sites, unconditioned
from ppgen.pair import AnyPair, as_pair
from ppgen.progress import progress_bar
from ppgen.undisturbed import evaluating

NUM_DATA = 100
CHUNK_CPU, CHUNK_GPU = 2_000, 100_000  # chains at once, as for importance sampling


@dataclass(frozen=True)
class Sandwich:
    """log p(x) of data simulated from a model, between two stochastic bounds, in nats per datum.

    Attributes:
        lower: Mean over the data of the forward annealing estimate, at most log p(x) in expectation.
        upper: Mean of the reverse estimate, at least log p(x) in expectation.
        gap: `upper - lower`: no bound on the data simulated is further than that from log p(x), up to errors.
        lower_se: Monte Carlo error of `lower` given the data, by the delta method, which knows no more than a nat for
            a datum that one run carries; the gap shows what it misses.
        upper_se: Error of `upper` given the data, from above: all chains of a datum start at one exact draw, which
            their spread does not show, so that the spread of the gap over the data is taken.
        gap_se: Spread of the gap over the data, sd / sqrt(n).
        method: Budget.
        per_datum: Arrays over the data: `lower`, `upper`, `gap`, `lower_ess`, `upper_ess`.
        x: The simulated data, as the pair takes them.
    """

    lower: float
    upper: float
    gap: float
    lower_se: float
    upper_se: float
    gap_se: float
    method: str
    per_datum: Mapping[str, np.ndarray] = field(repr=False, compare=False)
    x: Any = field(repr=False, compare=False)

    @property
    def num_data(self) -> int:
        """Number of simulated data."""
        return len(self.per_datum["gap"])

    def __repr__(self) -> str:
        return (
            f"{with_error(self.lower, self.lower_se)} <= log p(x) <= {with_error(self.upper, self.upper_se)}, "
            f"gap {with_error(self.gap, self.gap_se)} nats per datum, {self.method}, {self.num_data} simulated rows"
        )


def bdmc(
    pair: Any,
    *,
    num_data: int | None = None,
    like: Any = None,
    num_chains: int = 16,
    betas: int | str | Sequence[float] | Tensor = 1000,
    start: Start = "prior",
    kernel: HMC | TemperableKernel | None = None,
    chunk: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Sandwich:
    r"""Bound log p(x) of simulated data from both sides by annealing, and tell how far apart the bounds are.

    .. math::
        (x, z) \sim p: \quad
        E \log \frac{1}{K} \sum_k w_k \le \log p(x) \le - E \log \frac{1}{K} \sum_k \frac{1}{w'_k}

    The weights w are those of runs from the start to p(z | x), the w' those of runs back from z, which is an exact draw
    of p(z | x) because x was simulated from it; both move by the same kernel at the same levels. The gap measures the
    annealing on data of the model itself: it is evidence, not proof, that `log_likelihood(method="ais")` with the same
    ladder and kernel is as close on real data.

    Args:
        pair: A model of the zoo, a `ppgen.Pair` or a run, with continuous latents.
        num_data: Number of data to simulate; by default 100, or the rows of `like`.
        like: For a `Pair` of your own: a batch of `num_data` rows to call the model with. Observed values are simulated
            in its place, so that what a site observes must be an argument as it was given; other arguments are used as
            they are.
        num_chains: Annealing runs of each datum, in each direction.
        betas: Ladder, as for `log_likelihood`.
        start: Where paths begin: `"prior"` or `"guide"`.
        kernel: What moves the chains, one step a level: an `inference.HMC`, by default `HMC()`; or, from the prior, an
            `inference.SparseGibbs` or another `inference.TemperableKernel`.
        chunk: Chains moved at once; by default 2,000 on CPU and 100,000 on a GPU.
        seed: Seed of all randomness.
        progress: Whether to show a progress bar.

    Raises:
        ValueError: If an argument is wrong, a latent site is discrete or outside the data plate, there is none, or the
            model of a bare `Pair` is to be called without `like`.
        TypeError: If `pair` is none.

    References:
        Grosse, Ancha and Roy (2016), Measuring the reliability of MCMC inference with bidirectional Monte Carlo,
        arXiv:1606.02275.
        Wu, Burda, Salakhutdinov and Grosse (2017), On the quantitative analysis of decoder-based generative models,
        arXiv:1611.04273.

    Example:
        >>> from ppgen import evaluation, models
        >>> vae = models.VAE(features=4, latent=2, hidden=(3,))
        >>> sandwich = evaluation.bdmc(vae, num_data=10, num_chains=5, betas=20)
        >>> sandwich.num_data, sandwich.x.shape, sandwich.gap < 0.5
        (10, torch.Size([10, 4]), True)
    """
    check_switches(progress=progress)
    seed = check_seed(seed)
    pair = as_pair(pair)
    check_has_likelihood(pair, "Log-likelihoods")
    num_data = _check(pair, num_data, like, chunk)
    ladder = make_betas(betas)
    mover = check_annealing(num_chains, start, kernel)
    chunk = chunk or (CHUNK_GPU if is_accelerator(pair.device) else CHUNK_CPU)
    generator = torch.Generator(device=pair.device).manual_seed(seed)
    with evaluating(pair, seed), progress_bar("bidirectional Monte Carlo", num_data, progress) as advance:
        for site in undirected_sites(pair, like):
            raise ValueError(
                f"Site {site!r} is a Boltzmann machine's, whose latents are discrete and are not moved by Hamiltonian "
                'Monte Carlo. Use evaluation.log_partition(pair, method="ais") or "exact".'
            )
        x, truth = simulate(pair, num_data, like)
        rows = CheckedRows(x, pair)
        layout = examine(pair, rows).layout
        check_start(layout, start)
        if layout.scaled:
            raise ValueError(
                f"The sites {list(layout.scaled)} have a scale of their own, so that simulated latents are no draws of "
                "the posterior under that scale. Take poutine.scale, or the subsampling of an inner plate, away."
            )
        exact = LatentDensity(pair, x, layout=find_layout(pair, x)).position(truth)
        block = max(1, min(chunk // num_chains, num_data))
        below, above = [], []
        for first in range(0, num_data, block):
            last = min(first + block, num_data)
            path, step_sizes = prepared(
                pair,
                rows(first, last),
                ladder,
                generator,
                num_chains=num_chains,
                start=start,
                kernel=mover,
                layout=layout,
            )
            below.append(summarise(forward(path, ladder, step_sizes, generator), pareto=False))
            position = exact[:, first:last].expand(num_chains, -1, -1)
            above.append(summarise(-reverse(path, ladder, step_sizes, position, generator), pareto=False))
            if advance is not None:
                advance(last)
    by = "" if isinstance(mover, HMC) else f" by {type(mover).__name__}"
    method = f"BDMC from the {start}{by} ({num_chains} chains x {len(ladder) - 1} betas)"
    return _sandwich(below, above, num_chains, method, x)


@torch.no_grad()
def simulate(pair: AnyPair, num_data: int, like: Any = None) -> tuple[Any, dict[str, Tensor]]:
    """Data simulated from the model, as the pair takes them, and the latents that they came from, by site.

    Args:
        pair: A pair; its model runs with torch's global random state.
        num_data: Number of data, for models that take `num_rows`.
        like: Else a batch with as many rows, whose observed parts are replaced, and labels that tell latents.

    Raises:
        ValueError: If what a site observes is made from the batch and is no part of it.
    """
    if like is None:
        with pair.running():
            trace = poutine.trace(pair.model).get_trace(num_rows=num_data)
        x = trace.nodes["_RETURN"]["value"]
        found = sites(trace)
        return x, {name: site["value"] for name, site in found.items() if site["value"] is not x}
    # Objects of their own, so that one tensor given for two arguments does not make them one.
    like = changed(like, lambda part: part[:])
    args, kwargs = split_batch(like)
    with pair.running():
        trace = poutine.trace(unconditioned(pair.model)).get_trace(*args, **kwargs)
    found = sites(trace)
    given = {id(part) for part in parts_of(like)}
    drawn: dict[int, Any] = {}
    for name, site in found.items():
        if not site["infer"].get("was_observed") or data_frame(site, pair.plate) is None:
            continue
        observed = site["infer"].get("obs")
        if id(observed) not in given or id(observed) in drawn:
            raise ValueError(
                f"Data cannot be simulated at site {name!r}: what it observes is "
                f"{'observed elsewhere too' if id(observed) in drawn else 'no part of like itself'}, so that a draw "
                "has no place in the batch. Give each observed site an argument of its own, obs=that argument."
            )
        value = site["value"]
        if value.numel() != math.prod(observed.shape):
            raise ValueError(
                f"Data cannot be simulated at site {name!r}: its plates make {tuple(value.shape)} values of the "
                f"{tuple(observed.shape)} in like, and each would be another. Give it an argument of that shape."
            )
        drawn[id(observed)] = value.reshape(observed.shape)  # plates left of the data may add dimensions of size 1
    latents = {name: site["value"] for name, site in found.items() if not site["infer"].get("was_observed")}
    batch = changed(like, lambda value: drawn.get(id(value), value))
    labelled = method_of(pair, "with_simulated_labels")
    return (batch if labelled is None else labelled(batch, latents)), latents


def _sandwich(below: list[PerDatum], above: list[PerDatum], num_chains: int, method: str, x: Any) -> Sandwich:
    lower, _, lower_ess = (np.concatenate(parts) for parts in zip(*(each[:3] for each in below), strict=True))
    upper, _, upper_ess = (np.concatenate(parts) for parts in zip(*(each[:3] for each in above), strict=True))
    gap = -upper - lower
    spread = float(gap.std(ddof=1) / math.sqrt(len(gap)))
    return Sandwich(
        lower=float(lower.mean()),
        upper=float(-upper.mean()),
        gap=float(gap.mean()),
        lower_se=float(np.sqrt(np.square(delta_error(lower_ess, num_chains)).sum()) / len(lower)),
        upper_se=spread,
        gap_se=spread,
        method=method,
        per_datum={"lower": lower, "upper": -upper, "gap": gap, "lower_ess": lower_ess, "upper_ess": upper_ess},
        x=x,
    )


def _check(pair: AnyPair, num_data: int | None, like: Any, chunk: Any) -> int:
    """Number of data; raises if an argument is wrong."""
    check_count("num_data", num_data, 2, optional=True)
    check_count("chunk", chunk, optional=True, room=False)
    check_room("num_data", num_data or 1)
    if like is None:
        if "num_rows" not in inspect.signature(pair.model).parameters:
            raise ValueError(f"like is needed to simulate data of a {type(pair).__name__}: a batch of num_data rows.")
        return NUM_DATA if num_data is None else num_data
    given = len(CheckedRows(like, pair))
    if given < 2 or num_data not in (None, given):
        wanted = "at least 2" if num_data is None else f"num_data={num_data}"
        raise ValueError(f"like must have {wanted} rows, got {given}.")
    return given
