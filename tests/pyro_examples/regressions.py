"""Hierarchies and regressions: eight schools, batting averages, a regression under AutoGuides."""

from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import autoguide
from torch import Tensor

import ppgen
from pyro_examples.example import Example

# Eight schools (Rubin, 1981).
EFFECTS = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
ERRORS = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
# Hits of the first 45 times at bat of eight players (Efron and Morris, 1975).
HITS = torch.tensor([18.0, 17.0, 16.0, 15.0, 14.0, 14.0, 13.0, 12.0])


def schools(sigma: Tensor, y: Tensor | None = None) -> Tensor:
    """Effects of eight schools, decentred."""
    mu, tau = pyro.sample("mu", dist.Normal(0.0, 5.0)), pyro.sample("tau", dist.HalfCauchy(5.0))
    with pyro.plate("school", len(sigma)):
        theta = pyro.sample("theta", dist.Normal(0.0, 1.0))
        return pyro.sample("y", dist.Normal(mu + tau * theta, sigma), obs=y)


def batting(at_bats: Tensor, hits: Tensor | None = None) -> Tensor:
    """Chances of players, drawn from a common law."""
    m = pyro.sample("m", dist.Uniform(0.0, 1.0))
    kappa = pyro.sample("kappa", dist.Pareto(1.0, 1.5))
    with pyro.plate("players", len(at_bats)):
        chance = pyro.sample("chance", dist.Beta(m * kappa, (1 - m) * kappa))
        return pyro.sample("hits", dist.Binomial(at_bats, chance), obs=hits)


def regression(x: Tensor, y: Tensor | None = None) -> Tensor:
    """A linear regression with an interaction."""
    w = pyro.sample("w", dist.Normal(torch.zeros(3), 1.0).to_event(1))
    sigma = pyro.sample("sigma", dist.Uniform(0.0, 3.0))
    mean = w[..., 0] * x[:, 0] + w[..., 1] * x[:, 1] + w[..., 2] * x[:, 0] * x[:, 1]
    with pyro.plate("data", len(x)):
        return pyro.sample("y", dist.Normal(mean, sigma), obs=y)


def eight_schools() -> tuple[ppgen.Pair, Any]:
    """Eight schools under a full covariance."""
    return ppgen.Pair(schools, autoguide.AutoMultivariateNormal(schools), plate="school"), (ERRORS, EFFECTS)


def baseball() -> tuple[ppgen.Pair, Any]:
    """Batting averages under AutoNormal, with a latent for each player."""
    data = (torch.full((8,), 45.0), HITS)
    return ppgen.Pair(batting, autoguide.AutoNormal(batting), plate="players"), data


def regressions(name: str) -> Example:
    """The regression under an AutoGuide, in batches."""

    def make() -> tuple[ppgen.Pair, Any]:
        x = torch.randn(20, 2)
        y = x[:, 0] - 0.5 * x[:, 1] + 0.3 * torch.randn(20)
        return ppgen.Pair(regression, getattr(autoguide, name)(regression)), (x, y)

    return Example(f"regression, {name}", make, options={"batch_size": 8}, quick=name == "AutoDiagonalNormal")


GUIDES = ("AutoDelta", "AutoNormal", "AutoDiagonalNormal", "AutoMultivariateNormal", "AutoLowRankMultivariateNormal")

EXAMPLES = [
    Example("eight schools", eight_schools),
    Example("baseball", baseball),
    *(regressions(name) for name in GUIDES),
]
