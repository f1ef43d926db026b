"""Convolution and its transpose, pooling and unpooling, non-linearities."""

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.functional import max_pool2d, max_unpool2d

from ppgen.nn import Convolution, TransposedConvolution, max_pool, switch_bits, unpool_by_repetition, unpool_by_switches
from ppgen.nn.activations import ACTIVATIONS, activation_named


@pytest.mark.parametrize(("size", "stride"), [(3, 1), (2, 1), (1, 1), (3, 2), (2, 2), (5, 3), (3, 3)])
def test_the_transpose_is_the_transpose(size: int, stride: int) -> None:
    """Catches a border that is cut on the wrong side, and filters that are turned."""
    up, down = Convolution(2, 3, size).double(), TransposedConvolution(3, 2, size, stride).double()
    down.weight.data = up.weight.data
    image, maps = torch.randn(4, 2, 6, 12).double(), torch.randn(4, 3, 6 // stride, 12 // stride).double()
    kept = up(image)[..., ::stride, ::stride]
    assert down(maps).shape == image.shape
    assert torch.allclose((kept * maps).sum(), (image * down(maps)).sum())


def test_pooling_and_switches_are_those_of_torch() -> None:
    """Catches blocks that are read in another order, and gradients that go elsewhere."""
    maps = torch.randn(2, 3, 6, 4, dtype=torch.float64, requires_grad=True)
    values, switches = max_pool(maps, 2)
    expected, indices = max_pool2d(maps, 2, return_indices=True)
    assert torch.equal(values, expected)
    assert torch.equal(unpool_by_switches(values, switches, 2), max_unpool2d(expected, indices, 2))
    assert torch.equal(unpool_by_switches(values, switches.double(), 2), unpool_by_switches(values, switches, 2))
    (gradient,) = torch.autograd.grad(unpool_by_switches(values, switches, 2).sum(), maps)
    assert torch.equal(gradient, unpool_by_switches(torch.ones_like(values), switches, 2))
    repeated = values.repeat_interleave(2, -1).repeat_interleave(2, -2)
    assert torch.equal(unpool_by_repetition(values, 2), repeated)
    assert switch_bits((3, 6, 4), 2) == 3 * 6 * 2


def test_equal_numbers_have_one_switch() -> None:
    """Catches a gradient that is doubled or shared where units are silent together, as rectified ones are."""
    maps = torch.zeros(1, 4, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(max_pool(maps, 2)[0].sum(), maps)
    assert gradient.sum() == 4 and set(gradient.unique().tolist()) == {0.0, 1.0}


def test_a_graph_of_them_is_traced() -> None:
    """Catches a shape or a place that is read off values while a step is traced."""

    def there_and_back(maps: torch.Tensor) -> torch.Tensor:
        return unpool_by_switches(*max_pool(maps, 2), 2)

    traced, x = make_fx(there_and_back)(torch.randn(2, 4, 4)), torch.randn(2, 4, 4)
    assert torch.equal(traced(x), there_and_back(x))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_slopes_are_derivatives(name: str) -> None:
    """Catches a slope that is given the input instead of the output."""
    known = activation_named(name)
    x = torch.linspace(-3, 3, 8, dtype=torch.float64, requires_grad=True)
    output = known.apply(x)
    (expected,) = torch.autograd.grad(output.sum(), x)
    assert torch.allclose(known.slope(output), expected)
