"""Objectives and estimators on programs without a data plate, held against gradients by hand."""

import pyro
import pyro.distributions as dist
import pytest
import torch

import ppgen
from ppgen import inference

X = torch.tensor(2.0)
LOC, SCALE = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.6, 0.5, 0.4])


def program(x):
    w = pyro.sample("w", dist.Normal(torch.zeros(3), 1.0).to_event(1))
    pyro.sample("x", dist.Normal(w.sum(-1), 1.0), obs=x)


def guide(x):
    loc = pyro.param("loc", LOC)
    scale = pyro.param("scale", SCALE, constraint=dist.constraints.positive)
    pyro.sample("w", dist.Normal(loc, scale).to_event(1))


def gradients(model, guide, what):
    pair = ppgen.Pair(model, guide)
    pair.prepare(X)
    bound = inference.resolve(what, pair).bind(pair, X, 1)
    torch.manual_seed(0)
    return {name.removeprefix("captured."): value for name, value in bound.step(X).gradients.items()}


@pytest.mark.parametrize(
    ("what", "share"),
    [
        (inference.ELBO(20_000), 1.0),
        (inference.ELBO(20_000, kl_weight=0.3), 0.3),
        (inference.ELBO(20_000, free_bits=5.0), 0.0),  # more than the divergence, 1.26 nats
        (inference.ELBO(20_000, free_bits=0.5), 1.0),
        (inference.Inference(inference.ELBO(20_000), inference.AnalyticKL()), 1.0),
        (inference.Inference(inference.ELBO(20_000, kl_weight=0.3), inference.AnalyticKL()), 0.3),
    ],
    ids=str,
)
def test_the_divergence_has_its_weight(what, share):
    """Catches a weight or a threshold that is counted by rows where all data are one datum."""
    found = gradients(program, guide, what)
    torch.testing.assert_close(found["loc"], -(X - LOC.sum()) + share * LOC, atol=0.05, rtol=0)
    by_log_scale = SCALE.square() + share * (SCALE.square() - 1)
    torch.testing.assert_close(found["scale"], by_log_scale, atol=0.05, rtol=0)


def line(x):
    w = pyro.sample("w", dist.Normal(pyro.param("prior", torch.tensor(0.0)), 1.0))
    pyro.sample("x", dist.Normal(w, 1.0), obs=x)


def reading(x):
    pyro.sample("w", dist.Normal(pyro.param("slope", torch.tensor(0.2)) * x, 1.0))


def test_the_sleep_phase_dreams_the_datum():
    """Catches a sleep phase on the data where they are one datum: E[-(w - 0.2 x) x] under the model is -0.6."""
    pair = ppgen.Pair(line, reading)
    pair.prepare(X)
    bound = inference.resolve(inference.WakeSleep(), pair).bind(pair, X, 1)
    torch.manual_seed(0)
    steps = [bound.step(X).gradients for _ in range(400)]
    slope, prior = (torch.stack([step[f"captured.{name}"] for step in steps]) for name in ("slope", "prior"))
    for found, exact in ((slope, -0.6), (prior, -0.4)):
        assert abs(found.mean() - exact) < 4 * found.std() / 20
