"""Machines of every depth and of every unit are the laws that their energies say."""

import pytest
import torch
from examples.units import VISIBLE, parameter

from ppgen import distributions, testing


@pytest.mark.parametrize("sizes", [(4, 3), (2, 5), (3, 2, 4), (2, 3, 2, 2)])
def test_machines(sizes: tuple[int, ...], device: torch.device) -> None:
    """Catches sides mixed up in a deep machine, a Gibbs sweep with stale values, a wrong free energy."""
    testing.check_machine(testing.boltzmann_machine(sizes, device=device))


@pytest.mark.parametrize("name", VISIBLE)
def test_machines_of_every_unit(name: str, device: torch.device) -> None:
    """Catches units that are right by themselves and wrong beside others: statistics, tempering, sums over states."""
    torch.manual_seed(len(name))
    visible = VISIBLE[name](device)
    layers = {"visible": visible, "hidden": distributions.Bernoulli(parameter(3, device=device))}
    weight = (0.7 * parameter(visible.size, 3, device=device)).detach().requires_grad_()
    testing.check_machine(distributions.BoltzmannMachine(layers, [distributions.Dense(weight)]))


@pytest.mark.parametrize("name", ["TruncatedExponential", "RectifiedGaussian"])
def test_machines_with_hidden_units_on_an_interval(name: str, device: torch.device) -> None:
    """Catches hidden units whose tempered sums leave out that their values end somewhere."""
    torch.manual_seed(3)
    layers = {"visible": distributions.Bernoulli(parameter(3, device=device)), "hidden": VISIBLE[name](device)}
    weight = (0.7 * parameter(3, 2, device=device)).detach().requires_grad_()
    testing.check_machine(distributions.BoltzmannMachine(layers, [distributions.Dense(weight)]))
