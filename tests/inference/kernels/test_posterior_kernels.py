"""Kernels of posteriors from outside: what they must answer, who takes them, and that their contract sees faults."""

from typing import NamedTuple

import pytest
import torch

import ppgen
from ppgen import diagnostics, inference, testing


class State(NamedTuple):
    position: torch.Tensor
    log_density: torch.Tensor


class Info(NamedTuple):
    acceptance_rate: torch.Tensor


class RandomWalk:
    """Metropolis' random walk, as a user writes it."""

    def init(self, density, position, /):
        return State(position, density(position))

    def step(self, density, state, generator=None, /, *, adapt=False):
        noise = torch.empty_like(state.position).normal_(generator=generator)
        uniform = torch.empty_like(state.log_density).uniform_(generator=generator)
        proposal = state.position + 0.7 * noise
        value = density(proposal)
        rate = (value - state.log_density).exp().clamp(max=1)
        taken = uniform < rate
        position = torch.where(taken.unsqueeze(-1), proposal, state.position)
        return State(position, torch.where(taken, value, state.log_density)), Info(rate)

    def adapted(self, state, /):
        return state


class Careless(RandomWalk):
    """Takes every proposal."""

    def step(self, density, state, generator=None, /, *, adapt=False):
        moved = state.position + 0.7 * torch.empty_like(state.position).normal_(generator=generator)
        return State(moved, density(moved)), Info(torch.ones_like(state.log_density))


class Writing(RandomWalk):
    """Writes into the state that it is given."""

    def step(self, density, state, generator=None, /, *, adapt=False):
        following, info = super().step(density, state, generator)
        state.position.add_(1)
        return following, info


class Late(RandomWalk):
    """Tells the density of the state before."""

    def step(self, density, state, generator=None, /, *, adapt=False):
        following, info = super().step(density, state, generator)
        return following._replace(log_density=state.log_density), info


class Global(RandomWalk):
    """Draws from torch's own random state."""

    def step(self, density, state, generator=None, /, *, adapt=False):
        return super().step(density, state, None)


def test_a_kernel_from_outside_is_a_kernel():
    """Catches a protocol that asks for more than it says, and diagnostics that take Hamiltonian chains alone."""
    testing.check_posterior_kernel(RandomWalk(), num_chains=1000)
    pair, x = testing.posterior_kernels.sparse_pair()
    chains = inference.sample_posterior(pair, x, num_samples=5, warmup_steps=3, num_chains=2, kernel=RandomWalk())
    assert chains.kernel == "RandomWalk" and chains.step_size is None and not chains.num_diverging.any()
    assert 0 < chains.acceptance_rate.mean() < 1
    tree = diagnostics.from_chains(chains)
    assert tree.attrs["kernel"] == "RandomWalk" and sorted(tree.sample_stats) == ["acceptance_rate", "lp"]
    conjugate = testing.conjugate_pair()
    found = diagnostics.simulation_based_calibration(
        conjugate,
        x=torch.zeros(3).double(),
        posterior=RandomWalk(),
        num_simulations=200,
        num_samples=200,
        warmup_steps=50,
        seed=1,
    )
    assert found.calibrated and "RandomWalk" in str(found)


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (Careless(), "codes under Careless"),
        (Writing(), "writes into the state"),
        (Late(), "log-density told by Late"),
        (Global(), "must follow from its state and the generator"),
        (RandomWalk, "an object with methods init, step and adapted"),
    ],
)
def test_the_contract_sees_faults(kernel, message):
    """Catches a contract that any kernel passes."""
    with pytest.raises(AssertionError, match=message):
        testing.check_posterior_kernel(kernel, num_chains=300)


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (inference.HMC, "kernel must be an inference.HMC.* got the class HMC: call it"),
        (inference.BlockGibbs(testing.boltzmann_machine((2, 2))), "got BlockGibbs"),
        ("hmc", "got str"),
    ],
)
def test_what_is_no_kernel_of_posteriors_is_refused(kernel, message):
    """Catches a crash inside of the first step for a class, a name, or a kernel of machines."""
    pair, x = testing.posterior_kernels.sparse_pair()
    with pytest.raises(TypeError, match=message):
        inference.sample_posterior(pair, x, num_samples=2, kernel=kernel)
    with pytest.raises(TypeError, match="posterior must"):
        diagnostics.simulation_based_calibration(pair, x=x, posterior=kernel)


def test_comparisons_say_that_a_kernel_trains_nothing():
    """Catches a comparison of fits that ends in somebody else's error where a kernel is given as an inference."""
    with pytest.raises(TypeError, match=r"HMC\(.*\) draws from posteriors and trains nothing.*sample_posterior"):
        ppgen.compare_inferences(testing.conjugate_pair, torch.zeros(4).double(), [inference.HMC()], processes=0)
