"""Means and spreads of posteriors that long chains of another library have found."""

import math
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoMultivariateNormal
from reference_posteriors import REFERENCES, Reference
from torch import Tensor

import ppgen
from ppgen import evaluation, inference
from ppgen.evaluation.evidence.joint_weights import joint_log_weight

DRAWS = 3000


def least_squares_guide(lags: Tensor, y: Tensor) -> None:
    """The posterior of the regression, but for its priors and the tails of a t distribution: a little wider."""
    design = torch.cat([torch.ones(len(lags), 1), lags], 1)
    inverse = torch.linalg.inv(design.T @ design)
    best = inverse @ design.T @ y
    spread = (y - design @ best).square().mean().sqrt()
    covariance = 1.1 * spread**2 * inverse
    beta = pyro.sample("beta", dist.MultivariateNormal(best[1:], covariance[1:, 1:]))
    slope = torch.linalg.solve(covariance[1:, 1:], covariance[1:, 0])
    loc, variance = best[0] + (beta - best[1:]) @ slope, covariance[0, 0] - covariance[0, 1:] @ slope
    pyro.sample("alpha", dist.Normal(loc, variance.sqrt()))
    pyro.sample("sigma", dist.LogNormal(spread.log(), 1.1 / (2 * len(y)) ** 0.5))


@pytest.fixture
def regression() -> Any:
    reference = REFERENCES["autoregression"]
    return ppgen.Pair(reference.model, least_squares_guide, plate=reference.plate)


def check(found: dict[str, Tensor], weights: Tensor, ess: float, reference: Reference) -> None:
    """Means and standard deviations within four standard errors, both ours and theirs."""
    assert found.keys() == reference.moments.keys()
    for name, (mean, sd, mean_error) in reference.moments.items():
        ours = (weights * found[name]).sum()
        spread = (weights * (found[name] - ours).square()).sum().sqrt()
        error = math.hypot(sd / ess**0.5, mean_error)
        assert abs(float(ours) - mean) < 4 * error, (name, float(ours), mean, error)
        # A variance errs by its fourth moment, which is that of a normal or, of tau, some times larger.
        assert abs(float(spread) / sd - 1) < 4 * 1.5 / ess**0.5, (name, float(spread), sd)


def test_weighted_guide(regression: Any) -> None:
    """Catches weights of a guide that do not make its draws those of the posterior, as their ESS says that they do."""
    reference = REFERENCES["autoregression"]
    torch.manual_seed(1)
    with torch.no_grad():
        drawn = inference.log_weights(regression, reference.args, DRAWS)
    weights = joint_log_weight(drawn).softmax(0)
    ess = float(1 / weights.square().sum())
    assert ess > 1000
    (trace,) = drawn.guide_traces
    latents = {each: trace.nodes[each]["value"].reshape(DRAWS, -1).squeeze(1) for each in ("alpha", "beta", "sigma")}
    check(reference.values(latents), weights, ess, reference)


def test_chains() -> None:
    """Catches chains of a hierarchy that leave out where all groups are alike."""
    reference = REFERENCES["eight schools"]
    pair = ppgen.Pair(reference.model, AutoMultivariateNormal(reference.model), plate=reference.plate)
    chains = inference.sample_posterior(
        pair, reference.args, num_samples=40, warmup_steps=40, num_chains=100, init="prior", seed=1
    )
    latents = {each: value.reshape(100 * 40, -1).squeeze(1) for each, value in chains.draws.items()}
    values = reference.values(latents)
    ess = {each: float(v.var() / v.reshape(100, 40).mean(1).var() * 100) for each, v in values.items()}
    check(values, torch.full((4000,), 1 / 4000), min(ess.values()), reference)


def test_evidence_of_a_regression(regression: Any) -> None:
    """Catches a constant or a prior left out of log p(all data): coefficients in closed form, their noise by a grid."""
    reference = REFERENCES["autoregression"]
    lags, y = (each.double() for each in reference.args)
    design = torch.cat([torch.ones(len(lags), 1).double(), lags], 1)
    log_sigma = torch.linspace(-3, 0, 151).double()
    terms = []
    for sigma in log_sigma.exp():
        precision = design.T @ design / sigma**2 + torch.eye(6).double() / 100
        linear = design.T @ y / sigma**2
        fit = (linear @ torch.linalg.solve(precision, linear) - y @ y / sigma**2) / 2
        constant = -len(y) * (math.log(2 * math.pi) / 2 + sigma.log()) - 6 * math.log(10) - torch.logdet(precision) / 2
        terms.append(fit + constant + dist.HalfCauchy(2.5).log_prob(sigma) + sigma.log())
    exact = float(torch.stack(terms).logsumexp(0)) + math.log(3 / 150)
    found = evaluation.log_evidence(regression, reference.args, num_particles=DRAWS)
    assert abs(found.value - exact) < 4 * found.se < 0.1
