"""log p(x) of decoders by annealed importance sampling, forwards and in reverse, with Hamiltonian Monte Carlo moves."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppgen.checks.arguments import check_count
from ppgen.checks.room import check_room
from ppgen.evaluation.likelihood.importance import summarise
from ppgen.evaluation.likelihood.method import DOUBTFUL_LADDER, Advance, LikelihoodMethod, Subject
from ppgen.evaluation.per_datum import PerDatum
from ppgen.evaluation.program import Program
from ppgen.inference.kernels.hmc import HMC
from ppgen.inference.kernels.latent_density import STARTS, LatentDensity, Start
from ppgen.inference.structure.layout import Layout
from ppgen.inference.structure.points import check_no_points
from ppgen.pair import AnyPair

PILOT_CHAINS = 10  # chains a datum that find the step sizes
PILOT_MOVES = 50  # their trajectories along the whole ladder, at least
_GAIN = 0.3  # change of a log step size for an acceptance off its target by one


@dataclass(frozen=True)
class DecoderPath:
    r"""Geometric path from the prior or from the encoder to the posterior of every datum.

    .. math:: f_\beta(z) = p(z)\, p(x \mid z)^\beta \quad \text{or} \quad q(z \mid x)^{1 - \beta}\, p(x, z)^\beta

    Moves leave f_beta invariant, and are reversible, so that the same ones serve both directions.

    Attributes:
        density: The joint density of unconstrained latents.
        start: `"prior"` or `"guide"`.
        kernel: What moves the chains, one trajectory a level.
    """

    density: LatentDensity
    start: Start
    kernel: HMC

    @torch.no_grad()
    def difference(self, position: Tensor) -> Tensor:
        """Derivative of log f_beta by beta, the same for every beta, in float64 nats: (num_chains, rows)."""
        base, target = self.density.base_and_target(position, self.start)
        return (target - base).double()

    def at(self, beta: float) -> Callable[[Tensor], Tensor]:
        """log f_beta as a function of positions."""

        def log_density(position: Tensor) -> Tensor:
            base, target = self.density.base_and_target(position, self.start)
            return base + beta * (target - base)

        return log_density

    def move(self, position: Tensor, beta: float, step_size: Tensor, generator: torch.Generator) -> Tensor:
        """Positions after one trajectory at beta."""
        log_density = self.at(beta)
        state = self.kernel.init(log_density, position, step_size)
        return self.kernel.step(log_density, state, generator)[0].position


def find_step_sizes(path: DecoderPath, betas: Sequence[float], generator: torch.Generator) -> list[Tensor]:
    r"""Step sizes of each datum at the inner levels of a ladder, (rows,) each, from one pilot run along it.

    .. math:: \log \epsilon \leftarrow \log \epsilon + 0.3\, (\bar\alpha - \delta)

    Here alpha is the mean acceptance of the datum's pilot chains. The runs that are weighed have other chains and keep
    these sizes: a size that followed their own past would spoil the invariance on which E[w] = p(x) rests.
    """
    position = path.density.draw(path.start)
    inner = betas[1:-1]
    moves = -(-PILOT_MOVES // max(len(inner), 1))
    log_step = torch.full_like(position[0, :, 0], path.kernel.step_size).log()
    found = []
    for beta in inner:
        log_density = path.at(beta)
        state = path.kernel.init(log_density, position, log_step.exp())
        for _ in range(moves):
            state, info = path.kernel.step(log_density, state, generator)
            log_step = log_step + _GAIN * (info.acceptance_rate.mean(0) - path.kernel.target_accept)
            state = state._replace(step_size=log_step.exp().expand_as(state.step_size))
        position = state.position
        found.append(log_step.exp())
    return found


@torch.no_grad()
def forward(
    path: DecoderPath, betas: Sequence[float], step_sizes: Sequence[Tensor], generator: torch.Generator
) -> Tensor:
    r"""Log-weights of annealing runs from the start to the posterior, float64 nats: (num_chains, rows).

    .. math:: \log w = \sum_{k=1}^n (\beta_k - \beta_{k-1})\, d(z_{k-1}), \quad
        d = \log p(x, z) - \log f_0(z), \quad E[w] = p(x)
    """
    position = path.density.draw(path.start)
    log_weights = betas[1] * path.difference(position)
    for level, step_size in enumerate(step_sizes, 1):
        position = path.move(position, betas[level], step_size, generator)
        log_weights = log_weights + (betas[level + 1] - betas[level]) * path.difference(position)
    return log_weights


@torch.no_grad()
def reverse(
    path: DecoderPath,
    betas: Sequence[float],
    step_sizes: Sequence[Tensor],
    position: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Log-weights of the runs back from exact draws of p(z | x), E[1 / w] = 1 / p(x), float64: (num_chains, rows)."""
    log_weights = (betas[-1] - betas[-2]) * path.difference(position)
    for level in range(len(step_sizes), 0, -1):
        position = path.move(position, betas[level], step_sizes[level - 1], generator)
        log_weights = log_weights + (betas[level] - betas[level - 1]) * path.difference(position)
    return log_weights


def prepared(
    pair: AnyPair,
    batch: Any,
    betas: Sequence[float],
    generator: torch.Generator,
    *,
    num_chains: int,
    start: Start,
    kernel: HMC,
    layout: Layout,
) -> tuple[DecoderPath, list[Tensor]]:
    """Path of a batch with `num_chains` chains a datum, and step sizes from a pilot run of its own."""
    pilot = LatentDensity(pair, batch, min(PILOT_CHAINS, num_chains), layout=layout)
    step_sizes = find_step_sizes(DecoderPath(pilot, start, kernel), betas, generator)
    return DecoderPath(LatentDensity(pair, batch, num_chains, layout=layout), start, kernel), step_sizes


def check_start(layout: Layout, start: str) -> None:
    """Raise where annealing is to begin at a guide that has no law to begin from."""
    if start == "guide":
        check_no_points(layout.points, "annealing from it", 'Start from the prior: start="prior".')


def check_annealing(num_chains: Any, start: Any, kernel: Any) -> HMC:
    """The kernel, `HMC()` if there is none.

    Raises:
        ValueError: If there are fewer than two chains, or the start is unknown.
        TypeError: If the kernel is no HMC.
    """
    check_count("num_chains", num_chains, 2, wanted="an integer of at least 2 (one run has no error bar)")
    check_room("num_chains", num_chains)
    if start not in STARTS:
        raise ValueError(f"start must be one of {', '.join(map(repr, STARTS))}, got {start!r}.")
    if kernel is not None and not isinstance(kernel, HMC):
        raise TypeError(f"kernel must be an inference.HMC, got {type(kernel).__name__}.")
    return HMC() if kernel is None else kernel


def movable(program: Program) -> bool:
    """Whether all latents can be annealed, whatever the guide is: continuous ones, and none under a machine."""
    layout = program.layout
    discrete = (law.support.is_discrete for name, law in layout.model_laws.items() if name in layout.latent)
    return not (program.energies or layout.marginalised) and not any(discrete)


class LatentAnnealing(LikelihoodMethod):
    """Annealing of the continuous latents of a directed pair, with the error by the delta method.

    References:
        Neal (2001), Annealed importance sampling, arXiv:physics/9803008.
        Wu, Burda, Salakhutdinov and Grosse (2017), On the quantitative analysis of decoder-based generative models,
        arXiv:1611.04273.
    """

    name = "ais"
    anneals = True
    needs_law = False
    doubt = DOUBTFUL_LADDER

    @classmethod
    def applies(cls, program: Program, asked: str, num_data: int) -> bool:
        """To directed pairs; where a guide has points and no law it is all that can be had."""
        if program.layout.points:
            return asked in ("auto", cls.name) and movable(program)
        return asked == cls.name and not program.energies

    @classmethod
    def check_latents(cls, program: Program) -> None:
        """Raise where a latent is discrete."""
        discrete = [name for name in program.layout.latent if program.layout.guide_laws[name].support.is_discrete]
        if discrete:
            raise ValueError(
                f"method='ais' anneals continuous latents, and the latent site {discrete[0]!r} is discrete. Use "
                "method='importance'."
            )

    @torch.no_grad()
    def run(self, subject: Subject, advance: Advance = None) -> PerDatum:
        """The estimates; momenta are drawn from the seed, starts from torch's global random state.

        Raises:
            ValueError: If a latent site is discrete or outside the data plate, there is none, or the guide at which
                runs begin has no law.
        """
        rows, layout, annealing = subject.rows, subject.program.layout, self.annealing
        check_start(layout, self.start)
        generator = torch.Generator(device=subject.pair.device).manual_seed(self.seed)
        block = annealing.block(len(rows))
        found = []
        for first in range(0, len(rows), block):
            last = min(first + block, len(rows))
            path, step_sizes = prepared(
                subject.pair,
                rows(first, last),
                annealing.betas,
                generator,
                num_chains=annealing.num_chains,
                start=self.start,
                kernel=self.kernel,
                layout=layout,
            )
            found.append(summarise(forward(path, annealing.betas, step_sizes, generator), pareto=False))
            if advance is not None:
                advance(last)
        values, se, ess = (np.concatenate(parts) for parts in zip(*(each[:3] for each in found), strict=True))
        return PerDatum(values, se, ess, None)

    def describe(self) -> str:
        """Where runs begin, how many they are, and their levels."""
        return f"AIS from the {self.start} {self.annealing.describe()}"
