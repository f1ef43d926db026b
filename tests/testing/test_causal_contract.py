"""The contract of causal networks sees what it is there for."""

import pytest
import torch
from torch import Tensor

from ppgen import nn, testing
from ppgen.distributions import BernoulliOutput, NormalMixtureOutput


class Leaking(nn.CausalLinear):
    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        return torch.einsum("pij,...j->...ip", self.weight.tril(0), x) + self.bias


class Blind(nn.CausalLinear):
    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        return torch.einsum("pij,...j->...ip", self.weight.tril(-2), x) + self.bias


class Forgetful(nn.CausalLinear):
    def step(self, state, previous: Tensor):
        return super().step(state, torch.zeros_like(previous))


class Shifted(BernoulliOutput):
    def draw(self, parameters: Tensor, uniforms: Tensor) -> Tensor:
        return super().draw(parameters + 0.3, uniforms)


class Wide(NormalMixtureOutput):
    def quantile(self, uniforms: Tensor) -> Tensor:
        return 1.1 * super().quantile(uniforms)


@pytest.mark.parametrize(
    ("network", "output", "match"),
    [
        (Leaking(4), BernoulliOutput(), "position 0 sees entry 0, itself"),
        (Blind(4), BernoulliOutput(), "position 1 is blind to entry 0"),
        (Forgetful(4), BernoulliOutput(), "step 1 of Forgetful against its forward pass"),
        (nn.CausalLinear(4), Shifted(), "draws: chi-square"),
        (nn.CausalLinear(4, 6), Wide(2), "scores of draws"),
    ],
)
def test_faults_are_seen(network: nn.Causal, output, match: str) -> None:
    """Catches a gate that passes an entry that sees itself, a blind spot, a stale state, or draws of another law."""
    with pytest.raises(AssertionError, match=match):
        testing.check_causal(network, output)


def test_a_declared_blind_spot_is_one() -> None:
    """Catches a field that is declared smaller than it is, or larger."""
    field = torch.ones(4, 4, dtype=torch.bool).tril(-2)
    with pytest.raises(AssertionError, match="position 1 sees entry 0, which is not in its field"):
        testing.check_causal(nn.CausalLinear(4), BernoulliOutput(), field=field)


@pytest.mark.parametrize("method", ["forward", "start", "step"])
def test_a_network_without_a_method_is_told_which(method: str) -> None:
    """Catches a bare NotImplementedError, which tells a user nothing of what to write."""
    call = {"forward": (torch.zeros(2, 3),), "start": ((2,),), "step": ({}, torch.zeros(2))}[method]
    with pytest.raises(NotImplementedError, match=rf"Causal must define {method}\("):
        getattr(nn.Causal(3), method)(*call)
