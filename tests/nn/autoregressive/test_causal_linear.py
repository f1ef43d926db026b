"""Linear causal networks."""

import torch

from ppgen import nn


def test_what_is_above_the_diagonal_does_not_count() -> None:
    """Catches weights from later entries that reach the parameters by the forward pass or by steps."""
    network = nn.CausalLinear(4, outputs=2)
    with torch.no_grad():
        network.weight.normal_()
    x = torch.randn(3, 4)
    before = network(x)
    with torch.no_grad():
        network.weight += torch.full((4, 4), torch.inf).triu().nan_to_num(0.0, posinf=7.0)
    assert torch.equal(network(x), before)
    state = network.start((3,))
    for position in range(4):
        found, state = network.step(state, x[:, position - 1])
        torch.testing.assert_close(found, before[:, position])
