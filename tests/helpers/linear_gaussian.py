"""Probabilistic PCA as a pair, with everything about it in closed form, and a model with a positive latent."""

import pyro
import pyro.distributions as dist
import torch

import ppgen

WEIGHT = torch.tensor([[1.5, 0.3], [-0.5, 1.0], [0.8, -0.7], [0.2, 0.9]], dtype=torch.float64)  # (features, latent)
OFFSET = torch.tensor([0.3, -1.0, 2.0, 0.0], dtype=torch.float64)
NOISE = 0.6
COVARIANCE = WEIGHT @ WEIGHT.T + NOISE**2 * torch.eye(4, dtype=torch.float64)
PRECISION = torch.eye(2, dtype=torch.float64) + WEIGHT.T @ WEIGHT / NOISE**2  # of the posterior


def model(x=None, num_rows=None):
    with pyro.plate("data", num_rows or len(x)):
        z = pyro.sample("z", dist.Normal(WEIGHT.new_zeros(2), 1.0).to_event(1))
        return pyro.sample("x", dist.Normal(z @ WEIGHT.T + OFFSET, NOISE).to_event(1), obs=x)


def guide(x):
    """Independent Normals, shifted off the posterior's mean and narrow."""
    scale = PRECISION.diagonal().rsqrt()
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(posterior_mean(x) + GUIDE_SHIFT * scale, GUIDE_WIDTH * scale).to_event(1))


GUIDE_SHIFT, GUIDE_WIDTH = 0.5, 0.8


def pair():
    return ppgen.Pair(model, guide)


def posterior_mean(x):
    return (x - OFFSET) @ WEIGHT / NOISE**2 @ PRECISION.inverse()


def log_evidence(x):
    return torch.distributions.MultivariateNormal(OFFSET, COVARIANCE).log_prob(x)


def data(rows, seed=0):
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(rows, 2, generator=generator, dtype=torch.float64)
    return OFFSET + z @ WEIGHT.T + NOISE * torch.randn(rows, 4, generator=generator, dtype=torch.float64)


def mean_field_gap(shift=0.0, width=1.0):
    """KL divergence of independent Normals with variances width^2 / diag(precision) from the posterior, nats."""
    scale = width * PRECISION.diagonal().rsqrt()
    offset = shift * PRECISION.diagonal().rsqrt()
    quadratic = offset @ PRECISION @ offset
    return 0.5 * ((PRECISION.diagonal() * scale**2).sum() - 2 + quadratic - PRECISION.logdet()) - scale.log().sum()


RATE, SHAPE = 1.3, 2.0  # of the Gamma prior of a Poisson's rate


def positive_model(x=None, num_rows=None):
    with pyro.plate("data", num_rows or len(x)):
        rate = pyro.sample("rate", dist.Gamma(torch.tensor(SHAPE, dtype=torch.float64), RATE))
        return pyro.sample("x", dist.LogNormal(rate.log(), 0.7), obs=x)


def positive_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("rate", dist.LogNormal(0.5 * x.log(), 0.6))


def positive_pair():
    return ppgen.Pair(positive_model, positive_guide)


def positive_quadrature(x):
    """log p(x), and mean and variance of the rate given x, by sums over a fine grid of log rates."""
    u = torch.linspace(-14, 6, 200_001, dtype=torch.float64)[:, None]
    rate = u.exp()
    log_joint = (
        torch.distributions.Gamma(SHAPE, RATE).log_prob(rate)
        + torch.distributions.LogNormal(u, 0.7).log_prob(x)
        + u
        + torch.log(u[1] - u[0])
    )
    log_evidence = log_joint.logsumexp(0)
    weight = (log_joint - log_evidence).exp()
    mean = (weight * rate).sum(0)
    return log_evidence, mean, (weight * (rate - mean).square()).sum(0)
