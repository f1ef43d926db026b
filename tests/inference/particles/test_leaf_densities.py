"""Log-densities of a guide at leaves, where its law holds a network."""

import pyro
import pyro.distributions as dist
import torch
from pyro.nn.module import pyro_method
from torch import Tensor

from ppgen import distributions, inference, nn
from ppgen.pair import GenerativeModel


class Flowing(GenerativeModel):
    def __init__(self) -> None:
        super().__init__()
        self.network = nn.CausalLinear(2, outputs=2)

    @pyro_method
    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    @pyro_method
    def guide(self, x: Tensor) -> None:
        base = dist.Normal(x, 1.0).to_event(1)
        with pyro.plate("data", len(x)):
            pyro.sample("z", distributions.InverseAutoregressive(base, self.network))


def test_parameters_of_a_network_in_a_law_are_constants_of_its_density() -> None:
    """Catches doubly reparameterised gradients with a score of the network in them, which are biased."""
    torch.manual_seed(0)
    pair = Flowing()
    weights = inference.log_weights(pair, torch.randn(3, 2), 2, leaves=("z",))
    (density,) = [each.columns for each in weights.factors if each.sign < 0]
    found = torch.autograd.grad(density.sum(), list(pair.network.parameters()), allow_unused=True)
    assert all(each is None or not each.any() for each in found)
