"""Guides in the family of a conjugate posterior come to it, by a path or by a score."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch.distributions import constraints

import ppgen
from ppgen import inference


def positive(name, value):
    return pyro.param(name, torch.tensor(value), constraint=constraints.positive)


class Scored(dist.Gamma):
    """A law without a gradient along its draws."""

    has_rsample = False


NORMAL = torch.tensor([1.2, 0.4, 2.1, 1.6])
COUNTS = torch.tensor([3.0, 1.0, 4.0, 2.0, 2.0])
BITS = torch.tensor([1.0, 1.0, 0.0, 1.0, 1.0, 0.0])


def normal(x):
    m = pyro.sample("m", dist.Normal(0.0, 1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(m, 1.0), obs=x)


def normal_guide(x):
    pyro.sample("m", dist.Normal(pyro.param("loc", torch.tensor(0.3)), positive("scale", 0.8)))


def poisson(x):
    rate = pyro.sample("rate", dist.Gamma(2.0, 1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Poisson(rate), obs=x)


def gamma_guide_of(law):
    def guide(x):
        pyro.sample("rate", law(positive("shape", 8.0), positive("rate_of", 4.0)))

    return guide


def bernoulli(x):
    p = pyro.sample("p", dist.Beta(1.5, 2.0))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Bernoulli(p), obs=x)


def beta_guide(x):
    pyro.sample("p", dist.Beta(positive("a", 3.0), positive("b", 3.0)))


def precise(x):
    """Known mean, unknown precision."""
    precision = pyro.sample("precision", dist.Gamma(2.0, 2.0))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(1.0, precision.rsqrt()), obs=x)


def precision_guide(x):
    pyro.sample("precision", dist.Gamma(positive("shape", 2.5), positive("rate_of", 2.5)))


def moments(law):
    return torch.stack([law.mean, law.variance.sqrt()])


SQUARES = (NORMAL - 1.0).square().sum()
CASES = {
    "normal": (normal, normal_guide, NORMAL, dist.Normal(NORMAL.sum() / 5, 0.2**0.5)),
    "gamma-poisson": (poisson, gamma_guide_of(dist.Gamma), COUNTS, dist.Gamma(2 + COUNTS.sum(), torch.tensor(6.0))),
    "gamma-poisson, score": (
        poisson,
        gamma_guide_of(Scored),
        COUNTS,
        dist.Gamma(2 + COUNTS.sum(), torch.tensor(6.0)),
    ),
    "beta-bernoulli": (bernoulli, beta_guide, BITS, dist.Beta(torch.tensor(5.5), torch.tensor(4.0))),
    "gamma-normal": (precise, precision_guide, NORMAL, dist.Gamma(torch.tensor(4.0), 2.0 + SQUARES / 2)),
}
QUICK = ("gamma-poisson, score",)
OBJECTIVES = {"elbo": inference.ELBO(20), "iwae": inference.IWELBO(2), "renyi": inference.Renyi(10, alpha=0.5)}


@pytest.mark.parametrize(
    ("case", "objective"),
    [
        pytest.param(case, name, marks=() if name == "elbo" and case in QUICK else pytest.mark.pyro_programs)
        for case in CASES
        for name in OBJECTIVES
        if name != "iwae" or case in ("normal", "beta-bernoulli")  # its bound is flat about the posterior of the others
    ],
)
def test_the_posterior_is_found(case, objective):
    """Catches a bound whose maximum is not the posterior where the guide can be it: mean and standard deviation."""
    model, guide, data, posterior = CASES[case]
    pair = ppgen.Pair(model, guide, plate="data")
    options = {"batch_size": len(data), "seed": 0, "progress": False, "compile": False}
    for lr in (0.05, 0.02, 0.005):
        ppgen.fit(pair, data, OBJECTIVES[objective], steps=200, lr=lr, **options)
    torch.manual_seed(0)
    with pair.running(), torch.no_grad():
        trace = pyro.poutine.trace(pair.guide).get_trace(data)
    (law,) = [site["fn"] for site in trace.nodes.values() if site["type"] == "sample"]
    spread = posterior.variance.sqrt()
    assert ((moments(law) - moments(posterior)).abs() / spread < 0.15).all()
