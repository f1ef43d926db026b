"""Contracts of units, couplings and Boltzmann machines: everything against the sum over all states."""

from typing import Any

import torch
from torch import Tensor

from ppgen.distributions import BoltzmannMachine, Coupling
from ppgen.distributions.layered_energy import EVEN, ODD
from ppgen.testing.examples import state_index
from ppgen.testing.statistics import check_close, check_frequencies, check_mean, fail

_DRAWS = 20_000


def check_coupling(coupling: Coupling, lower_size: int, upper_size: int) -> None:
    """Raise unless `forward` is linear and `backward` is its adjoint: forward(x).y = x.backward(y).

    Example:
        >>> from ppgen.distributions import Dense
        >>> check_coupling(Dense(torch.randn(3, 2, dtype=torch.float64)), 3, 2)
    """
    like = coupling.parameters()[0].detach()
    name = type(coupling).__name__
    lower, upper = like.new_empty(5, lower_size).normal_(), like.new_empty(5, upper_size).normal_()
    up, down = coupling.forward(lower), coupling.backward(upper)
    if up.shape != upper.shape or down.shape != lower.shape:
        fail(f"{name} must map {lower_size} to {upper_size} units and back, got {up.shape} and {down.shape}.")
    check_close((up * upper).sum(-1), (lower * down).sum(-1), f"{name}.backward as the adjoint of forward")
    check_close(coupling.forward(2 * lower - 1), 2 * up - coupling.forward(torch.ones_like(lower)), f"{name}.forward")
    coupling.check(lower_size, upper_size, ("lower", "upper"))
    try:
        coupling.check(lower_size + 1, upper_size, ("lower", "upper"))
    except ValueError:
        return
    fail(f"{name}.check must raise ValueError for layers that do not fit.")


def check_machine(machine: BoltzmannMachine, *, num_draws: int = _DRAWS) -> None:
    """Raise unless the parts of a small machine agree with each other, by sums over all states.

    Free energies and marginals of both sides, conditionals of every layer, log Z, exact draws, and one block
    Gibbs sweep from exact draws, which must leave the law unchanged.

    Args:
        machine: A machine in float64 with at most 2^16 joint states.
        num_draws: Draws of the tests by sampling.

    Example:
        >>> from ppgen import testing
        >>> testing.check_machine(testing.boltzmann_machine((3, 2)), num_draws=2000)
    """
    energy = machine.base_energy
    sides = {side: energy.states(side, 0, int(energy.num_states(side))) for side in (EVEN, ODD)}
    grid = energy.energy(sides[EVEN].unsqueeze(1), sides[ODD].unsqueeze(0))  # (even states, odd states)
    log_partition = torch.logsumexp(-grid.flatten(), 0)
    check_close(machine.exact_log_partition(), log_partition, "exact_log_partition")
    for side in (EVEN, ODD):
        free = -torch.logsumexp(-grid, 1 - side)
        names = [machine.names[layer] for layer in energy.sides[side]]
        check_close(energy.free_energy(sides[side], side), free, f"free energy of layers {names}")
        marginal = machine.with_log_partition(log_partition).marginal(names)
        law = torch.softmax(-free, 0)
        check_close(marginal.log_prob(sides[side]), law.log(), f"log_prob of marginal({names})")
        _check_side_draws(machine, side, sides[side], law.detach(), num_draws)
    _check_conditionals(machine, sides)


def _check_side_draws(machine: Any, side: int, states: Tensor, law: Tensor, num_draws: int) -> None:
    energy = machine.base_energy
    exact = states[torch.multinomial(law, num_draws, replacement=True)]
    moved = energy.gibbs(exact, side)
    index, moved_index = state_index(exact), state_index(moved)
    if bool((index == moved_index).all()):
        fail("gibbs does not move.")
    order = torch.zeros(2 ** energy.size(side), dtype=law.dtype, device=law.device)
    order[state_index(states)] = law
    check_frequencies(moved_index, order, f"one Gibbs sweep of side {side} from exact draws")
    names = [machine.names[layer] for layer in energy.sides[side]]
    drawn = machine.with_sampler("exact").marginal(names).sample(torch.Size([num_draws]))
    check_frequencies(state_index(drawn), order, f"exact draws of side {side}")
    opposite = energy.sample_opposite(states[:1].expand(num_draws, -1), side)
    check_mean(opposite, energy.mean_opposite(states[0], side).detach(), f"draws of the side opposite to {side}")


def _check_conditionals(machine: Any, sides: dict[int, Tensor]) -> None:
    """p(layer | neighbours) = exp(-E) normalised over the layer, at one state of everything else."""
    energy = machine.base_energy
    even, odd = sides[EVEN][-2], sides[ODD][len(sides[ODD]) // 3]
    values = {**energy.split(even, EVEN), **energy.split(odd, ODD)}
    for layer, units in enumerate(energy.units):
        states = units.states(torch.arange(units.num_states, device=even.device))
        varied = {i: states if i == layer else v.expand(len(states), -1) for i, v in values.items()}
        both = [torch.cat([varied[i] for i in energy.sides[side]], -1) for side in (EVEN, ODD)]
        log_law = torch.log_softmax(-energy.energy(*both), 0)
        given = {machine.names[i]: v for i, v in values.items() if abs(i - layer) == 1}
        name = machine.names[layer]
        check_close(machine.conditional(name, given).log_prob(states), log_law, f"conditional({name!r})")
