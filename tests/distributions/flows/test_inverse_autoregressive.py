"""Inverse autoregressive flows: densities against change of variables and quadrature, and when the network steps."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

import ppgen
from ppgen import inference
from ppgen.distributions import InverseAutoregressive
from ppgen.nn import CausalLinear, NormalConditional
from ppgen.testing import check_close

ORDER = torch.tensor([2, 0, 1])


class Counting(CausalLinear):
    """A causal network that counts its steps."""

    steps = 0

    def step(self, state, previous):
        self.steps += 1
        return super().step(state, previous)


def network(size: int = 3, given: int = 0) -> Counting:
    made = Counting(size, 2, given).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_()
    return made


def base(*batch: int) -> dist.TorchDistribution:
    return dist.Normal(torch.randn(*batch, 3).double(), torch.rand(*batch, 3).double() + 0.5).to_event(1)


@pytest.mark.parametrize("order", [None, ORDER])
def test_density_of_own_draws_is_that_of_the_same_values_and_of_the_jacobian(order: Tensor | None) -> None:
    """Catches gates of another order than the noise, a determinant of the wrong sign, a stale cache."""
    given = torch.randn(2, 2).double()
    law = InverseAutoregressive(base(2), network(given=2), order, given)
    second = InverseAutoregressive(law, network(), torch.tensor([2, 1, 0]))
    for each in (law, second):
        value, log_q = each.rsample_with_log_prob((4,))
        assert value.shape == (4, 2, 3)
        check_close(each.log_prob(value.clone()), log_q, "log q by a sweep")
        older = value
        each.rsample((4,))
        check_close(each.log_prob(older), log_q, "log q of an earlier draw")

    def moved(noise: Tensor) -> Tensor:
        single = InverseAutoregressive(dist.Delta(noise, event_dim=1), network_, order)
        return single.rsample()

    network_ = network()
    noise = torch.randn(3).double()
    jacobian = torch.autograd.functional.jacobian(moved, noise)
    single = InverseAutoregressive(dist.Normal(torch.zeros(3).double(), 1.0).to_event(1), network_, order)
    expected = single.base.log_prob(noise) - torch.linalg.slogdet(jacobian).logabsdet
    check_close(single.log_prob(moved(noise)), expected, "log q by the Jacobian")


def test_density_of_foreign_values_integrates_to_one_and_carries_gradients() -> None:
    """Catches a sweep that finds the noise of another position, and one that is cut off from the parameters."""
    plane = network(2)
    law = InverseAutoregressive(dist.Normal(torch.zeros(2).double(), 1.0).to_event(1), plane, gate_bias=0.0)
    line = torch.linspace(-9, 9, 241, dtype=torch.double)
    grid = torch.cartesian_prod(line, line)
    mass = law.log_prob(grid).exp().sum() * (line[1] - line[0]) ** 2
    check_close(mass, torch.ones(()).double(), "mass", atol=1e-3)
    value = torch.randn(2).double().requires_grad_()
    assert torch.autograd.gradcheck(law.log_prob, (value,))
    slopes = torch.autograd.grad(law.log_prob(value), list(plane.parameters()))
    assert all(bool(slope.any()) for slope in slopes)


@pytest.mark.parametrize(("name", "stepped"), [("elbo", False), ("iwae", False), ("stl", True), ("rws", True)])
def test_own_draws_take_no_steps(name: str, stepped: bool) -> None:
    """Catches a draw of a plate or of particles that the law does not know again, at D steps each time."""
    flow, encoder = network(), NormalConditional(4, (), 3).double()

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(3), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z.sum(-1, keepdim=True), x.new_ones(4)).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        made, moved = pyro.module("encoder", encoder), pyro.module("flow", flow)
        with pyro.plate("data", len(x)):
            pyro.sample("z", InverseAutoregressive(made(x), moved, ORDER))

    pair, x = ppgen.Pair(model, guide), torch.randn(6, 4).double()
    pair.prepare(x)
    bound = inference.resolve(name, pair).bind(pair, x, len(x))
    flow.steps = 0
    with torch.random.fork_rng():
        torch.manual_seed(0)
        gradients = bound.step(x).gradients
    assert (flow.steps > 0) == stepped
    assert sum("flow" in name and bool(gradient.any()) for name, gradient in gradients.items()) == 2


def test_what_cannot_be_moved_is_refused() -> None:
    """Catches laws without a draw that carries gradients, and networks for another law, accepted in silence."""
    normal = dist.Normal(torch.zeros(3), 1.0).to_event(1)
    with pytest.raises(ValueError, match="two outputs"):
        InverseAutoregressive(normal, CausalLinear(3))
    with pytest.raises(ValueError, match=r"events of shape \(4,\)"):
        InverseAutoregressive(normal, CausalLinear(4, 2))
    with pytest.raises(ValueError, match="no rsample"):
        InverseAutoregressive(dist.Bernoulli(torch.full((3,), 0.5)).to_event(1), CausalLinear(3, 2))
    with pytest.raises(ValueError, match="permutation"):
        InverseAutoregressive(normal, CausalLinear(3, 2), torch.tensor([0, 0, 1]))
    with pytest.raises(TypeError, match="network"):
        InverseAutoregressive(normal, nn.Linear(3, 3))
