"""Block Gibbs sampling of a Boltzmann machine as a kernel."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ppgen.checks.arguments import check_count
from ppgen.distributions.machines.layered_energy import EVEN, ODD, LayeredEnergy
from ppgen.distributions.machines.samplers import dispersed_draw
from ppgen.distributions.units.units import draw_layers
from ppgen.inference.kernels.machine_kernel import MachineKernel


class BlockGibbsState(NamedTuple):
    """State of block Gibbs chains.

    Attributes:
        even: Values of the even layers, (num_chains, batch..., even units).
        odd: Values of the odd layers, drawn given them: (num_chains, batch..., odd units).
    """

    even: Tensor
    odd: Tensor


class BlockGibbsInfo(NamedTuple):
    """What a step of block Gibbs sampling tells, all of shape (num_chains, batch...), in nats.

    Attributes:
        energy: E of the joint state.
        free_energy: F of its even side, the odd one summed out.
    """

    energy: Tensor
    free_energy: Tensor


class BlockGibbs(MachineKernel[BlockGibbsState]):
    r"""Block Gibbs sampling: all even layers given all odd ones, then all odd layers given all even ones.

    .. math:: v \sim p(v \mid h), \qquad h \sim p(h \mid v)

    Machines of any depth have two blocks, so a sweep is two products with the weights. Chains start at independent
    units, by turns with the machine's own biases and of even odds (Gaussian units: of three times the standard
    deviation), so that chains which fall into different modes tell of them.

    References:
        | Deep Boltzmann Machines (Salakhutdinov and Hinton, 2009)

    Args:
        target: A `BoltzmannMachine`, also one conditioned on values; or a pair, or a run, with one.
        sweeps: Sweeps of a step.
        site: Name of the undirected site of a pair; not needed if there is one only.

    Raises:
        TypeError: If the target is no machine and no pair.
        ValueError: If the pair has no undirected site, or `sweeps` is not positive.

    Example:
        >>> from ppgen import inference, models
        >>> kernel = inference.BlockGibbs(models.DBM(visible=6, hidden=(4, 3)))
        >>> generator = torch.Generator().manual_seed(0)
        >>> state = kernel.init(1000, generator)
        >>> state, info = kernel.step(state, generator)
        >>> kernel.values(state)["hidden2"].shape, info.free_energy.shape
        (torch.Size([1000, 3]), torch.Size([1000]))
    """

    adaptive = False

    @torch.no_grad()
    def init(self, num_chains: int, generator: torch.Generator | None = None) -> BlockGibbsState:
        """State before the first step: chains of independent units, dispersed."""
        shape = (check_count("num_chains", num_chains), *self.energy.batch_shape)
        even = dispersed_draw(self.energy, shape, generator)
        return BlockGibbsState(even, self.energy.sample_opposite(even, EVEN, generator))

    @torch.no_grad()
    def step(
        self, state: BlockGibbsState, generator: torch.Generator | None = None, *, adapt: bool = False
    ) -> tuple[BlockGibbsState, BlockGibbsInfo]:
        """State after some sweeps of every chain, and their energies; there is nothing to adapt."""
        energy, (even, odd) = self.energy, state
        for _ in range(self.sweeps):
            even = energy.sample_opposite(odd, ODD, generator)
            inputs = energy.inputs(even, EVEN)
            odd = draw_layers(energy.opposite(EVEN), inputs, generator=generator)
        return BlockGibbsState(even, odd), BlockGibbsInfo(*energies(energy, even, odd, inputs))

    def sides(self, state: BlockGibbsState) -> tuple[Tensor, Tensor]:
        """Even and odd side of the chains, each (num_chains, batch..., units)."""
        return state.even, state.odd

    def moved_to(self, state: BlockGibbsState, even: Tensor, odd: Tensor) -> BlockGibbsState:
        """State whose chains stand at given values of both sides."""
        return BlockGibbsState(even, odd)

    def repeated(self, state: BlockGibbsState, times: int) -> BlockGibbsState:
        """State with each chain so many times, one after another."""
        return BlockGibbsState(state.even.repeat_interleave(times, 0), state.odd.repeat_interleave(times, 0))

    def __repr__(self) -> str:
        return f"BlockGibbs({', '.join(self.energy.names)}, sweeps={self.sweeps})"


def energies(energy: LayeredEnergy, even: Tensor, odd: Tensor, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """E of joint states and F of their even side from one product with the weights, both (...,), in nats.

    Args:
        energy: The machine.
        even: Values of the even side, (..., even units).
        odd: Values of the odd side.
        inputs: Inputs that the even side gives the odd layers.
    """
    own = joint = _own_energy(energy, even)
    for (layer, value), input in zip(energy.split(odd, ODD).items(), inputs, strict=True):
        units = energy.units[layer]
        joint = joint + units.energy(value) - (units.statistic(value) * input).sum(-1)
    return joint, _summed_out(energy, own, inputs)


def free_energy(energy: LayeredEnergy, even: Tensor, inputs: Sequence[Tensor]) -> Tensor:
    """F of the even side, (...,), in nats, from the inputs that it gives the odd layers: no product with the weights.

    Args:
        energy: The machine.
        even: Values of the even side, (..., even units).
        inputs: Inputs of each odd layer, (..., units).
    """
    return _summed_out(energy, _own_energy(energy, even), inputs)


def _summed_out(energy: LayeredEnergy, own: Tensor, inputs: Sequence[Tensor]) -> Tensor:
    free = own
    for units, input in zip(energy.opposite(EVEN), inputs, strict=True):
        free = free - units.log_partition(input)
    return free


def _own_energy(energy: LayeredEnergy, even: Tensor) -> Tensor:
    own = torch.zeros((), dtype=even.dtype, device=even.device)
    for layer, value in energy.split(even, EVEN).items():
        own = own + energy.units[layer].energy(value)
    return own
