"""Markov kernels of machines with real units against laws that are sums and integrals: exact draws stay exact."""

from typing import Any

import pytest
import torch
from joint_laws import COLD_ONLY, TEMPERED, JointLaw, data_mean
from kernel_machines import LADDER

from ppgen import inference, testing
from ppgen.distributions import BaseRatePath
from ppgen.distributions.machines.layered_energy import EVEN

DRAWS = 40_000
MACHINES = {**TEMPERED, **COLD_ONLY}


@pytest.mark.parametrize("name", MACHINES)
def test_block_gibbs_keeps_the_joint_law(name: str) -> None:
    """Catches noise of a wrong size, a real value seen without its variance, a side given a stale other side."""
    torch.manual_seed(0)
    machine = MACHINES[name]
    law, energy = JointLaw(machine), machine.base_energy
    even, odd = law.draw(DRAWS)
    state, info = inference.BlockGibbs(machine).step(inference.BlockGibbsState(even, odd))
    law.check(state.even, state.odd, f"{name} after a step")
    assert not torch.equal(state.even, even) and not torch.equal(state.odd, odd)
    testing.check_close(info.energy, energy.energy(state.even, state.odd), "energy")
    testing.check_close(info.free_energy, energy.free_energy(state.even, EVEN), "free energy")


@pytest.mark.parametrize("parity", [0, 1])
@pytest.mark.parametrize("name", TEMPERED)
def test_a_tempered_step_keeps_the_product_of_all_laws(name: str, parity: int) -> None:
    """Catches a variance that is tempered, squares of the base rates left out of a swap's ratio, stale odd sides."""
    torch.manual_seed(1)
    machine = TEMPERED[name]
    mean = data_mean(machine)
    kernel = inference.ParallelTempering(machine, betas=LADDER, data_mean=mean)
    laws = [JointLaw(machine, beta, mean) for beta in LADDER]
    even, odd = (torch.stack(each) for each in zip(*(law.draw(DRAWS) for law in laws), strict=True))
    start = kernel.init(DRAWS)._replace(even=even, odd=odd, parity=torch.tensor(parity))
    state, info = kernel.step(start)
    index, product = torch.zeros(DRAWS, dtype=torch.long), torch.ones(1, dtype=torch.float64)
    for law, beta, *sides in zip(laws, LADDER, state.even, state.odd, strict=True):
        law.check(*sides, f"{name} at beta = {beta}")
        cells, probabilities = law.coarse(*sides)
        index, product = index * len(probabilities) + cells, torch.outer(product, probabilities).flatten()
    testing.check_frequencies(index, product, f"{name}: all replicas together")
    swapped = info.replica[:, parity] != parity
    assert swapped.any() and not swapped.all()


@pytest.mark.parametrize("name", COLD_ONLY)
@pytest.mark.parametrize("make", [inference.ParallelTempering, lambda machine: BaseRatePath(machine.base_energy)])
def test_odd_gaussians_are_not_heated(name: str, make: Any) -> None:
    """Catches a variance without bound at inverse temperature 0 instead of an error that says what to do."""
    with pytest.raises(ValueError, match="cannot be heated up.*Let them be the visible"):
        made = make(COLD_ONLY[name])
        made.init(3) if isinstance(made, inference.ParallelTempering) else made.log_base_partition()
