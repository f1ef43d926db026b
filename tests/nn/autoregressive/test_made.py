"""Masked autoencoders: degrees, orders, and steps that compute each unit once."""

import pytest
import torch

from ppgen import nn, testing
from ppgen.distributions import Autoregressive, BernoulliOutput, CategoricalOutput
from ppgen.nn.autoregressive.degrees import spread_degrees, units_of_degree


@pytest.mark.parametrize("positions", [1, 2, 3])
@pytest.mark.parametrize("given", [0, 2])
def test_few_entries(positions, given):
    """Catches degrees that are all 0 or as large as the vector: entries that see nothing of those before them."""
    network = nn.MADENetwork(positions, (60, 60), outputs=2, given=given, direct=False)
    numbers = torch.randn(3, given, dtype=torch.float64) if given else None
    testing.check_causal(network, CategoricalOutput(2), given=numbers)


@pytest.mark.parametrize(("size", "positions"), [(1, 5), (3, 9), (20, 6), (500, 784)])
def test_degrees_are_spread(size, positions):
    """Catches degrees outside of 1, ..., D - 1, uneven ones, and units that a table of degrees lacks or holds twice."""
    degrees = spread_degrees(size, positions, 3, 1, seed=0)
    assert degrees.min() >= 1 and degrees.max() <= positions - 1
    counts = torch.bincount(degrees[2] - 1, minlength=positions - 1)
    assert counts.max() - counts.min() <= 1
    table = units_of_degree(degrees[2], positions)
    assert table[table < size].sort().values.tolist() == list(range(size))
    held = table < size
    assert torch.equal(degrees[2][table[held]], torch.arange(positions).unsqueeze(1).expand_as(table)[held])


def test_draws_by_steps_are_those_by_full_passes():
    """Catches cached draws that differ from D full passes in any bit, in an order that is not that of the data."""
    torch.manual_seed(0)
    network = nn.MADENetwork(12, (20, 9), orders=3).double()
    for index in range(3):
        view = network.in_order(index)
        law = Autoregressive(view, BernoulliOutput(), view.order)
        uniforms = law.uniforms(torch.Size((40,)))
        slow = torch.zeros(40, 12, dtype=torch.float64)
        with torch.no_grad():
            for position in range(12):
                slow[:, view.order[position]] = law.output.draw(
                    law.parameters(slow)[:, position], uniforms[:, position]
                )
        assert torch.equal(law.draw(uniforms), slow)


def test_steps_leave_the_gradient_alone():
    """Catches steps that write into tensors of which a gradient is asked."""
    network, x = nn.MADENetwork(5, (6, 6)).double(), torch.ones(2, 5, dtype=torch.float64)
    state, previous, steps = network.start((2,)), torch.zeros(2, dtype=torch.float64), []
    for position in range(5):
        parameters, state = network.step(state, previous)
        steps.append(parameters)
        previous = x[:, position]
    weight = network.layers[0].weight
    found = torch.autograd.grad(torch.stack(steps, 1).square().sum(), weight)[0]
    torch.testing.assert_close(found, torch.autograd.grad(network(x).square().sum(), weight)[0])


def test_orders_are_fixed():
    """Catches orders that differ from one process to another, or are not saved with the weights."""
    first, second = nn.MADENetwork(6, (5,), orders=3), nn.MADENetwork(6, (5,), orders=3)
    assert torch.equal(first.order, second.order) and torch.equal(first.degrees_0, second.degrees_0)
    assert torch.equal(first.order[0], torch.arange(6))
    assert {"order", "rank", "degrees_0"} <= set(first.state_dict())
    assert torch.equal(nn.OrderlessNADENetwork(6, (5,), orders=3).order, first.order)


def test_unsound_networks_are_refused():
    """Catches networks of unconnected entries, and orders that are not there."""
    with pytest.raises(ValueError, match="hidden must name at least one layer where direct is False"):
        nn.MADENetwork(4, (), direct=False)
    with pytest.raises(ValueError, match="index must be below the number of orders, 2, got 2"):
        nn.MADENetwork(4, (3,), orders=2).in_order(2)
    with pytest.raises(ValueError, match="orders must be"):
        nn.MADENetwork(4, (3,), orders=0)
    with pytest.raises(ValueError, match="hidden must name at least one layer"):
        nn.OrderlessNADENetwork(4, ())
    with pytest.raises(ValueError, match=r"order must have shape \(4,\), got \(3,\)"):
        nn.OrderlessNADENetwork(4, (3,)).in_order(torch.arange(3))
    with pytest.raises(ValueError, match="three outputs for each component, got 4"):
        nn.StandardisedMixture(nn.NADENetwork(4, outputs=4))
    with pytest.raises(ValueError, match="scale must be positive, got 0"):
        nn.StandardisedMixture(nn.NADENetwork(4, outputs=3)).standardise(torch.zeros(4), torch.zeros(4))
