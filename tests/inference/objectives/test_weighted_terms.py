"""Weighted and exact latent terms at every form of guide: closed forms, and auxiliary sites of AutoGuides."""

from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer.autoguide import AutoNormal
from torch import Tensor

import ppgen
from ppgen import inference

X = torch.tensor([0.3, -1.0, 1.2])


def aside(x: Tensor) -> None:
    """Latents that the data say nothing about, so that the bound is minus their divergence."""
    pyro.sample("top", dist.Gamma(2.0, 1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)


class Guide(pyro.nn.PyroModule):
    """An AutoGuide for the latent of the data set beside a Normal for each datum's."""

    def __init__(self) -> None:
        super().__init__()
        self.top = AutoNormal(poutine.block(aside, expose=["top"]))
        self.loc, self.log_scale = torch.nn.Parameter(torch.tensor(0.4)), torch.nn.Parameter(torch.tensor(-0.3))

    def forward(self, x: Tensor) -> None:
        self.top(x)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.loc, self.log_scale.exp()))


def steps(objective: inference.Objective, estimator: Any, count: int) -> dict[str, Tensor]:
    torch.manual_seed(2)
    pair = ppgen.Pair(aside, Guide())
    pair.prepare(X)
    bound = inference.Inference(objective, estimator).bind(pair, X, num_data=len(X))
    found = [bound.step(X).gradients for _ in range(count)]
    return {name: torch.stack([each[name] for each in found]) for name in found[0]}


def test_a_weight_on_an_exact_divergence() -> None:
    """Catches a weight that multiplies the draw's log-densities, noise that the closed form was to take away."""
    found = steps(inference.ELBO(kl_weight=3.0), {"z": inference.AnalyticKL()}, 3)
    loc, log_scale = torch.tensor(0.4), torch.tensor(-0.3)
    torch.testing.assert_close(found["guide_module.loc"], 3 * loc.expand(3))
    torch.testing.assert_close(found["guide_module.log_scale"], 3 * ((2 * log_scale).exp() - 1).expand(3))


def test_a_weight_on_an_auxiliary_site() -> None:
    """Catches an AutoGuide whose entropy, of auxiliary sites, keeps weight 1 while its prior is weighted."""
    weighted = steps(inference.ELBO(kl_weight=3.0), "auto", 3)
    plain = steps(inference.ELBO(), "auto", 3)
    for name, gradient in plain.items():
        torch.testing.assert_close(weighted[name], 3 * gradient)


@pytest.mark.parametrize(
    ("objective", "estimator", "message"),
    [
        (inference.ELBO(), inference.AnalyticKL(), "AnalyticKL at site 'top_unconstrained': it is auxiliary"),
        (inference.ELBO(), {"top": inference.AnalyticKL()}, "AnalyticKL at site 'top': the guide gives its point a"),
        (inference.ELBO(free_bits=0.5), "auto", "free_bits.*auxiliary site 'top_unconstrained'"),
    ],
)
def test_terms_that_an_autoguide_spreads(objective: inference.Objective, estimator: Any, message: str) -> None:
    """Catches a bare KeyError at auxiliary sites, a Jacobian left out of a divergence, free nats of half a term."""
    with pytest.raises(ValueError, match=message):
        steps(objective, estimator, 1)
