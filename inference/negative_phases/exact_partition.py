"""The exact log Z of small machines as a negative phase."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ppgen.checks.arguments import check_count
from ppgen.distributions import UndirectedDistribution
from ppgen.distributions.machines.enumeration import exact_log_partition, exact_probabilities, smaller_side_states
from ppgen.distributions.machines.layered_energy import EVEN
from ppgen.inference.negative_phases.negative_phase import NegativePhase, State


@dataclass(frozen=True)
class ExactPartition(NegativePhase):
    r"""log Z by enumeration of the smaller side, differentiated: exact maximum likelihood.

    .. math:: \nabla \log Z = E_{p(v, h)}[-\nabla E(v, h)]

    Values are normalised, in nats. Cost: one pass over all states of the smaller side each step.

    References:
        | A Learning Algorithm for Boltzmann Machines (Ackley, Hinton and Sejnowski, 1985)

    Args:
        max_states: Largest number of states of the smaller side.

    Raises:
        ValueError: If it is no whole number of at least 1; before the first step, if the smaller side has more states.

    Example:
        >>> from ppgen import inference
        >>> inference.ExactPartition().max_states
        1048576
    """

    normalised: ClassVar[bool] = True
    max_states: int = 2**20

    def __post_init__(self) -> None:
        check_count("max_states", self.max_states)

    def check(self, law: UndirectedDistribution) -> None:
        """Raise if the smaller side has too many states."""
        smaller_side_states(law.base_energy, self.max_states)

    def init(self, law: UndirectedDistribution, value: Tensor) -> State:
        """State before the first step: none, as log Z is computed anew."""
        return {}

    def surrogate(self, law: UndirectedDistribution, value: Tensor, state: State) -> tuple[Tensor, State]:
        """log Z of the present weights by enumeration, in nats: a scalar; differentiable."""
        return exact_log_partition(law.base_energy, self.max_states), state

    def value(self, law: UndirectedDistribution) -> Tensor:
        """log Z of the present weights by enumeration, in nats: a scalar; differentiable."""
        return exact_log_partition(law.base_energy, self.max_states)

    @torch.no_grad()
    def fantasies(self, law: UndirectedDistribution, value: Tensor, state: State, count: int) -> Tensor:
        """Independent draws of the machine."""
        energy = law.base_energy
        side = energy.smaller_side
        cumulative = exact_probabilities(energy, side, self.max_states).cumsum(0)
        uniform = torch.rand(count, dtype=cumulative.dtype, device=cumulative.device)
        index = torch.searchsorted(cumulative, uniform).clamp(max=len(cumulative) - 1)
        drawn = energy.states(side, 0, len(cumulative))[index]
        return drawn if side == EVEN else energy.sample_opposite(drawn, side)
