"""Contracts of units, couplings and Boltzmann machines: everything against the sum over all states."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ppgen.distributions import BaseRatePath, BoltzmannMachine, Coupling, Units
from ppgen.distributions.machines.layered_energy import EVEN, ODD, LayeredEnergy
from ppgen.inference.annealing.annealing import anneal, make_betas
from ppgen.testing.quadrature import quadrature
from ppgen.testing.statistics import check_close, check_frequencies, check_mean, fail

_DRAWS = 20_000
_REACH, _PANELS = 14.0, 40  # for units of a standard deviation of some 0.5 to 1.5


def check_coupling(coupling: Coupling, lower_size: int, upper_size: int) -> None:
    """Raise unless `forward` is linear and `backward` is its adjoint: forward(x).y = x.backward(y).

    Example:
        >>> import torch
        >>> from ppgen.distributions import Dense
        >>> from ppgen.testing import check_coupling
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

    Free energies and marginals of both sides, conditionals of every layer, log Z and the gradient of the exact
    log-likelihood; the mode, and modes found from every state of the odd side; exact draws, and one block Gibbs sweep
    from exact draws, which must leave the law unchanged; the ends and the sweeps of the tempered path, and the mean
    weight of annealing upwards and downwards. A side of continuous units stands on a grid, whose sums are integrals to
    many digits.

    Args:
        machine: A machine in float64 with at most 2^16 joint states, its parameters leaves that require a gradient. A
            side of continuous units must be one layer of two.
        num_draws: Draws of the tests by sampling.

    Example:
        >>> from ppgen import testing
        >>> testing.check_machine(testing.boltzmann_machine((3, 2)), num_draws=2000)
    """
    energy = machine.base_energy
    sides = [_Side.of(energy, side) for side in (EVEN, ODD)]
    even, odd = sides
    joint = -energy.energy(even.values.unsqueeze(1), odd.values.unsqueeze(0))  # (even states, odd states)
    log_partition = torch.logsumexp((joint + even.log_measure.unsqueeze(1) + odd.log_measure).flatten(), 0)
    check_close(machine.exact_log_partition(), log_partition, "exact_log_partition")
    for side, own, other in ((EVEN, even, odd), (ODD, odd, even)):
        shape = (-1, 1) if side == ODD else (-1,)
        free = -torch.logsumexp(joint + other.log_measure.reshape(shape), 1 - side)
        names = [machine.names[layer] for layer in energy.sides[side]]
        atol = 1e-8 if own.continuous else 1e-10  # torch's softplus leaves out exp(-20), which inputs of a grid pass
        check_close(energy.free_energy(own.values, side), free, f"free energy of layers {names}", atol=atol)
        marginal = machine.with_log_partition(log_partition).marginal(names)
        log_law = -free - log_partition
        check_close(marginal.log_prob(own.values), log_law, f"log_prob of marginal({names})", atol=atol)
        _check_side_draws(machine, side, own, (log_law + own.log_measure).exp().detach(), num_draws)
    _check_conditionals(machine, sides)
    _check_modes(machine, sides, joint.detach())
    _check_gradient(machine, even)
    _check_tempering(machine, even, float(log_partition.detach()), num_draws)


@dataclass(frozen=True)
class _Side:
    """Values of a side or of a layer, over which sums are taken.

    Attributes:
        values: Distinct values, (values, units).
        log_measure: Logarithm of the number of states that have each value, or of a grid's cell: (values,).
        continuous: Whether the values are a grid.
    """

    values: Tensor
    log_measure: Tensor
    continuous: bool

    @classmethod
    def of(cls, energy: LayeredEnergy, side: int) -> "_Side":
        if math.isinf(energy.num_states(side)):
            (layer,) = energy.sides[side]
            return cls.of_units(energy.units[layer])
        return cls._distinct(energy.states(side, 0, int(energy.num_states(side))))

    @classmethod
    def of_units(cls, units: Units) -> "_Side":
        like = units.parameters()[0].detach()
        if math.isinf(units.num_states):
            points, log_weights = quadrature(units.support, _REACH, _PANELS, like)
            values, weights = (torch.cartesian_prod(*[each] * units.size) for each in (points, log_weights))
            return cls(values.reshape(-1, units.size), weights.reshape(-1, units.size).sum(-1), True)
        return cls._distinct(units.states(torch.arange(int(units.num_states), device=like.device)))

    @classmethod
    def _distinct(cls, states: Tensor) -> "_Side":
        # Documents are states as ordered words, several of which have the same counts.
        values, counts = torch.unique(states.detach(), dim=0, return_counts=True)
        return cls(values, counts.to(values).log(), False)

    def draw(self, law: Tensor, num_draws: int) -> Tensor:
        """Independent values: (num_draws, units)."""
        return self.values[torch.multinomial(law, num_draws, replacement=True)]

    def check_draws(self, drawn: Tensor, law: Tensor, what: str) -> None:
        """Raise unless the values are drawn from the law: by frequencies, on a grid by the first two moments."""
        if self.continuous:
            check_mean(drawn, law @ self.values, f"mean of {what}")
            squares = [(each.unsqueeze(-1) * each.unsqueeze(-2)).flatten(1) for each in (drawn, self.values)]
            check_mean(squares[0], law @ squares[1], f"second moments of {what}")
            return
        matches = (drawn.unsqueeze(1) == self.values).all(-1)
        if not bool(matches.any(1).all()):
            fail(f"{what}: a value was drawn that is no state.")
        check_frequencies(matches.long().argmax(1), law, what)


def _check_side_draws(machine: Any, side: int, states: _Side, law: Tensor, num_draws: int) -> None:
    energy = machine.base_energy
    exact = states.draw(law, num_draws)
    moved = energy.gibbs(exact, side)
    if torch.equal(exact, moved):
        fail("gibbs does not move.")
    states.check_draws(moved, law, f"one Gibbs sweep of side {side} from exact draws")
    names = [machine.names[layer] for layer in energy.sides[side]]
    drawn = machine.with_sampler("exact").marginal(names).sample(torch.Size([num_draws]))
    states.check_draws(drawn, law, f"exact draws of side {side}")
    given = states.values[states.values.square().sum(-1).argmin() if states.continuous else 0]  # saturates nothing
    opposite = energy.sample_opposite(given.expand(num_draws, -1), side)
    check_mean(opposite, energy.mean_opposite(given, side).detach(), f"draws of the side opposite to {side}")


def _check_conditionals(machine: Any, sides: Sequence[_Side]) -> None:
    """p(layer | neighbours) = exp(-E) normalised over the layer, at one state of everything else."""
    energy = machine.base_energy
    even, odd = sides[EVEN].values[-2], sides[ODD].values[len(sides[ODD].values) // 3]
    values = {**energy.split(even, EVEN), **energy.split(odd, ODD)}
    for layer, units in enumerate(energy.units):
        each = _Side.of_units(units)
        states = each.values
        varied = {i: states if i == layer else v.expand(len(states), -1) for i, v in values.items()}
        both = [torch.cat([varied[i] for i in energy.sides[side]], -1) for side in (EVEN, ODD)]
        log_law = -energy.energy(*both)
        log_law = log_law - torch.logsumexp(log_law + each.log_measure, 0)
        given = {machine.names[i]: v for i, v in values.items() if abs(i - layer) == 1}
        name = machine.names[layer]
        check_close(machine.conditional(name, given).log_prob(states), log_law, f"conditional({name!r})")


@torch.no_grad()
def _check_modes(machine: Any, sides: Sequence[_Side], joint: Tensor) -> None:
    """At a mode no other side is better; from every start the energy falls, and somewhere to the lowest of all."""
    energy, (even, odd) = machine.base_energy, sides
    on_grid = any(side.continuous for side in sides)

    def check_least(found: Tensor, least: Tensor, what: str) -> None:
        check_close(machine.energy(found).maximum(least) if on_grid else machine.energy(found), least, what)
        if not bool(machine.support.check(found).all()):
            fail(f"{what}: values that the units cannot have, {found.flatten()[:8].tolist()}.")

    if energy.num_states(energy.smaller_side) < math.inf:
        check_least(machine.mode, -joint.max(), "energy of mode")
    chosen = odd.values[:: max(len(odd.values) // 64, 1)] if odd.continuous else odd.values
    index = torch.arange(len(chosen), device=chosen.device) % len(even.values)
    starts = machine._event(even.values[index], chosen)
    found = machine.find_mode(starts)
    reached = machine.energy(found)
    if not bool((reached <= machine.energy(starts) + 1e-9).all()):
        fail("find_mode: the energy rose.")
    own = [torch.cat([machine.split(found)[machine.names[i]] for i in energy.sides[side]], -1) for side in (EVEN, ODD)]
    for states, args in ((even, lambda each: (each, own[ODD])), (odd, lambda each: (own[EVEN], each))):
        kept = states.values[:: max(len(states.values) // 4000, 1)].unsqueeze(1)
        least = energy.energy(*(side.expand(len(kept), len(found), -1) for side in args(kept))).amin(0)
        if not bool((reached <= least + 1e-9).all()):
            fail("find_mode: a side that is more probable given the other was missed.")
    if not odd.continuous:
        check_least(found[reached.argmin()], -joint.max(), "lowest energy of find_mode from every odd state")


def _check_gradient(machine: Any, even: _Side) -> None:
    """The derivative of the exact log-likelihood of three values is its difference along a random direction."""
    energy = machine.base_energy
    x = even.values[:: max(len(even.values) // 3, 1)][:3]

    def log_likelihood() -> Tensor:
        return -energy.free_energy(x, EVEN).mean() - machine.exact_log_partition()

    parameters = [each for each in machine.parameters() if each.requires_grad]
    found = torch.autograd.grad(log_likelihood(), parameters)
    generator = torch.Generator().manual_seed(0)
    for index, (parameter, gradient) in enumerate(zip(parameters, found, strict=True)):
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64).to(parameter)
        kept, ends = parameter.detach().clone(), []
        with torch.no_grad():
            for step in (1e-5, -1e-5):
                parameter.copy_(kept + step * direction)
                ends.append(log_likelihood())
            parameter.copy_(kept)
        slope = (ends[0] - ends[1]) / 2e-5
        what = f"gradient of the log-likelihood in parameter {index}"
        check_close((gradient * direction).sum(), slope, what, atol=1e-7, rtol=1e-6)


@torch.no_grad()
def _check_tempering(machine: Any, even: _Side, log_partition: float, num_draws: int) -> None:
    """Both ends of the path, a sweep in its middle, and the mean weight of annealing in both directions."""
    energy = machine.base_energy
    law = torch.softmax(-energy.free_energy(even.values, EVEN) + even.log_measure, 0)
    path = BaseRatePath(energy, law @ even.values)
    check_close(path.log_density(even.values, 1.0), -energy.free_energy(even.values, EVEN), "the path's upper end")
    base = torch.logsumexp(path.log_density(even.values, 0.0) + even.log_measure, 0)
    check_close(path.log_base_partition(), base, "log Z at the path's lower end")
    start = torch.softmax(path.log_density(even.values, 0.0) + even.log_measure, 0)
    like = energy.parameters()[0]
    generator = torch.Generator(device=like.device).manual_seed(1)
    even.check_draws(path.sample_base(num_draws, generator), start, "draws of the path's lower end")
    middle = torch.softmax(path.log_density(even.values, 0.6) + even.log_measure, 0)
    moved = path.move(even.draw(middle, num_draws), 0.6, generator)
    even.check_draws(moved, middle, "one tempered sweep from exact draws")
    ratio = log_partition - float(base)
    one = torch.ones((), dtype=torch.float64, device=like.device)
    upwards = anneal(path, make_betas(3), num_draws, generator)
    check_mean((upwards.log_weights - ratio).exp(), one, "weights of annealing upwards times Z_A / Z")
    downwards = anneal(path, make_betas(3), num_draws, generator, start=even.draw(law, num_draws))
    check_mean((downwards.log_weights + ratio).exp(), one, "weights of annealing downwards times Z / Z_A")
