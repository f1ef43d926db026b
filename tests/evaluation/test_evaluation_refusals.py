"""What an evaluation refuses because its numbers would mean nothing, and what it must not refuse."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import Tensor, nn

import ppgen
from ppgen import evaluation, models

X = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))


def scaled(model_scale: float, guide_scale: float) -> ppgen.Pair:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)), poutine.scale(scale=model_scale):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))
            pyro.sample("x", dist.Normal(z.unsqueeze(-1) * torch.ones(3), 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)), poutine.scale(scale=guide_scale):
            pyro.sample("z", dist.Normal(x.sum(-1) / 4, 0.5))

    return ppgen.Pair(model, guide)


@pytest.mark.parametrize("method", ["auto", "elbo", "ais"])
@pytest.mark.parametrize("scales", [(10.0, 1.0), (0.5, 1.0), (0.5, 0.5)])
def test_scales_of_their_own(scales: tuple[float, float], method: Any) -> None:
    """Catches a "lower bound" of -1.8 nats under a scale of one half where log p(x) is -4.6."""
    with pytest.raises(ValueError, match=r"The sites \['z', 'x'\] have a scale of their own.*Take poutine.scale"):
        evaluation.log_likelihood(scaled(*scales), X, method=method, num_particles=20)


def test_without_scales_the_same_programs_are_exact() -> None:
    """Catches a scale of one refused, and a bias given to the ELBO, which takes no logarithm of a mean."""
    found = evaluation.log_likelihood(scaled(1.0, 1.0), X, num_particles=20)
    exact = torch.distributions.MultivariateNormal(torch.zeros(3), torch.eye(3) + 1.0).log_prob(X).mean()
    assert abs(found.value - float(exact)) < 1e-4
    assert found.bias is not None


def test_an_elbo_has_no_bias() -> None:
    """Catches an "expected bias" of -se^2 / 2 said of a mean of log-weights, millions of nats on a broken model."""
    vae = models.VAE(features=6, latent=2, hidden=(4,))
    with torch.no_grad():
        for parameter in vae.decoder.parameters():
            parameter.mul_(1e3)
    found = evaluation.log_likelihood(vae, (X[:, [0, 1, 2, 0, 1, 2]] > 0).float(), method="elbo", num_particles=5)
    assert found.bias is None and "bias" not in repr(found)


def subsampled(size: int) -> ppgen.Pair:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x), subsample_size=size) as index:
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z.unsqueeze(-1) * torch.ones(3), 1.0).to_event(1), obs=x[index])

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x), subsample_size=size) as index:
            pyro.sample("z", dist.Normal(x[index].sum(-1) / 4, 0.5))

    return ppgen.Pair(model, guide)


@pytest.mark.parametrize("size", [1, 2, 50])
def test_plates_that_subsample_by_themselves(size: int) -> None:
    """Catches Pyro's "did you accidentally use different subsample_size", and one row taken for rows that lean."""
    with pytest.raises(ValueError, match="Plate 'data' draws a subsample by itself.*two subsamplings"):
        evaluation.log_likelihood(subsampled(size), X, num_particles=20)


def normalising(read: Callable[[Tensor], Tensor]) -> ppgen.Pair:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))
            pyro.sample("x", dist.Normal(z.unsqueeze(-1) * torch.ones(3), 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        mean = read(x)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(mean, 0.5))

    return ppgen.Pair(model, guide)


def test_batch_normalisation_of_a_pair_that_was_never_fitted() -> None:
    """Catches a sound pair refused, as the module of a pyro.module statement was not yet in evaluation mode."""
    network = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 1))
    with torch.no_grad():
        network[0].running_mean.add_(0.5)
    before = {name: value.clone() for name, value in network.state_dict().items()}

    def read(x: Tensor) -> Tensor:
        pyro.module("network", network)
        return network(x).squeeze(-1)

    evaluation.log_likelihood(normalising(read), X, num_particles=20)
    assert network.training and network[0].training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_batch_normalisation_that_stays_in_training_mode() -> None:
    """Catches torch's words about values per channel where rows depend on each other."""
    norm = nn.BatchNorm1d(3)
    with pytest.raises(ValueError, match=r"Rows depend on each other: .*training mode.*take module.train\(\) out"):
        evaluation.log_likelihood(normalising(lambda x: norm.train()(x).sum(-1)), X, num_particles=20)


@pytest.mark.parametrize("given", [True, "3", np.bool_(True)])
def test_values_that_are_no_log_partition(given: Any) -> None:
    """Catches a switch or a text taken for log Z, because `float` takes them."""
    with pytest.raises(TypeError, match="log_partition of site 'hidden' must be an Estimate or a number"):
        evaluation.log_likelihood(models.RBM(visible=4, hidden=3), torch.eye(4), log_partition=given)


def mixed(x: Tensor) -> None:
    shift = pyro.param("shift", torch.zeros(3))
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 1), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(z @ torch.ones(1, 3, dtype=torch.float64) + shift, 1.0).to_event(1), obs=x)


def its_guide(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(pyro.param("slope", torch.tensor(0.2)) * x[:, :1], 0.7).to_event(1))


@pytest.mark.parametrize(
    "call",
    [
        lambda pair: ppgen.fit(pair, X.double().numpy(), "elbo", steps=1, progress=False),
        lambda pair: evaluation.log_likelihood(pair, X.double().numpy(), num_particles=20),
    ],
)
def test_a_program_that_runs_with_the_first_data_only(call: Callable[[Any], Any]) -> None:
    """Catches torch's "m1 and m2", where parameters made at the first call change the type of the data."""
    with pytest.raises(TypeError, match=r"torch.float32 and torch.float64 together.*x.new_tensor\(...\)"):
        call(ppgen.Pair(mixed, its_guide))
