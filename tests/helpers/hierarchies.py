"""A Normal hierarchy with a mean common to all data, of which all is known: evidence, posterior, what is left out."""

import pyro
import pyro.distributions as dist
import torch

import ppgen

DATA = torch.tensor([1.0, 2.0, -0.5, 0.3])
PRIOR_SCALE, SPREAD, NOISE = 2.0, 1.0, 0.5


def model(x):
    """mean ~ N(0, 4); z_n ~ N(mean, 1); x_n ~ N(z_n, 0.25)."""
    mean = pyro.sample("mean", dist.Normal(x.new_tensor(0.0), PRIOR_SCALE))
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(mean, SPREAD))
        pyro.sample("x", dist.Normal(z, NOISE), obs=x)


def guide(width=1.0, shift=0.0):
    """The posterior, which reads its data, stretched and moved."""

    def program(x):
        loc, scale = posterior_of_mean(x)
        mean = pyro.sample("mean", dist.Normal(loc + shift, width * scale))
        gain = SPREAD**2 / (SPREAD**2 + NOISE**2)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(mean + gain * (x - mean), width * NOISE * gain**0.5))

    return program


def fitted_guide(x):
    """Normals of their own parameters for the mean and each z, which do not read the data."""
    loc = pyro.param("loc", x.new_zeros(1 + len(x)))
    scale = pyro.param("scale", x.new_ones(1 + len(x)), constraint=dist.constraints.positive)
    pyro.sample("mean", dist.Normal(loc[0], scale[0]))
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(loc[1:], scale[1:]))


def amortised_guide(x):
    """Normals for the mean, with parameters of its own, and for each z, whose mean is a line in x."""
    loc = pyro.param("loc", x.new_tensor(0.5))
    scale = pyro.param("scale", x.new_tensor(0.5), constraint=dist.constraints.positive)
    line = pyro.param("line", x.new_tensor([0.1, 0.8]))
    width = pyro.param("width", x.new_tensor(0.5), constraint=dist.constraints.positive)
    pyro.sample("mean", dist.Normal(loc, scale))
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(line[0] + line[1] * x, width))


def posterior_of_mean(x):
    """Mean and standard deviation of the common mean given the data."""
    marginal = SPREAD**2 + NOISE**2
    precision = 1 / PRIOR_SCALE**2 + len(x) / marginal
    return x.sum() / marginal / precision, precision**-0.5


def log_evidence(x):
    """log p(x) of all data, nats."""
    covariance = (SPREAD**2 + NOISE**2) * torch.eye(len(x)) + PRIOR_SCALE**2
    law = torch.distributions.MultivariateNormal(torch.zeros(len(x)).double(), covariance.double())
    return float(law.log_prob(x.double()))


def pair(width=1.0, shift=0.0):
    """The model with its posterior, stretched and moved."""
    return ppgen.Pair(model, guide(width, shift))
