"""log p(x) of decoders by annealed importance sampling, forwards and in reverse, with Hamiltonian Monte Carlo moves."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppgen.checks.room import check_room
from ppgen.evaluation.likelihood.importance import summarise
from ppgen.evaluation.per_datum import PerDatum
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
    if isinstance(num_chains, bool) or not isinstance(num_chains, int) or num_chains < 2:
        raise ValueError(f"num_chains must be an integer of at least 2 (one run has no error bar), got {num_chains!r}.")
    check_room("num_chains", num_chains)
    if start not in STARTS:
        raise ValueError(f"start must be one of {', '.join(map(repr, STARTS))}, got {start!r}.")
    if kernel is not None and not isinstance(kernel, HMC):
        raise TypeError(f"kernel must be an inference.HMC, got {type(kernel).__name__}.")
    return HMC() if kernel is None else kernel


@torch.no_grad()
def annealed(
    pair: AnyPair,
    rows: Callable[[int, int], Any],
    num_data: int,
    *,
    layout: Layout,
    betas: Sequence[float],
    num_chains: int,
    chunk: int,
    start: Start,
    kernel: HMC,
    seed: int = 0,
    advance: Callable[[int], None] | None = None,
) -> PerDatum:
    """Annealed estimate of log p(x) of each datum, with its error by the delta method.

    Args:
        pair: Model and guide, in evaluation mode.
        rows: Batch of the data from a first up to a last index.
        num_data: Number of data.
        layout: Structure of the pair.
        betas: Ladder from 0 to 1, as `ppgen.inference.annealing.annealing.make_betas` gives it.
        num_chains: Annealing runs of each datum.
        chunk: Chains moved at once, at least those of one datum.
        start: Where the path begins: `"prior"` or `"guide"`.
        kernel: What moves the chains.
        seed: Seed of the momenta; starts are drawn from torch's global random state.
        advance: Called with the number of data done.

    Raises:
        ValueError: If a latent site is discrete or outside the data plate, or there is none.

    References:
        Neal (2001), Annealed importance sampling, arXiv:physics/9803008.
        Wu, Burda, Salakhutdinov and Grosse (2017), On the quantitative analysis of decoder-based generative models,
        arXiv:1611.04273.
    """
    generator = torch.Generator(device=pair.device).manual_seed(seed)
    block = max(1, min(chunk // num_chains, num_data))
    found = []
    for first in range(0, num_data, block):
        last = min(first + block, num_data)
        path, step_sizes = prepared(
            pair,
            rows(first, last),
            betas,
            generator,
            num_chains=num_chains,
            start=start,
            kernel=kernel,
            layout=layout,
        )
        found.append(summarise(forward(path, betas, step_sizes, generator), pareto=False))
        if advance is not None:
            advance(last)
    values, se, ess = (np.concatenate(parts) for parts in zip(*(each[:3] for each in found), strict=True))
    return PerDatum(values, se, ess, None)
