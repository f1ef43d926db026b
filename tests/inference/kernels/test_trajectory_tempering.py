"""Tempering along a training's machines against sums over all states, and where Gibbs chains do not mix."""

import copy
from typing import Any

import pytest
import torch
from kernel_machines import MACHINES, Exact, place

from ppgen import inference, testing
from ppgen.distributions import Bernoulli, BoltzmannMachine, Dense
from ppgen.distributions.machines.layered_energy import EVEN

DRAWS = 30_000
NAMES = ["two layers", "three layers", "missing groups", "spins", "pooled maps", "held below"]


def stages(machine: BoltzmannMachine, *factors: float) -> list[BoltzmannMachine]:
    """Machines of the same units whose weights and biases are these multiples of the last one's."""
    found = []
    for factor in factors:
        copied = copy.deepcopy(machine)
        for parameter in copied.base_energy.parameters():
            parameter.data.mul_(factor).add_(0.3 * (1 - factor))
        found.append(copied)
    return [*found, machine]


@pytest.mark.parametrize("name", NAMES)
def test_a_step_keeps_the_law_of_every_machine(name: str) -> None:
    """Catches a swap by another machine's free energies, its sign, and an odd side left over from before a swap."""
    torch.manual_seed(0)
    machines = stages(MACHINES[name], -0.4, 0.5)
    exact = [Exact(each.base_energy) for each in machines]
    kernel = inference.TrajectoryTempering(machines, sweeps=2)
    start = kernel.init(DRAWS)
    drawn = [each.draw(DRAWS) for each in exact]
    even, odd = (torch.stack([each[side] for each in drawn]) for side in (0, 1))
    state = start._replace(even=even, odd=odd)
    for parity in (0, 1):
        state, info = kernel.step(state)
        for each, *values in zip(exact, state.even, state.odd, strict=True):
            each.check(*values, f"{name} after a swap of parity {parity}")
        swapped = (info.replica[:, 0] == 1).double()
        if parity == 0:
            testing.check_mean(swapped - info.swap_acceptance[:, 0], torch.zeros(()).double(), "share of swaps")
    energy = machines[-1].base_energy
    testing.check_close(info.energy, energy.energy(*kernel.sides(state)), "energy")
    testing.check_close(info.free_energy, energy.free_energy(state.even[-1], EVEN), "free energy")
    assert state.parity == start.parity


def test_neighbours_stay_independent() -> None:
    """Catches a value that is copied to a neighbour and not exchanged with it."""
    torch.manual_seed(1)
    machines = stages(testing.boltzmann_machine((3, 2)), -0.5, 0.4)
    exact = [Exact(each.base_energy) for each in machines]
    kernel = inference.TrajectoryTempering(machines)
    even, odd = (torch.stack(values) for values in zip(*(each.draw(DRAWS) for each in exact), strict=True))
    for parity in (0, 1):
        start = kernel.init(DRAWS)._replace(even=even, odd=odd, parity=torch.tensor(parity))
        state, _ = kernel.step(start)
        index, product = torch.zeros(DRAWS, dtype=torch.long), torch.ones(1, dtype=torch.float64)
        for each, values in zip(exact, state.even, strict=True):
            law = each.law.reshape(each.shape).sum(1)
            index, product = index * len(law) + place(values, each.even), torch.outer(product, law).flatten()
        testing.check_frequencies(index, product, f"replicas after swaps of parity {parity}")


def test_chains_cross_where_gibbs_chains_stay() -> None:
    """Catches replicas that never travel: the machine has two modes that block Gibbs does not leave in the run."""
    weight, bias = torch.full((6, 6), 4.0, dtype=torch.float64), torch.full((6,), -12.0, dtype=torch.float64)
    whole = BoltzmannMachine({"visible": Bernoulli(bias), "hidden": Bernoulli(bias)}, [Dense(weight)])
    early = [
        BoltzmannMachine({"visible": Bernoulli(beta * bias), "hidden": Bernoulli(beta * bias)}, [Dense(beta * weight)])
        for beta in (0.1, 0.25, 0.4, 0.6, 0.8)
    ]
    crossings: dict[str, Any] = {}
    for name, kernel in (
        ("gibbs", inference.BlockGibbs(whole)),
        ("trajectory", inference.TrajectoryTempering([*early, whole])),
    ):
        chains = inference.sample(kernel, 400, num_chains=20, warmup_steps=20)
        on = chains.posterior["visible"].values.mean(-1) > 0.5
        crossings[name] = (on[:, 1:] != on[:, :-1]).sum()
        if name == "trajectory":
            assert int(inference.round_trips(chains.sample_stats["replica"]).sum()) > 50
            share = on.mean(1)
            assert abs(share.mean() - 0.5) < 4 * share.std(ddof=1) / len(share) ** 0.5  # modes of the same weight
    assert crossings["gibbs"] < 5 and crossings["trajectory"] > 100


def test_wrong_machines_are_refused() -> None:
    """Catches one pair given for all stages, which has the same weights in all of them, and stages of other units."""
    machine, other = testing.boltzmann_machine((3, 2)), testing.boltzmann_machine((3, 3))
    with pytest.raises(ValueError, match="two machines or more, got 1"):
        inference.TrajectoryTempering([machine])
    with pytest.raises(TypeError, match="must be a list of machines, pairs or runs from early to late, got Boltz"):
        inference.TrajectoryTempering(machine)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"targets\[0\] and targets\[1\] have the same weights. Keep copies"):
        inference.TrajectoryTempering([machine, machine])
    with pytest.raises(ValueError, match=r"targets must be machines of the same layers, but targets\[0\]"):
        inference.TrajectoryTempering([other, machine])
    with pytest.raises(ValueError, match="num_chains must be an integer of at least 1"):
        inference.TrajectoryTempering(stages(machine, 0.5)).init(0)
