"""Networks that return distributions: shapes, starts, laws and errors."""

import pytest
import torch

from ppgen import nn, testing


def test_layers_are_joined_in_order() -> None:
    """Catches a non-linearity too many or too few, and an output layer that is another one."""
    net = nn.MLP((4, 8, 2))
    assert [type(layer).__name__ for layer in net] == ["Linear", "Tanh", "Linear"] and net.output is net[2]
    last = nn.MLP((4, 8, 2), activation=torch.nn.ReLU, activate_last=True)
    assert [type(layer).__name__ for layer in last] == ["Linear", "ReLU", "Linear", "ReLU"] and last.output is last[2]
    x = torch.randn(3, 4)
    by_hand = torch.tanh(x @ net[0].weight.T + net[0].bias) @ net[2].weight.T + net[2].bias
    testing.check_close(net(x), by_hand, "output", atol=1e-6)
    assert not net.output.bias.any() and bool(net.output.weight.abs().max() <= (6 / 10) ** 0.5)


def test_sizes_that_make_no_network_are_refused() -> None:
    """Catches a network of one layer of units, which would be the identity."""
    with pytest.raises(ValueError, match="at least two positive numbers of units, got .4,"):
        nn.MLP((4,))
    with pytest.raises(ValueError, match="at least two positive numbers"):
        nn.MLP((4, 0, 2))


@pytest.mark.parametrize("make", [nn.BernoulliConditional, nn.NormalConditional], ids=lambda make: make.__name__)
def test_a_conditional_is_a_law_of_each_row(make: type) -> None:
    """Catches a law whose features are plates of their own, or rows that share parameters."""
    conditional = make(3, (4,), 5)
    law = conditional(torch.randn(7, 3))
    assert law.batch_shape == (7,) and law.event_shape == (5,)
    assert law.log_prob(law.sample()).shape == (7,)
