"""log Z of the Boltzmann machine at a site: by enumeration, or by annealed importance sampling."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor

from ppgen.checks.arguments import check_count, check_number
from ppgen.checks.room import check_room
from ppgen.checks.seeding import check_seed
from ppgen.checks.switches import check_switches
from ppgen.distributions.machines.base_rate_path import BaseRatePath
from ppgen.distributions.machines.enumeration import exact_log_partition
from ppgen.distributions.machines.layered_energy import LayeredEnergy
from ppgen.distributions.machines.undirected import UndirectedDistribution
from ppgen.evaluation.blindness import FROM_BOTH
from ppgen.evaluation.estimate import Estimate
from ppgen.evaluation.partition.per_row import each_row, over_rows, rows_alike
from ppgen.evaluation.partition.sandwich import (
    DISPERSED,
    downwards,
    draws_of_the_machine,
    sandwiched,
    state_chains,
    unmixed,
)
from ppgen.evaluation.partition.shared_draws import gathered, own_seed, world_size
from ppgen.inference.annealing.adaptive_ladder import adaptive_betas
from ppgen.inference.annealing.annealing import AnnealedWeights, anneal, make_betas
from ppgen.inference.annealing.effective_runs import ALL_ALIKE, FEW_RUNS, LONE, LOW_ESS, blind, few_runs
from ppgen.inference.structure.machine_sites import base_mean, choose_site, undirected_sites
from ppgen.pair import as_pair
from ppgen.progress import progress_bar

METHODS = ("auto", "exact", "ais", "reverse_ais", "sandwich")
MAX_EXACT_STATES = 2**20  # about ten seconds for a machine with 500 units on the other side
ADAPTIVE = "adaptive"
_ITSELF = "machine"  # stands for the site where a machine is given without a pair
_REFINEMENTS = 4  # times that an adaptive ladder is made twice as fine


def log_partition(
    pair: Any,
    *,
    site: str | None = None,
    method: str = "exact",
    num_chains: int = 100,
    betas: int | str | Sequence[float] | Tensor = 1000,
    data_mean: Any = None,
    sweeps: int = 1000,
    target_ess: float = 0.5,
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
    log-likelihoods computed with it err *high*. Annealing downwards from draws of the machine itself has weights of
    mean Z_A / Z and gives an upper bound: where the two meet, both are right. The upper one is only as good as its
    draws: exact ones for machines that can be enumerated, else the persistent chains of training after `sweeps` more
    Gibbs sweeps. The error bar is that of the delta method, sd(w) / (mean(w) sqrt(M)).

    Where the energy depends on the datum (lengths of documents, missing ratings) every row of `x` has a log Z of its
    own: they are in `per_datum["log_partition"]`, found once for rows that are alike, and the value is their mean. So
    it is for a machine conditioned on rows, of which two log Z make the probability of a part given the rest:

    .. math:: \log p(x_a \mid x_b) = \log Z(x_a, x_b) - \log Z(x_b)

    Args:
        pair: A model of the zoo, a `ppgen.Pair` or a run; or a machine itself, as `machine.condition` gives it.
        site: Name of the undirected site; not needed if there is one only.
        method: `"exact"` sums over the states of the smaller side, at most 2^20; `"ais"` anneals upwards, from
            base rates to the machine, `"reverse_ais"` downwards, `"sandwich"` both ways; `"auto"` sums where that is
            possible and anneals upwards otherwise.
        num_chains: Annealing runs.
        betas: Ladder of `"ais"`: a number of equal steps, increasing numbers up to 1, or
            `"salakhutdinov-2008"`; `"adaptive"`: as many as it takes for an effective share `target_ess` of the runs.
        data_mean: Mean of the visible units, (V,), the base model of `"ais"`; if None, the training mean
            that the pair has noted, else the machine's own biases.
        sweeps: Gibbs sweeps of the chains from which annealing goes down.
        x: Rows of data with which the model is run to find the site, for models that need them: a few, or, where
            the energy depends on the datum, those whose log Z is asked for.
        target_ess: Effective number of runs that an `"adaptive"` ladder is made for, as a fraction of `num_chains`. It
            is tried by runs of its own and made twice as fine, up to four times, where they fall short.
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
        >>> import torch
        >>> import numpy as np
        >>> from ppgen import evaluation, models
        >>> rbm = models.RBM.from_arrays(np.ones((3, 2)), np.zeros(3), np.zeros(2))
        >>> evaluation.log_partition(rbm, method="exact")
        6.5528 nats, exact, enumeration (2^2 states)
        >>> evaluation.log_partition(rbm, method="ais", num_chains=200, betas=100).method
        'AIS (200 chains x 100 betas)'
        >>> abs(evaluation.log_partition(rbm, method="sandwich", num_chains=200, betas=100).gap) < 0.1
        True
        >>> evaluation.log_partition(rbm.machine().condition({"visible": torch.tensor([1.0, 0.0, float("nan")])}))
        4.4332 nats, exact, enumeration (2^1 states)
    """
    check_switches(progress=progress, distributed=distributed)
    seed = check_seed(seed)
    _check(method, num_chains, sweeps, chunk, compile)
    check_number("target_ess", target_ess, "lie between 0 and 1, both excluded", lambda share: 0 < share < 1)
    size = world_size() if distributed else 1
    if num_chains < size:
        raise ValueError(f"num_chains must be at least the number of processes, {size}, got {num_chains}.")
    ladder = [] if isinstance(betas, str) and betas == ADAPTIVE else make_betas(betas)
    if isinstance(pair, UndirectedDistribution):
        if x is not None or site is not None:
            raise ValueError("x and site find the machine of a pair; a machine itself takes neither: condition it.")
        energies = {_ITSELF: pair.base_energy}
    else:
        pair = as_pair(pair)
        energies = undirected_sites(pair, x)
    site = choose_site(energies, site)
    energy = energies[site]
    if method in ("auto", "exact"):
        method = "exact" if method == "exact" or enumerable(energy) else "ais"
    if size > 1 and method in ("reverse_ais", "sandwich"):
        raise ValueError(f"distributed=True shares out annealing upwards only, method='ais'; got {method!r}.")
    if not ladder and energy.batch_shape and method != "exact":
        raise ValueError(
            f"betas={betas!r} makes a ladder for one machine, and the energy of this one depends on the datum, so each "
            "row has its own log Z. Give a number of betas."
        )
    mean = None if method == "exact" else base_mean(pair, energy, data_mean)

    def annealing_of(part: LayeredEnergy, block: int) -> _Annealing:
        own = own_seed(seed, f"rows {block}") if block else seed
        found = _Annealing(BaseRatePath(part, mean), ladder, num_chains, own, progress, chunk, compile)
        return found if ladder else found.adapted(target_ess, size)

    whole = None if method == "exact" or energy.batch_shape else annealing_of(energy, 0)

    def by(direction: str) -> Estimate:
        """Estimate by one method: of the one log Z, or of those of all rows."""

        def estimates(part: LayeredEnergy, block: int) -> list[Estimate]:
            if direction == "exact":
                return _exact(part)
            annealing = whole or annealing_of(part, block)
            if direction == "ais":
                return annealing.upwards(size)
            return annealing.downwards(state_chains(pair, site), sweeps)

        if not energy.batch_shape:
            return estimates(energy, 0)[0]
        return over_rows(*each_row(energy, num_chains, estimates), energy.fingerprint())

    if method != "sandwich":
        return by(method)
    upper = by("reverse_ais")
    source = upper.method.removeprefix("reverse AIS (").removesuffix(")").partition(", from ")[2]
    budget = whole.budget if whole else f"{num_chains} chains x {len(ladder) - 1} betas"
    return sandwiched(by("ais"), upper, f"AIS upwards, and downwards from {source} ({budget})")


def enumerable(energy: LayeredEnergy) -> bool:
    """Whether the smaller side has few enough states to be summed over, in every row if each has its own."""
    if len(energy.batch_shape) == 1 and len(kinds := rows_alike(energy)) > 1:
        return all(enumerable(energy.rows(index)) for index in kinds)
    return energy.num_states(energy.smaller_side) <= MAX_EXACT_STATES


@torch.no_grad()
def _exact(energy: LayeredEnergy) -> list[Estimate]:
    if energy.batch_shape and len(kinds := rows_alike(energy)) > 1:
        found = [_exact(energy.rows(index)) for index in kinds]
        fingerprint = energy.fingerprint()
        placed = zip(torch.cat(kinds).tolist(), itertools.chain.from_iterable(found), strict=True)
        return [replace(each, fingerprint=fingerprint) for _, each in sorted(placed, key=lambda pair: pair[0])]
    values = torch.atleast_1d(exact_log_partition(energy, MAX_EXACT_STATES))
    states = math.log2(energy.num_states(energy.smaller_side))
    method = f"enumeration (2^{states:.4g} states)"
    fingerprint = energy.fingerprint()
    return [Estimate(value, 0.0, "exact", method, unit="nats", fingerprint=fingerprint) for value in values.tolist()]


@dataclass(frozen=True)
class _Annealing:
    """Annealing of one machine with one budget, in either direction."""

    path: BaseRatePath
    ladder: list[float]
    num_chains: int
    seed: int
    progress: bool
    chunk: int | None
    compile: bool | Literal["auto"]

    @property
    def budget(self) -> str:
        return f"{self.num_chains} chains x {len(self.ladder) - 1} betas"

    def adapted(self, target_ess: float, size: int) -> "_Annealing":
        """This annealing along a ladder made for the machine, alike in every process.

        It is tried by runs that are not the ones reported: keeping only runs with even weights would bias log Z.
        """
        generator = self._generator(own_seed(self.seed, "ladder"))
        ladder = adaptive_betas(self.path, target_ess, generator)
        for attempt in range(_REFINEMENTS):
            tried = replace(self, ladder=ladder, seed=own_seed(self.seed, f"trial {attempt}"))
            if (tried.upwards(size)[0].ess or 0.0) >= target_ess * self.num_chains:
                break
            ladder = sorted({*ladder, *((low + high) / 2 for low, high in zip(ladder, ladder[1:], strict=False))})
        return replace(self, ladder=ladder)

    def upwards(self, size: int) -> list[Estimate]:
        rank = 0 if size == 1 else dist.get_rank()
        generator = self._generator(own_seed(self.seed, rank))
        own = len(range(rank, self.num_chains, size))
        runs = self._run("annealing", own, generator, shown=rank == 0)
        runs = runs._replace(log_weights=gathered(runs.log_weights, size))
        return self._summaries(runs, f"AIS ({self.budget})")

    def downwards(self, chains: Tensor | None, sweeps: int) -> list[Estimate]:
        energy, generator = self.path.energy, self._generator(own_seed(self.seed, "downwards"))
        start, source = draws_of_the_machine(energy, self.num_chains, chains, sweeps, MAX_EXACT_STATES, generator)
        runs = self._run("annealing downwards", self.num_chains, generator, start=start)
        method = f"reverse AIS ({self.budget}, from {source})"
        bases = torch.atleast_1d(runs.log_base_partition).tolist()
        found = self._summaries(runs, method, by_turns=source.startswith(DISPERSED))
        return [downwards(each, base, method) for each, base in zip(found, bases, strict=True)]

    def _summaries(self, runs: AnnealedWeights, method: str, *, by_turns: bool = False) -> list[Estimate]:
        """An estimate of log Z, or one for each row, of runs that may have begun in two ways by turns."""
        fingerprint = self.path.energy.fingerprint()
        if runs.log_weights.dim() == 1:
            return [_judged(summarise(runs, method, fingerprint), runs.log_weights, self.path, by_turns)]
        bases = runs.log_base_partition.expand(runs.log_weights.shape[1:])
        found = []
        for row, base in enumerate(bases):
            weights, path = runs.log_weights[:, row], self.path.rows(torch.tensor([row], device=base.device))
            each = summarise(AnnealedWeights(weights, base, runs.values), method, fingerprint)
            found.append(_judged(each, weights, path, by_turns))
        return found

    def _generator(self, seed: int) -> torch.Generator:
        return torch.Generator(device=self.path.energy.parameters()[0].device).manual_seed(seed)

    def _run(
        self,
        title: str,
        count: int,
        generator: torch.Generator,
        *,
        start: Tensor | None = None,
        shown: bool = True,
    ) -> AnnealedWeights:
        with progress_bar(title, len(self.ladder) - 1, self.progress and shown) as advance:
            return anneal(
                self.path,
                self.ladder,
                count,
                generator,
                start=start,
                chunk=self.chunk,
                compile=self.compile,
                advance=advance,
            )


def summarise(runs: AnnealedWeights, method: str, fingerprint: str | None = None) -> Estimate:
    """Estimate of log Z from annealing runs, with its error by the delta method."""
    num_chains = len(runs.log_weights)
    log_mean = torch.logsumexp(runs.log_weights, 0) - math.log(num_chains)
    weights = (runs.log_weights - log_mean).exp()  # of mean 1
    ess = float(weights.sum().square() / weights.square().sum())
    se = float(weights.std() / math.sqrt(num_chains))
    warning = FEW_RUNS.format(ess=ess, num_chains=num_chains) if not ess >= LOW_ESS * num_chains else None
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


def _judged(estimate: Estimate, log_weights: Tensor, path: BaseRatePath, by_turns: bool) -> Estimate:
    """The estimate, its error unknown (NaN) where the weights cannot tell it.

    So it is where one run outweighs all others together, and where all weights are one and the same though the laws
    along the path differ: then no run has left the states that all are in, and what lies elsewhere is in none of them;
    and where runs down tell how the chains began that they go down from.
    """
    if by_turns and (text := unmixed(log_weights)):
        return replace(estimate, se=math.nan, bias=math.nan, warning=text)
    if blind(log_weights, path):
        return replace(estimate, se=math.nan, bias=math.nan, warning=ALL_ALIKE + FROM_BOTH)
    ess, num_chains = estimate.ess or 0.0, len(log_weights)
    if few_runs(ess, num_chains):
        estimate = replace(estimate, warning=FEW_RUNS.format(ess=ess, num_chains=num_chains))
    return estimate if ess >= LONE else replace(estimate, se=math.nan, bias=math.nan)


def _check(method: str, num_chains: int, sweeps: int, chunk: int | None, compile: bool | str) -> None:
    check_count("sweeps", sweeps, 0, wanted="a number of Gibbs sweeps, 0 or more", room=False)
    if compile not in (True, False, "auto"):
        raise ValueError(f'compile must be True, False or "auto", got {compile!r}.')
    check_count("chunk", chunk, optional=True, wanted="a positive integer", room=False)
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(map(repr, METHODS))}, got {method!r}.")
    check_count("num_chains", num_chains, 2, wanted="an integer of at least 2 (one run has no error bar)")
    check_room("num_chains", num_chains, 2)
