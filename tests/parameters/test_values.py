"""What a program's parameters are under their constraints."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoNormal
from torch import nn

import ppgen
from ppgen import models

START = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])


def program(x):
    transition = pyro.param("a.T", START, constraint=dist.constraints.simplex)
    mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
    net = pyro.module("net", NET)
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(mu + transition[0, 1] + net(x[:, None]).squeeze(-1), 1.0), obs=x)


NET = nn.Linear(1, 1)


def test_constrained_values():
    """Catches unconstrained values, names that are not those of the statements, and tensors that training writes to."""
    pair = ppgen.Pair(program, AutoNormal(program, init_scale=0.3))
    pair.prepare(torch.zeros(2))
    found = pair.params()
    assert sorted(found) == ["a.T", "guide_module.locs.mu", "guide_module.scales.mu", "net.bias", "net.weight"]
    torch.testing.assert_close(found["a.T"], START)
    assert found["guide_module.scales.mu"].item() == pytest.approx(0.3)
    assert not any(value.requires_grad for value in found.values())
    found["net.weight"] += 1.0
    assert not torch.equal(found["net.weight"], NET.weight)


def test_round_trip():
    """Catches values that `Pair(params=...)` does not take back."""

    def model(x):
        transition = pyro.param("T", START, constraint=dist.constraints.simplex)
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(transition[0, 1], 1.0), obs=x)

    run = ppgen.fit(ppgen.Pair(model, lambda x: None), torch.ones(4), "elbo", steps=3, lr=0.5, progress=False)
    again = ppgen.Pair(model, lambda x: None, params=run.pair.params())
    again.prepare(torch.ones(4))
    torch.testing.assert_close(again.params()["T"], run.pair.params()["T"])
    assert not torch.allclose(again.params()["T"], START)


def test_models_of_the_zoo():
    """Catches a model whose parameters are modules' alone and are left out."""
    vae = models.VAE(features=3, latent=2, hidden=(4,))
    assert list(vae.params()) == [name for name, _ in vae.named_parameters()]
