"""Steps of flows: densities against the Jacobian and quadrature, inverses, traced sweeps, refusals."""

from collections.abc import Callable

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from ppgen.distributions import (
    AffineCoupling,
    FlowStep,
    InverseAutoregressive,
    MaskedAutoregressive,
    SplineCoupling,
)
from ppgen.distributions.flows.rational_quadratic import rational_quadratic
from ppgen.nn import MLP, CausalLinear, MADENetwork
from ppgen.testing import check_close

ORDER = torch.tensor([2, 0, 1])


def spread(network: nn.Module, scale: float = 0.7) -> nn.Module:
    """The network with weights far from those at which a step does nothing."""
    with torch.no_grad():
        for parameter in network.double().parameters():
            parameter.normal_().mul_(scale)
    return network


def spline(base: dist.TorchDistribution, network: nn.Module, *rest: Tensor | None) -> SplineCoupling:
    return SplineCoupling(base, network, *rest, bins=4, bound=2.0)


STEPS: dict[str, tuple[type | Callable, Callable[[int, int], nn.Module]]] = {
    "inverse": (InverseAutoregressive, lambda size, given: MADENetwork(size, (6,), 2, given)),
    "masked": (MaskedAutoregressive, lambda size, given: MADENetwork(size, (6,), 2, given)),
    "affine": (AffineCoupling, lambda size, given: MLP((size // 2 + given, 6, 2 * (size - size // 2)))),
    "spline": (spline, lambda size, given: MLP((size // 2 + given, 6, 11 * (size - size // 2)))),
}


def normal(*shape: int) -> dist.TorchDistribution:
    return dist.Normal(torch.zeros(*shape).double(), 1.0).to_event(1)


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("order", [None, ORDER])
def test_density_is_that_of_the_jacobian(name: str, order: Tensor | None) -> None:
    """Catches a determinant of the wrong sign, an inverse of another map, an order of one direction alone."""
    step, make = STEPS[name]
    first, second = spread(make(3, 2)), spread(make(3, 0))
    given = torch.randn(4, 2).double()

    def law(base: dist.TorchDistribution, given: Tensor) -> FlowStep:
        return step(step(base, first, order, given), second, ORDER)

    whole = law(normal(4, 3), given)
    value, log_q = whole.rsample_with_log_prob((5,))
    assert value.shape == (5, 4, 3) and log_q.shape == (5, 4)
    check_close(whole.log_prob(value.clone()), log_q, "log q of the same values, by the inverse")
    check_close(whole.expand((2, 4)).log_prob(value[:2]), log_q[:2], "log q of a larger batch")
    noise = 1.2 * torch.randn(3).double()

    def moved(noise: Tensor) -> Tensor:
        return law(dist.Delta(noise.expand(1, 3), event_dim=1), given[:1]).rsample()[0]

    slopes = torch.autograd.functional.jacobian(moved, noise)
    expected = normal(3).log_prob(noise) - torch.linalg.slogdet(slopes).logabsdet
    check_close(law(normal(1, 3), given[:1]).log_prob(moved(noise))[0], expected, "log q by the Jacobian")


@pytest.mark.parametrize("name", STEPS)
def test_density_integrates_to_one_and_carries_gradients(name: str) -> None:
    """Catches a density that is no density, and a direction that is cut off from what it is conditioned on."""
    step, make = STEPS[name]
    network = spread(make(2, 1), 0.4)
    given = torch.randn(1).double()
    line = torch.linspace(-12, 12, 401, dtype=torch.double)
    grid = torch.cartesian_prod(line, line)
    with torch.no_grad():
        mass = step(normal(2), network, None, given).log_prob(grid).exp().sum() * (line[1] - line[0]) ** 2
    check_close(mass, torch.ones(()).double(), "mass", atol=2e-3)
    value = torch.randn(3, 2).double().requires_grad_()
    given.requires_grad_()
    assert torch.autograd.gradcheck(lambda x, g: step(normal(2), network, None, g).log_prob(x), (value, given))
    assert torch.autograd.gradcheck(
        lambda m, g: step(dist.Delta(m, event_dim=1), network, None, g).rsample(), (value, given)
    )


@pytest.mark.parametrize("name", ["inverse", "masked"])
def test_traced_sweeps_are_one_operator_with_the_same_gradients(name: str) -> None:
    """Catches a sweep unrolled in a graph, and an operator whose gradient misses weights, input or what is given."""
    step, make = STEPS[name]
    network = spread(make(3, 2))
    names = [each for each, _ in network.named_parameters()]

    def gradients(x: Tensor, given: Tensor, *weights: Tensor) -> list[Tensor]:
        def value(module: nn.Module) -> Tensor:
            if name == "masked":
                return step(dist.Delta(x, event_dim=1), module, ORDER, given).rsample().pow(3).sum()
            return step(normal(4, 3), module, ORDER, given).log_prob(x).square().sum()

        with torch.nn.utils.stateless._reparametrize_module(network, dict(zip(names, weights, strict=True))):
            found = torch.autograd.grad(value(network), (x, given, *weights), allow_unused=True)
        return [torch.zeros(()) if each is None else each for each in found]

    x, given = torch.randn(4, 3).double().requires_grad_(), torch.randn(4, 2).double().requires_grad_()
    inputs = (x, given, *network.parameters())
    expected = gradients(*inputs)
    with pyro.validation_enabled(False):
        graph = make_fx(gradients)(*inputs)
    assert sum("autoregressive_sweep" in str(node.target) for node in graph.graph.nodes) == 2
    for found, wanted in zip(graph(*inputs), expected, strict=True):
        check_close(found, wanted, "gradient")
    assert sum(bool(each.any()) for each in expected) >= len(expected) - 1


def test_splines_without_parameters_are_the_identity() -> None:
    """Catches slopes at the ends of the interval that do not meet those outside."""
    x = torch.linspace(-3, 3, 25).double().requires_grad_()
    moved, log_slope = rational_quadratic(x, torch.zeros(25, 11).double(), 2.0, False)
    check_close(moved, x, "identity")
    check_close(log_slope, torch.zeros(25).double(), "slopes")
    bent, log_slope = rational_quadratic(x, torch.randn(11).double(), 2.0, False)
    (slopes,) = torch.autograd.grad(bent.sum(), x)
    check_close(log_slope, slopes.log(), "slopes by autograd")
    assert bool((bent.diff() > 0).all())
    check_close(bent[x.abs() >= 2], x[x.abs() >= 2], "outside")


def test_splines_find_back_in_single_precision() -> None:
    """Catches edges of bins that belong to none, tails that do not meet, and bins too flat for 24 bits."""
    torch.manual_seed(0)
    for scale, error in ((0.0, 1e-6), (0.5, 1e-5), (3.0, 0.01), (30.0, 0.5)):
        parameters = scale * torch.randn(50, 1, 23)
        knots = 10 * (0.0125 + 0.9 * parameters[..., :8].softmax(-1)).cumsum(-1) - 5
        ends = torch.tensor([-1e30, -7, -5, -4.9999995, 0, 4.9999995, 5, 7, 1e30]).expand(50, -1)
        x = torch.cat([torch.linspace(-5.1, 5.1, 300).expand(50, -1), ends, knots[:, 0]], -1)
        spline = parameters.expand(*x.shape, 23)
        moved, log_slope = rational_quadratic(x, spline, 5.0, False)
        back, again = rational_quadratic(moved, spline, 5.0, True)
        assert bool(((back - x).abs() <= error * x.abs().clamp(min=1)).all())
        assert bool(torch.isfinite(log_slope).all() and torch.isfinite(again).all())
        assert bool((moved[:, :300].diff(dim=-1) >= -1e-6).all())


@pytest.mark.parametrize("name", STEPS)
def test_a_draw_without_a_gradient_has_the_density_of_a_constant(name: str) -> None:
    """Catches a remembered noise that is held where weights move, which makes of a score another number."""
    step, make = STEPS[name]
    network, location = spread(make(3, 0)), torch.zeros(3).double().requires_grad_()
    law = step(dist.Normal(location.expand(5, 3), 1.0).to_event(1), network, ORDER)
    value = law.sample()
    leaves = (location, *network.parameters())
    scores, expected = (torch.autograd.grad(law.log_prob(each).pow(2).sum(), leaves) for each in (value, value.clone()))
    for found, wanted in zip(scores, expected, strict=True):
        check_close(found, wanted, "score")


@pytest.mark.parametrize("name", STEPS)
def test_values_far_off_have_a_density(name: str) -> None:
    """Catches a map that sends far values beyond all numbers, and log q with them to NaN."""
    step, make = STEPS[name]
    torch.manual_seed(0)
    network = spread(make(8, 0)).float()
    law = step(dist.Normal(torch.zeros(8), 1.0).to_event(1), network)
    value = (100 * torch.randn(50, 8)).requires_grad_()
    log_q = law.log_prob(value)
    gradients = torch.autograd.grad(log_q.sum(), (value, *network.parameters()))
    assert bool(torch.isfinite(log_q).all()) and all(bool(torch.isfinite(each).all()) for each in gradients)


def test_what_cannot_be_moved_is_refused() -> None:
    """Catches one entry to be halved, and networks of another size, that fail somewhere else or in silence."""
    with pytest.raises(ValueError, match="at least two entries"):
        AffineCoupling(normal(1), MLP((1, 2)))
    with pytest.raises(ValueError, match="must return 4 numbers, 2 for each of 2"):
        AffineCoupling(normal(3), MLP((1, 3)).double()).rsample()
    with pytest.raises(ValueError, match="no rsample"):
        SplineCoupling(dist.Bernoulli(torch.full((3,), 0.5)).to_event(1), MLP((1, 46)))
    with pytest.raises(ValueError, match="bins"):
        SplineCoupling(normal(3), MLP((1, 46)), bins=1)
    with pytest.raises(ValueError, match="permutation"):
        MaskedAutoregressive(normal(3), CausalLinear(3, 2), torch.tensor([0, 0, 1]))
    with pytest.raises(ValueError, match="two outputs"):
        MaskedAutoregressive(normal(3), CausalLinear(3))
    with pytest.raises(TypeError, match="network"):
        AffineCoupling(normal(3), lambda x: x)  # type: ignore[arg-type]
