"""Samplers that can be attached to a Boltzmann machine: exact enumeration and block Gibbs."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Size, Tensor

from ppgen.checks.arguments import check_count
from ppgen.distributions.machines.enumeration import exact_probabilities, smaller_side_states
from ppgen.distributions.machines.layered_energy import EVEN, ODD, LayeredEnergy
from ppgen.distributions.units.units import draw_layers


class Sampler(Protocol):
    """Draws joint states of a machine; attached to a distribution by `with_sampler`."""

    def __call__(self, energy: LayeredEnergy, shape: Size) -> tuple[Tensor, Tensor]:
        """Values of the even and of the odd side, each of shape `shape + (units of the side,)`."""
        ...


@dataclass(frozen=True)
class ExactSampler:
    """Independent draws: a state of the smaller side by its exact probability, then the other side given it.

    Args:
        max_states: Largest number of states of the smaller side.

    Raises:
        ValueError: If it is no whole number of at least 1; when called on a machine whose smaller side has more states.
    """

    max_states: int = 2**20

    def __post_init__(self) -> None:
        check_count("max_states", self.max_states)

    def __call__(self, energy: LayeredEnergy, shape: Size) -> tuple[Tensor, Tensor]:
        """Values of the even and of the odd side."""
        smaller_side_states(energy, self.max_states)
        side = energy.smaller_side
        # One column for each datum that the energy depends on, or one for all.
        cumulative = (
            exact_probabilities(energy, side, self.max_states).cumsum(0).reshape(-1, energy.batch_shape.numel())
        )
        uniform = torch.rand(shape, dtype=cumulative.dtype, device=cumulative.device).reshape(-1, cumulative.shape[1])
        index = torch.searchsorted(cumulative.mT.contiguous(), uniform.mT.contiguous()).mT.flatten()
        index = index.clamp(max=len(cumulative) - 1)
        drawn, position = torch.unique(index, return_inverse=True)
        values = torch.cat([energy.states(side, state, state + 1) for state in drawn.tolist()])[position]
        values = values.reshape(*shape, energy.size(side))
        other = energy.sample_opposite(values, side)
        return (values, other) if side == EVEN else (other, values)


@dataclass(frozen=True)
class GibbsSampler:
    """Block Gibbs chains, one for each draw, from the base rates of the even side.

    The draws are independent but follow the machine's law only up to the bias of finitely many sweeps.

    Args:
        sweeps: Full sweeps (even, odd, even) of each chain.
    """

    sweeps: int = 1000

    def __post_init__(self) -> None:
        if isinstance(self.sweeps, bool) or not isinstance(self.sweeps, int) or self.sweeps < 1:
            raise ValueError(f"sweeps must be at least 1, got {self.sweeps!r}.")

    def __call__(self, energy: LayeredEnergy, shape: Size) -> tuple[Tensor, Tensor]:
        """Values of the even and of the odd side."""
        even = energy.gibbs(base_rate_draw(energy, shape), EVEN, self.sweeps)
        odd = energy.sample_opposite(even, EVEN)
        return energy.sample_opposite(odd, ODD), odd


def base_rate_draw(
    energy: LayeredEnergy, shape: Size | tuple[int, ...], generator: torch.Generator | None = None
) -> Tensor:
    """Values of the even side with every input zero, where chains start: `shape + (even units,)`."""
    layers = [energy.units[layer] for layer in energy.sides[EVEN]]
    inputs = [units.parameters()[0].new_zeros(*shape, units.size) for units in layers]
    return draw_layers(layers, inputs, generator=generator)


def dispersed_draw(
    energy: LayeredEnergy, shape: Size | tuple[int, ...], generator: torch.Generator | None = None
) -> Tensor:
    """Values of the even side of chains, by turns from the base rates and from a wider law: `shape + (even units,)`.

    Chains that all start at the base rates may all fall into one mode, and agree there.
    """
    base = base_rate_draw(energy, shape, generator)
    layers = [energy.units[layer] for layer in energy.sides[EVEN]]
    inputs = [units.parameters()[0].new_zeros(*shape, units.size) for units in layers]
    wide = draw_layers([units.dispersed() for units in layers], inputs, generator=generator)
    at_base = torch.arange(shape[0], device=base.device).remainder(2) == 0
    return torch.where(at_base.reshape(-1, *(1,) * (base.dim() - 1)), base, wide)


def resolve_sampler(sampler: "Sampler | str") -> Sampler:
    """The sampler itself, or the one of that name: `"exact"` or `"gibbs"`.

    Raises:
        ValueError: If the name is unknown.
        TypeError: If it can be called by no machine.
    """
    named: dict[str, Sampler] = {"exact": ExactSampler(), "gibbs": GibbsSampler()}
    if isinstance(sampler, str):
        if sampler not in named:
            raise ValueError(f"Unknown sampler {sampler!r}. Known: {', '.join(named)}, or a Sampler of your own.")
        return named[sampler]
    if not callable(sampler):
        raise TypeError(f"sampler must be a name or a callable (energy, shape), got {type(sampler).__name__}.")
    return sampler
