"""Paths of tempered laws from the prior, or the guide, to the posterior of every datum, and the moves along them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ppgen.inference.kernels.hmc import HMC
from ppgen.inference.kernels.latent_density import LatentDensity, Start
from ppgen.inference.kernels.posterior_kernel import TemperableKernel

PILOT_MOVES = 50  # trajectories of the chains that find step sizes along the whole ladder, at least
_GAIN = 0.3  # change of a log step size for an acceptance off its target by one

Mover = HMC | TemperableKernel


@dataclass(frozen=True)
class LatentPath(ABC):
    r"""Geometric path from the prior or from the encoder to the posterior of every datum.

    .. math:: f_\beta(z) = p(z)\, p(x \mid z)^\beta \quad \text{or} \quad q(z \mid x)^{1 - \beta}\, p(x, z)^\beta

    Attributes:
        density: The joint density of unconstrained latents.
        start: `"prior"` or `"guide"`.
    """

    density: LatentDensity
    start: Start

    @torch.no_grad()
    def difference(self, position: Tensor) -> Tensor:
        """Derivative of log f_beta by beta, the same for every beta, in float64 nats: (num_chains, rows)."""
        base, target = self.density.base_and_target(position, self.start)
        return (target - base).double()

    @abstractmethod
    def step_sizes(self, betas: Sequence[float], generator: torch.Generator) -> Sequence[Any]:
        """What moves at each of the inner levels of a ladder need to be told, found by chains of their own."""

    @abstractmethod
    def move(
        self, position: Tensor, beta: float, step_size: Any, generator: torch.Generator, *, backwards: bool = False
    ) -> Tensor:
        """Positions after one move that leaves f_beta as it is, or after the same one backwards in time."""


@dataclass(frozen=True)
class HamiltonianPath(LatentPath):
    """Moves by Hamiltonian trajectories, which are reversible, so that the same ones serve both directions.

    Attributes:
        kernel: What moves the chains, one trajectory a level.
    """

    kernel: HMC

    def at(self, beta: float) -> Callable[[Tensor], Tensor]:
        """log f_beta as a function of positions."""

        def log_density(position: Tensor) -> Tensor:
            base, target = self.density.base_and_target(position, self.start)
            return base + beta * (target - base)

        return log_density

    def move(
        self, position: Tensor, beta: float, step_size: Any, generator: torch.Generator, *, backwards: bool = False
    ) -> Tensor:
        """Positions after one trajectory at beta."""
        log_density = self.at(beta)
        state = self.kernel.init(log_density, position, step_size)
        return self.kernel.step(log_density, state, generator)[0].position

    def step_sizes(self, betas: Sequence[float], generator: torch.Generator) -> list[Tensor]:
        r"""Step sizes of each datum at the inner levels of a ladder, (rows,) each, from one pilot run along it.

        .. math:: \log \epsilon \leftarrow \log \epsilon + 0.3\, (\bar\alpha - \delta)

        Here alpha is the mean acceptance of the datum's pilot chains. The runs that are weighed have other chains and
        keep these sizes: a size that followed their own past would spoil the invariance on which E[w] = p(x) rests.
        """
        position = self.density.draw(self.start)
        inner = betas[1:-1]
        moves = -(-PILOT_MOVES // max(len(inner), 1))
        log_step = torch.full_like(position[0, :, 0], self.kernel.step_size).log()
        found = []
        for beta in inner:
            log_density = self.at(beta)
            state = self.kernel.init(log_density, position, log_step.exp())
            for _ in range(moves):
                state, info = self.kernel.step(log_density, state, generator)
                log_step = log_step + _GAIN * (info.acceptance_rate.mean(0) - self.kernel.target_accept)
                state = state._replace(step_size=log_step.exp().expand_as(state.step_size))
            position = state.position
            found.append(log_step.exp())
        return found


@dataclass(frozen=True)
class TemperedPath(LatentPath):
    """Moves by a kernel that tempers the likelihood itself, one step a level, from the prior.

    Attributes:
        kernel: The kernel.
        state: Its state of the posterior, from which those of the levels are made.
    """

    kernel: TemperableKernel
    state: Any

    def step_sizes(self, betas: Sequence[float], generator: torch.Generator) -> list[None]:
        """None is needed."""
        return [None] * (len(betas) - 2)

    def move(
        self, position: Tensor, beta: float, step_size: Any, generator: torch.Generator, *, backwards: bool = False
    ) -> Tensor:
        """Positions after one step at beta."""
        state = self.kernel.tempered(self.state, position, beta, backwards=backwards)
        moved: Tensor = self.kernel.step(self.density, state, generator)[0].position
        return moved


def latent_path(density: LatentDensity, start: Start, kernel: Mover) -> LatentPath:
    """Path of the chains of a density.

    Args:
        density: The joint density of a pair and its data.
        start: Where paths begin: `"prior"`, or `"guide"` with Hamiltonian moves.
        kernel: What moves the chains.

    Raises:
        ValueError: If the kernel cannot move the latents of this pair.
    """
    if isinstance(kernel, HMC):
        return HamiltonianPath(density, start, kernel)
    return TemperedPath(density, start, kernel, kernel.init(density, density.draw(start)))
