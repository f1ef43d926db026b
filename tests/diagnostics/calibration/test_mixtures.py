"""Calibration on whole data sets of programs whose discrete sites are summed out, and of chains."""

import pyro
import pyro.distributions as dist
import torch

import ppgen
from ppgen import diagnostics, inference
from ppgen.diagnostics.calibration.data_sets import JointSites
from ppgen.evaluation.evidence.all_data import all_data

X = torch.tensor([0.4, -1.2, 2.0])
WEIGHTS, SHIFTS = torch.tensor([0.3, 0.7]), torch.tensor([-1.5, 1.5])


def mixture(x):
    """Two components around a common location."""
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    with pyro.plate("data", len(x)):
        c = pyro.sample("c", dist.Categorical(WEIGHTS), infer={"enumerate": "parallel"})
        pyro.sample("x", dist.Normal(mean + SHIFTS[c], 1.0), obs=x)


def posterior_moments(x):
    """Mean and standard deviation of the location, on a grid."""
    grid = torch.linspace(-5, 5, 1001)
    each = dist.Normal(grid[:, None, None] + SHIFTS, 1.0).log_prob(x[None, :, None]) + WEIGHTS.log()
    weight = (each.logsumexp(-1).sum(-1) + dist.Normal(0.0, 1.0).log_prob(grid)).softmax(0)
    mean = (weight * grid).sum()
    return mean, (weight * (grid - mean).square()).sum().sqrt()


def guide_of(width):
    def guide(x):
        mean, scale = posterior_moments(x)
        pyro.sample("mean", dist.Normal(mean, width * scale))

    return guide


def test_densities_of_a_mixture():
    """Catches log p(x | z) of a mixture that is that of a drawn component, or of one row."""
    pair = ppgen.Pair(mixture, guide_of(1.0))
    values = torch.tensor([0.1, -0.8])
    _, likelihood = JointSites(pair, all_data(pair, X)).densities(X, {"mean": values})
    rows = dist.Normal(values[:, None, None] + SHIFTS, 1.0).log_prob(X[None, :, None]) + WEIGHTS.log()
    torch.testing.assert_close(likelihood.float(), rows.logsumexp(-1).sum(1))


def test_a_mixture_with_a_common_latent():
    """Catches mixtures refused, and a narrow guide of their common latents that passes."""
    options = {"x": X, "num_simulations": 150, "level": 1e-4}
    found = diagnostics.simulation_based_calibration(ppgen.Pair(mixture, guide_of(1.0)), **options)
    assert found.calibrated and found.sites == ("mean",)
    assert not diagnostics.simulation_based_calibration(ppgen.Pair(mixture, guide_of(0.4)), **options).calibrated


def program(x):
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(mean, 1.0), obs=x)


def wrong(x):
    pyro.sample("mean", dist.Normal(3.0, 0.1))


def test_chains_of_whole_data_sets():
    """Catches chains of programs with common latents refused, or draws of another data set."""
    found = diagnostics.simulation_based_calibration(
        ppgen.Pair(program, wrong),
        x=X,
        posterior=inference.HMC(num_steps=2, step_size=0.6),
        num_simulations=20,
        num_samples=16,
        warmup_steps=8,
        level=1e-4,
    )
    assert found.calibrated and found.method == "Hamiltonian Monte Carlo"
