"""ELBO and IWELBO against quadrature: values and gradients in the parameters of model and guide."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from ppgen import inference, testing
from ppgen.pair import Pair

NAMES = ("loc", "slope", "bend", "a", "b", "log_s")


def start(device: torch.device) -> dict[str, Tensor]:
    values = (0.3, 1.4, 0.7, 0.8, -0.5, -0.6)
    return {
        name: torch.tensor(value, dtype=torch.float64, device=device) for name, value in zip(NAMES, values, strict=True)
    }


def make_pair(device: torch.device) -> Pair:
    """z ~ N(loc, 1), x | z ~ Bernoulli(slope z + bend z^2): skewed, so that no sign or scale can cancel."""
    initial = start(device)

    def model(x: Tensor) -> None:
        loc, slope, bend = (pyro.param(name, initial[name]) for name in NAMES[:3])
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(loc, torch.ones_like(loc)))
            pyro.sample("x", dist.Bernoulli(logits=slope * z + bend * z**2), obs=x)

    def guide(x: Tensor) -> None:
        a, b, log_s = (pyro.param(name, initial[name]) for name in NAMES[3:])
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(a * x + b, log_s.exp()))

    return Pair(model, guide)


def exact_bound(num_particles: int, x: Tensor, parameters: dict[str, Tensor]) -> Tensor:
    """The K-particle bound by Gauss-Hermite quadrature over the noise of one or two particles: a scalar."""
    nodes, weights = (torch.from_numpy(v).to(x.device) for v in np.polynomial.hermite_e.hermegauss(80))
    law = weights / weights.sum()
    loc, slope, bend, a, b, log_s = (parameters[name] for name in NAMES)
    z = (a * x + b).unsqueeze(-1) + log_s.exp() * nodes
    log_prior = -0.5 * (z - loc) ** 2
    logits = slope * z + bend * z**2
    log_likelihood = x.unsqueeze(-1) * logits - torch.nn.functional.softplus(logits)
    log_guide = -0.5 * nodes**2 - log_s
    log_w = log_prior + log_likelihood - log_guide
    if num_particles == 1:
        return (log_w * law).sum(-1).mean()
    pairs = torch.logaddexp(log_w.unsqueeze(-1), log_w.unsqueeze(-2)) - math.log(2)
    return torch.einsum("bij,i,j->b", pairs, law, law).mean()


@pytest.mark.parametrize("vectorize", [True, False], ids=["at once", "one by one"])
@pytest.mark.parametrize(
    ("objective", "exact_particles"),
    [(inference.ELBO, 1), (inference.IWELBO, 2)],
    ids=["ELBO", "IWELBO"],
)
def test_value_and_gradient(objective, exact_particles, vectorize: bool, device: torch.device) -> None:
    """Catches a wrong bound, a sign or 1/K lost, a gradient that leaves out the guide or the model."""
    x = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64, device=device)
    pair = make_pair(device)
    pair.prepare(x)
    chosen = inference.Inference(objective(num_particles=2, vectorize_particles=vectorize))
    bound = chosen.bind(pair, x, num_data=3)
    results = [bound.step(x) for _ in range(1500 if vectorize else 700)]
    parameters = {name: value.requires_grad_() for name, value in start(device).items()}
    exact = exact_bound(exact_particles, x, parameters)
    exact.backward()
    testing.check_mean(torch.stack([result.value for result in results]), exact.detach(), "value")
    for name in NAMES:
        draws = torch.stack([result.gradients[f"captured.{name}"] for result in results])
        testing.check_mean(draws, -parameters[name].grad, f"gradient in {name}")


def test_bounds_are_ordered() -> None:
    """Catches an importance-weighted bound that does not tighten with K, or passes log p(x)."""
    x = torch.tensor([0.7, -1.3, 2.1], dtype=torch.float64)
    pair = testing.conjugate_pair()
    evidence = float(pair.model_module.log_evidence(x).mean().detach())
    values = []
    for count in (1, 5, 50):
        bound = inference.Inference(inference.IWELBO(num_particles=count)).bind(pair, x, num_data=3)
        values.append(float(torch.stack([bound.value(x) for _ in range(400)]).mean()))
    assert float(pair.model_module.elbo(x).mean().detach()) < values[1] < values[2] < evidence + 0.01
    assert values[2] == pytest.approx(evidence, abs=0.05)


def test_elbo_of_the_conjugate_pair() -> None:
    """Catches an error in the example that the shipped contract of objectives stands on."""
    x = torch.tensor([0.7, -1.3, 2.1], dtype=torch.float64)
    pair = testing.conjugate_pair()
    bound = inference.Inference(inference.ELBO(num_particles=20)).bind(pair, x, num_data=3)
    draws = torch.stack([bound.value(x) for _ in range(500)])
    testing.check_mean(draws, pair.model_module.elbo(x).mean().detach(), "ELBO")


def test_iwelbo_under_subsampling_is_a_bound() -> None:
    """Catches the plate's N/B inside the logarithm (Pyro's RenyiELBO), which is no bound at all."""
    x = torch.linspace(-2.5, 3.0, 12, dtype=torch.float64)
    pair = testing.conjugate_pair(full_size=12)
    with torch.no_grad():
        pair.model_module.log_s.fill_(0.4)  # a guide too wide: the weights vary
    evidence = pair.model_module.log_evidence(x).mean().detach()
    whole = inference.Inference(inference.IWELBO(num_particles=3)).bind(pair, x, num_data=12)
    full = torch.stack([whole.value(x) for _ in range(400)])
    batches = torch.stack([torch.stack([whole.value(part) for part in x.split(3)]).mean() for _ in range(400)])
    assert full.mean() < evidence and batches.mean() < evidence
    testing.check_mean(full - batches, torch.zeros((), dtype=x.dtype), "whole data less minibatches")


@pytest.mark.parametrize("count", [0, -1, 2.5, "3"])
@pytest.mark.parametrize("objective", [inference.ELBO, inference.IWELBO])
def test_number_of_particles(objective, count) -> None:
    """Catches a bad number of particles that fails deep in Pyro."""
    with pytest.raises(ValueError, match=f"num_particles.*at least 1, got {count!r}"):
        objective(num_particles=count)
