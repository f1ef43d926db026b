"""Machines of every unit at every place: conditionals, tempered paths and annealing against sums and integrals."""

import pytest
import torch
from joint_laws import COLD_ONLY, TEMPERED, JointLaw, data_mean
from kernel_machines import DEEP, TWO_LAYERS, leaves

from ppgen import testing
from ppgen.distributions import BaseRatePath
from ppgen.distributions.machines.layered_energy import EVEN, ODD
from ppgen.distributions.machines.replicas import Replicas
from ppgen.inference.annealing.annealing import anneal, make_betas

DRAWS = 40_000
NEW = ("multinomial above", "filters on categories", "pooled categories")  # the others stand in the contract
DISCRETE = {**{name: TWO_LAYERS[name] for name in NEW}, **DEEP}
REAL = {**TEMPERED, **COLD_ONLY}


@pytest.mark.parametrize("name", DISCRETE)
def test_discrete_units_beside_others(name: str) -> None:
    """Catches a side split by other sizes than its layers have, and a layer that hears another one's neighbours."""
    torch.manual_seed(0)
    testing.check_machine(leaves(DISCRETE[name]))


@pytest.mark.parametrize("name", REAL)
def test_conditionals_and_the_partition_function(name: str) -> None:
    """Catches a mean without its bias, values seen without their variance, a factor of 2 pi left out of Z."""
    torch.manual_seed(1)
    machine = REAL[name]
    law, energy = JointLaw(machine), machine.base_energy
    even, odd = law.draw(500)
    layers = {**energy.split(even, EVEN), **energy.split(odd, ODD)}
    index, _ = law.parts(even, odd)
    # log p(d) p(x | d), of one of the orders that the words of a document may have.
    log_prob = (law.law.log() - law.log_counts)[index]
    for layer, (loc, scale) in law.normal.items():
        normal = torch.distributions.Normal(loc[index], scale[index])
        log_prob = log_prob + normal.log_prob(layers[layer]).sum(-1)
    testing.check_close(-energy.energy(even, odd) - law.log_partition, log_prob, "joint density")
    for layer, units in enumerate(energy.units):
        given = {machine.names[i]: layers[i] for i in (layer - 1, layer + 1) if i in layers}
        conditional = machine.conditional(machine.names[layer], given)
        if layer in law.normal:
            loc, scale = law.normal[layer]
            testing.check_close(conditional.mean, loc[index], f"mean of {machine.names[layer]}")
            testing.check_close(conditional.variance, scale[index].square(), f"variance of {machine.names[layer]}")
            continue
        states, counts = units.states(torch.arange(int(units.num_states))).unique(dim=0, return_counts=True)
        every = {i: states.unsqueeze(1) if i == layer else value.unsqueeze(0) for i, value in layers.items()}
        sides = [
            torch.cat([every[i].expand(len(states), len(even), -1) for i in energy.sides[side]], -1)
            for side in (EVEN, ODD)
        ]
        log_law = -energy.energy(*sides)
        log_law = log_law - (log_law + counts.log().unsqueeze(1)).logsumexp(0)
        found = conditional.log_prob(states.unsqueeze(1).expand(-1, len(even), -1))
        testing.check_close(found, log_law, f"law of {machine.names[layer]}")


@pytest.mark.parametrize("name", TEMPERED)
def test_the_path_and_the_weights_along_it(name: str) -> None:
    """Catches ends that are other laws or another Z, moves at another temperature, E[w] that is no ratio of Z."""
    torch.manual_seed(2)
    machine = TEMPERED[name]
    energy, mean = machine.base_energy, data_mean(machine)
    path = BaseRatePath(energy, mean)
    base, middle, end = (JointLaw(machine, beta, mean) for beta in (0.0, 0.6, 1.0))
    testing.check_close(path.log_base_partition(), base.log_partition, "log Z of the base")
    even, _ = middle.draw(DRAWS)
    testing.check_close(path.log_density(even, 1.0), -energy.free_energy(even, EVEN), "upper end")
    for beta, law, moved in ((0.0, base, path.sample_base(DRAWS)), (0.6, middle, path.move(even, 0.6))):
        replicas = Replicas(path, torch.tensor([beta]))
        odd = replicas.sample_odd(replicas.inputs(moved.unsqueeze(0)))[0]
        law.check(moved, odd, f"{name} at beta = {beta}")
    generator, one = torch.Generator().manual_seed(3), torch.ones((), dtype=torch.float64)
    ratio = end.log_partition - base.log_partition
    for sign, start in ((1, None), (-1, end.draw(DRAWS)[EVEN])):
        runs = anneal(path, make_betas(3), DRAWS, generator, start=start)
        weights = (runs.log_weights - sign * ratio).exp()
        assert weights.std() > 0.01
        testing.check_mean(weights, one, f"weights of annealing {'upwards' if sign > 0 else 'downwards'}")
