"""Chains of negative phases from exact draws: they stay exact, and their gradient is that of log Z."""

import pytest
import torch
from joint_laws import COLD_ONLY, TEMPERED, JointLaw
from kernel_machines import DEEP, TWO_LAYERS, leaves

from ppgen import inference, testing
from ppgen.distributions.machines.layered_energy import EVEN, ODD

CHAINS = 40_000
STEPS, ROWS = 100, 500
DISCRETE = {**TWO_LAYERS, **DEEP}
MACHINES = {**DISCRETE, **TEMPERED, **COLD_ONLY}


@pytest.mark.parametrize("name", MACHINES)
def test_persistent_chains_keep_the_joint_law(name: str) -> None:
    """Catches an odd side carried over that is another chain's or another step's, and layers in another order."""
    torch.manual_seed(0)
    machine = MACHINES[name]
    law, phase = JointLaw(machine), inference.PCD(k=1, num_chains=CHAINS)
    even, _ = law.draw(CHAINS)
    state = phase.init(machine, even[:1]) | {"chains": even}
    for step in range(2):  # the second one goes on from the odd side that the first one left
        _, state = phase.surrogate(machine, even[:1], state)
        law.check(state["chains"], state["odd_chains"], f"{name}, step {step}")
    assert not torch.equal(state["chains"], even)


@pytest.mark.parametrize("name", [*DISCRETE, *TEMPERED])
def test_tempered_chains_keep_the_joint_laws(name: str) -> None:
    """Catches replicas of another temperature than their place, and odd sides of before a swap."""
    torch.manual_seed(1)
    machine = MACHINES[name]
    laws = [JointLaw(machine, beta) for beta in (0.0, 0.5, 1.0)]
    phase = inference.TemperedPCD(num_chains=CHAINS, num_temperatures=3, ladder_rate=0)
    *hot, even = (law.draw(CHAINS)[0] for law in laws)
    state = phase.init(machine, even[:1]) | {"chains": even, "hot_chains": torch.stack(hot, 1)}
    for step in range(2):
        _, state = phase.surrogate(machine, even[:1], state)
        sides = [*state["hot_chains"].unbind(1), state["chains"]], state["odd_chains"].unbind(1)
        for law, *values in zip(laws, *sides, strict=True):
            law.check(*values, f"{name}, step {step}")


@pytest.mark.parametrize("place", ["odd side", "joint"])
@pytest.mark.parametrize("name", MACHINES)
def test_contrastive_divergence_from_exact_draws(name: str, place: str) -> None:
    """Catches chains that start at other values than the site's, and a gradient that leaves out a unit's variance."""
    torch.manual_seed(2)
    machine = leaves(MACHINES[name])
    law, parameters = JointLaw(machine), machine.parameters()
    exact = torch.cat([each.flatten() for each in torch.autograd.grad(law.log_partition, parameters)])
    even, odd = law.draw(STEPS * ROWS)
    if place == "joint":
        layers = {**machine.base_energy.split(even, EVEN), **machine.base_energy.split(odd, ODD)}
        site, values = machine, torch.cat([layers[index] for index in sorted(layers)], -1)
    else:
        site, values = machine.marginal(machine.names[1::2]), odd
    gradients = []
    for rows in values.split(ROWS):
        surrogate, _ = inference.CD(k=1).surrogate(site, rows, {})
        gradients.append(torch.cat([each.flatten() for each in torch.autograd.grad(surrogate, parameters)]))
    what = f"{name}: gradient of log Z at the {place}"
    # Five sigma: more than a thousand numbers are compared, of which some are means of rare states.
    testing.check_mean(torch.stack(gradients), exact, what, sigmas=5, atol=1e-8)
