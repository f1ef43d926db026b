"""The recursion of NADE as one operator: against a loop, and against differences."""

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from ppgen import nn
from ppgen.nn.autoregressive import nade_recursion as recursion

_FUNCTIONS = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu}


def _loop(x: Tensor, start: Tensor, weight: Tensor, readout: Tensor, activation: str) -> Tensor:
    """The recursion as the paper has it, an entry at a time."""
    inputs, found = start, []
    for position in range(x.shape[1]):
        found.append(_FUNCTIONS[activation](inputs) @ readout[position].T)
        inputs = inputs + x[:, position, None] * weight[position]
    return torch.stack(found, 1)


def _arguments(rows: int, positions: int, dtype: torch.dtype, of_entries: bool) -> list[Tensor]:
    torch.manual_seed(0)
    bits = (torch.rand(rows, positions) < 0.4).to(dtype)
    x = torch.randn(rows, positions, dtype=dtype) if of_entries else bits
    shapes = ((rows, 3), (positions, 3), (positions, 2, 3))
    others = [torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shapes]
    return [x.requires_grad_(of_entries), *others]


@pytest.mark.parametrize("activation", recursion.ACTIVATIONS)
@pytest.mark.parametrize("of_entries", [False, True])
def test_gradients_are_derivatives(activation, of_entries):
    """Catches a wrong gradient of the operator."""
    arguments = _arguments(4, 6, torch.float64, of_entries)
    torch.autograd.gradcheck(lambda *a: recursion.nade_recursion(*a, activation), arguments)


@pytest.mark.parametrize("positions", [1, 2, 17])
def test_is_the_loop(positions):
    """Catches a recursion, or a part of its gradient at the edge of a part of the vector, that is not the loop's."""
    arguments = _arguments(5, positions, torch.float64, of_entries=False)
    scale = torch.randn(5, positions, 2, dtype=torch.float64)
    for activation in recursion.ACTIVATIONS:
        found, expected = (f(*arguments, activation) for f in (recursion.nade_recursion, _loop))
        torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
        ours, theirs = (
            torch.autograd.grad((each * scale).sum(), arguments[1:], materialize_grads=True, allow_unused=True)
            for each in (found, expected)
        )
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one, other, atol=1e-12, rtol=0)


def test_is_two_operators_of_a_traced_step():
    """Catches a recursion that is unrolled in a graph, which then takes minutes to compile."""
    network = nn.NADENetwork(30, hidden=4)

    def step(x: Tensor) -> Tensor:
        return torch.autograd.grad(network(x).sum(), network.weight)[0]

    graph = make_fx(step, tracing_mode="fake", _allow_non_fake_inputs=True)(torch.ones(3, 30)).graph
    assert sum("nade_recursion" in str(node.target) for node in graph.nodes) == 2
    assert len(graph.nodes) < 40


def test_second_derivatives_are_refused():
    """Catches a second derivative that is silently 0."""
    network, x = nn.NADENetwork(4, hidden=3), torch.ones(2, 4)
    (first,) = torch.autograd.grad(network(x).sum(), network.weight, create_graph=True)
    with pytest.raises(NotImplementedError, match="second derivatives"):
        first.sum().backward()


def test_unsound_networks_are_refused():
    """Catches an activation or a number of units that is taken as it comes."""
    with pytest.raises(ValueError, match="activation must be one of 'sigmoid', 'tanh', 'relu', got 'gelu'"):
        nn.NADENetwork(4, activation="gelu")
    with pytest.raises(ValueError, match="hidden must be"):
        nn.NADENetwork(4, hidden=0)
