"""Diagnostics of chains: on chains that are right by construction, on chains that stick, and on wrong input."""

import numpy as np
import pytest
import torch
import xarray as xr
from arviz_base import from_dict
from arviz_stats.base import array_stats

from ppgen import diagnostics, inference, models


def two_modes(strength: float = 12.0) -> models.RBM:
    """A machine of 4 x 3 units with two modes of equal weight, all off and all on, and a barrier between them."""
    weights = strength * np.ones((4, 3))
    return models.RBM.from_arrays(weights, -weights.sum(1) / 2, -weights.sum(0) / 2)


def tree(values: np.ndarray, **stats: np.ndarray):
    """A tree as ArviZ makes them."""
    groups = {"posterior": {"z": values}} | ({"sample_stats": stats} if stats else {})
    return from_dict(groups)


def short(values: np.ndarray) -> xr.DataTree:
    """A tree with more chains than draws, of which `from_dict` would warn."""
    return xr.DataTree.from_dict({"posterior": xr.Dataset({"z": (("chain", "draw", "unit"), values)})})


def test_independent_draws_are_fine() -> None:
    """Catches R-hat or effective sizes that are not ArviZ's own, or elements that are mixed up."""
    values = np.random.default_rng(0).normal(size=(4, 300, 2))
    found = diagnostics.convergence(tree(values))
    assert found.converged and found.worst_rhat < 1.01
    for element in range(2):
        draws = values[..., element]
        assert float(found.rhat["z"][element]) == pytest.approx(array_stats.rhat(draws))
        assert float(found.ess_bulk["z"][element]) == pytest.approx(array_stats.ess(draws, method="bulk"))
        expected = array_stats.ess(draws, method="tail", prob=(0.05, 0.95))
        assert float(found.ess_tail["z"][element]) == pytest.approx(expected)


def test_shifted_chain_is_named() -> None:
    """Catches a worst element that is looked up in the wrong place, and a warning without a remedy."""
    values = np.random.default_rng(0).normal(size=(4, 300, 3))
    values[2, :, 1] += 2
    found = diagnostics.convergence(tree(values))
    assert not found.converged and found.worst_rhat == float(found.rhat["z"][1]) > 1.1
    assert "R-hat of z[1]" in found.warnings[0] and "ParallelTempering" in found.warnings[0]


def test_few_effective_draws_are_told() -> None:
    """Catches effective sample sizes that are computed and never looked at."""
    rng = np.random.default_rng(0)
    values = np.zeros((4, 400))
    for step in range(1, 400):
        values[:, step] = 0.97 * values[:, step - 1] + rng.normal(size=4)
    found = diagnostics.convergence(tree(values))
    assert float(found.ess_bulk["z"]) < 400
    assert any("effective number of draws of z" in each for each in found.warnings)


def test_stuck_chains_of_a_machine_are_caught() -> None:
    """Catches chains that all start in one mode and agree there: the failure that R-hat alone cannot see."""
    kernel = inference.BlockGibbs(two_modes())
    chains = inference.sample(kernel, 100, num_chains=20, warmup_steps=100)
    sums = chains.posterior["visible"].sum("visible_unit").mean("draw")
    assert (sums < 1).any() and (sums > 3).any(), "all chains stand in one mode"
    found = diagnostics.convergence(chains)
    assert found.worst_rhat > 1.5 and "ParallelTempering" in found.warnings[0]


def test_tempered_chains_of_the_same_machine_are_fine() -> None:
    """Catches a verdict that calls every machine with two modes bad, and figures of tempering that are lost."""
    kernel = inference.ParallelTempering(two_modes(3.0), data_mean=torch.full((4,), 0.5), num_temperatures=6)
    found = diagnostics.convergence(inference.sample(kernel, 500, num_chains=20, warmup_steps=200))
    assert found.worst_rhat < 1.02
    assert found.swap_acceptance.sizes == {"pair": 5} and 0.1 < float(found.swap_acceptance.min()) < 1
    assert found.round_trips > 1
    assert "swaps: accepted" in repr(found)


def test_ladder_with_too_few_temperatures_is_told() -> None:
    """Catches swap acceptances that nobody looks at."""
    weights = np.random.default_rng(0).normal(size=(30, 30)) * 2
    machine = models.RBM.from_arrays(weights, np.zeros(30), np.zeros(30))
    kernel = inference.ParallelTempering(machine, num_temperatures=2)
    found = diagnostics.convergence(inference.sample(kernel, 50, num_chains=10, warmup_steps=20))
    assert any("Raise num_temperatures" in each for each in found.warnings)


@pytest.mark.parametrize(("strength", "fine"), [(0.5, True), (12.0, False)])
def test_many_short_chains_by_nested_rhat(strength: float, fine: bool) -> None:
    """Catches groups whose chains do not start together, or an R-hat of ten draws that is taken for the verdict."""
    kernel = inference.BlockGibbs(two_modes(strength))
    chains = inference.sample(kernel, 10, num_chains=400, num_superchains=8, warmup_steps=30)
    found = diagnostics.convergence(chains)
    assert (found.worst_rhat < 1.01) is fine
    groups = np.repeat(np.arange(8), 50)
    if fine:
        expected = array_stats.rhat_nested(chains.sample_stats["free_energy"].values, groups)
        assert float(found.nested_rhat["free_energy"]) == pytest.approx(float(expected))
    assert diagnostics.convergence(chains.copy(), num_superchains=8).worst_rhat == found.worst_rhat


@pytest.mark.parametrize(("chains", "groups", "draws"), [(16, 4, 10), (100, 10, 5), (100, 50, 20), (400, 100, 10)])
def test_independent_short_chains_agree(chains: int, groups: int, draws: int) -> None:
    """Catches a limit of 1.01 for means of few short chains, which differ by more than that though all draws are right.

    One of the groups that is off by three standard deviations is found all the same.
    """
    random = np.random.default_rng(0)
    alarms = 0
    for _ in range(10):
        values = random.normal(size=(chains, draws, 4))
        found = diagnostics.convergence(short(values), num_superchains=groups)
        alarms += any("nested R-hat" in each for each in found.warnings)
    assert alarms <= 1
    values[: chains // groups, :, 2] += 3
    wrong = diagnostics.convergence(short(values), num_superchains=groups)
    assert any("nested R-hat of z[2]" in each for each in wrong.warnings)


@pytest.mark.parametrize("kernel_of", [inference.BlockGibbs, inference.ParallelTempering])
def test_superchains_start_together(kernel_of: type) -> None:
    """Catches a state whose parts are repeated along different dimensions."""
    kernel = kernel_of(models.RBM(visible=5, hidden=4))
    state = kernel.repeated(kernel.init(3, torch.Generator().manual_seed(0)), 4)
    for side in kernel.sides(state):
        assert len(side) == 12
        assert all((side[4 * group] == side[4 * group + each]).all() for group in range(3) for each in range(4))
    kernel.step(state, torch.Generator().manual_seed(1))


def test_constant_draws_are_no_proof() -> None:
    """Catches a law that nobody moved in and is called converged because no R-hat exists."""
    found = diagnostics.convergence(tree(np.ones((4, 50, 2))))
    assert found.num_constant == 2 and not found.converged
    assert "one and the same" in found.warnings[0]


def test_divergences_are_told() -> None:
    """Catches sample statistics that are dropped on the way."""
    values = np.random.default_rng(0).normal(size=(4, 300))
    diverging = np.zeros((4, 300), bool)
    diverging[0, :3] = True
    found = diagnostics.convergence(tree(values, diverging=diverging, lp=-(values**2) / 2))
    assert found.num_diverging == 3 and set(found.rhat.data_vars) == {"z", "lp"}
    assert any("3 trajectories diverged" in each for each in found.warnings)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda: {"tree": np.ones((2, 10))}, TypeError, "chain and draw"),
        (lambda: {"tree": tree(np.ones((2, 3)))}, ValueError, "at least 4 draws"),
        (lambda: {"var_names": "nothing"}, ValueError, "must be among z"),
        (lambda: {"num_superchains": 3}, ValueError, "divide the 4 chains"),
        (lambda: {"num_superchains": 4}, ValueError, "groups of two or more"),
    ],
)
def test_wrong_input(change, error: type[Exception], words: str) -> None:
    """Catches input that fails deep inside with words about something else."""
    arguments = {"tree": tree(np.random.default_rng(0).normal(size=(4, 20)))} | change()
    with pytest.raises(error, match=words):
        diagnostics.convergence(**arguments)


def test_draws_of_a_guide_are_refused() -> None:
    """Catches independent draws that are praised for their R-hat."""
    draws = diagnostics.from_pyro_svi(models.VAE(features=6, latent=2, hidden=(4,)), torch.ones(5, 6), num_samples=10)
    with pytest.raises(ValueError, match="draws of a guide"):
        diagnostics.convergence(draws)


def test_groups_of_chains_must_be_equal() -> None:
    """Catches chains that are left over."""
    with pytest.raises(ValueError, match="multiple of num_superchains=4"):
        inference.sample(inference.BlockGibbs(two_modes()), 5, num_chains=10, num_superchains=4)
