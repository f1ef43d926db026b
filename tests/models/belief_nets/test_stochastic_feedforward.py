"""Stochastic feedforward networks: p(y | x) as the mixture over every state of the stochastic units."""

import json
import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

import ppgen
from ppgen import evaluation, inference, models, testing
from ppgen.testing.examples import bit_vectors, densities_at, state_index

CASES = {
    "gaussian": lambda: models.StochasticFeedforward(2, 1, hidden=(3, 2), stochastic=(2, 1)),
    "bernoulli": lambda: models.StochasticFeedforward(2, 3, (3, 2), (1, 3), likelihood="bernoulli"),
    "some layers": lambda: models.StochasticFeedforward(1, 2, (2, 3, 2), (0, 3, 0), likelihood="normal"),
    "one layer": lambda: models.StochasticFeedforward(3, 2, (1,), (3,)),
}


def asymmetric(name: str) -> models.StochasticFeedforward:
    net = CASES[name]()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape))
    return net.double()


def batch_for(net: models.StochasticFeedforward, rows: int = 4) -> tuple[Tensor, Tensor]:
    x, y = torch.randn(rows, net.inputs).double(), torch.randn(rows, net.outputs).double()
    return (x, y.gt(0).double()) if net.config()["likelihood"] == "bernoulli" else (x, y)


def affine(matrices: dict[str, Tensor], name: str, given: Tensor) -> Tensor:
    return given @ matrices[f"{name}.weight"].T + matrices[f"{name}.bias"]


def bits(value: Tensor, logits: Tensor) -> Tensor:
    return logsigmoid(torch.where(value == 1, logits, -logits)).sum(-1)


def side_by_side(left: Tensor, right: Tensor) -> Tensor:
    shape = torch.broadcast_shapes(left.shape[:-1], right.shape[:-1])
    return torch.cat([left.expand(*shape, -1), right.expand(*shape, -1)], -1)


@torch.no_grad()
def densities(net: models.StochasticFeedforward, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """log p(z | x), log p(y | x, z) and log q(z | x, y), each (states, rows), from the matrices alone."""
    matrices = dict(net.named_parameters())
    units = net.config()["stochastic"]
    states = bit_vectors(sum(units)).unsqueeze(1)
    pieces = states.split(units, -1)
    prior, posterior = torch.zeros(()), torch.zeros(())
    given, seen, encoder = x, torch.cat([x, y], -1), 0
    for layer, (size, value) in enumerate(zip(units, pieces, strict=True)):
        hidden = torch.tanh(affine(matrices, f"deterministic.{layer}.0", given))
        if size:
            prior = prior + bits(value, affine(matrices, f"stochastic.{layer}.logits.0", given))
            recognised = torch.tanh(affine(matrices, f"encoders.{encoder}.body.0", seen))
            posterior = posterior + bits(value, affine(matrices, f"encoders.{encoder}.logits.0", recognised))
            seen, encoder = side_by_side(seen, value), encoder + 1
            hidden = side_by_side(hidden, value)
        given = hidden
    if net.config()["likelihood"] == "bernoulli":
        likelihood = bits(y, affine(matrices, "decoder.logits.0", given))
    else:
        loc, log_scale = affine(matrices, "decoder.loc.0", given), affine(matrices, "decoder.log_scale.0", given)
        likelihood = (-0.5 * ((y - loc) / log_scale.exp()) ** 2 - log_scale - 0.5 * math.log(2 * math.pi)).sum(-1)
    return prior, likelihood, posterior


@pytest.mark.parametrize("vectorize", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_log_weights_are_those_of_the_mixture(name: str, vectorize: bool) -> None:
    """Catches a layer that does not see the stochastic units below, a guide that does not see y, swapped particles."""
    net = asymmetric(name)
    x, y = batch_for(net)
    prior, likelihood, posterior = densities(net, x, y)
    testing.check_close(prior.exp().sum(0), torch.ones(4).double(), "sum of p(z | x)")
    testing.check_close(posterior.exp().sum(0), torch.ones(4).double(), "sum of q(z | x, y)")
    num_particles = 2000 if vectorize else 3
    weights = inference.log_weights(net, (x, y), num_particles, vectorize=vectorize)
    assert weights.local.shape == (num_particles, 4)
    for particle, trace in enumerate(weights.guide_traces):
        index = state_index(torch.cat([trace.nodes[site]["value"] for site in net.latent_sites], -1)).reshape(-1, 4)
        found = weights.local if vectorize else weights.local[particle : particle + 1]
        testing.check_close(found, (prior + likelihood - posterior).gather(0, index), "log-weights")
        for row in range(4 if vectorize else 0):
            testing.check_frequencies(index[:, row], posterior[:, row].exp(), "units of the guide")


@pytest.mark.parametrize("name", CASES)
def test_the_law_of_y_is_a_mixture_over_the_bits(name: str) -> None:
    """Catches a p(y | x) with one component, as a network has whose units are deterministic."""
    net = asymmetric(name)
    x, y = batch_for(net)
    prior, likelihood, _ = densities(net, x, y)
    log_p = (prior + likelihood).logsumexp(0)
    assert bool(((likelihood.max(0).values - likelihood.min(0).values) > 0.1).all())
    units = [size for size in net.config()["stochastic"] if size]
    states = bit_vectors(sum(units)).unsqueeze(1).expand(-1, len(x), -1)
    log_weights, log_q = densities_at(net, (x, y), dict(zip(net.latent_sites, states.split(units, -1), strict=True)))
    testing.check_close((log_q + log_weights).logsumexp(0), log_p, "log of the mean weight of every state")
    estimate = evaluation.log_likelihood(net, (x, y), method="importance", num_particles=20_000)
    error = estimate.per_datum["se"]
    assert (abs(estimate.per_datum["log_likelihood"] - log_p.numpy()) <= 4 * error + 1e-9).all()


def test_draws_follow_the_mixture() -> None:
    """Catches draws of y that ignore x or hold the stochastic units at one value."""
    net = asymmetric("bernoulli")
    x = torch.randn(1, 2).double()
    states = bit_vectors(3)
    prior, likelihood, _ = densities(net, x.expand(8, 2), states)
    law = (prior + likelihood).logsumexp(0).exp()
    testing.check_close(law.sum(), torch.ones_like(law[0]), "sum of p(y | x)")
    like = (x.expand(20_000, 2), torch.zeros(20_000, 3).double())
    drawn = ppgen.sample(net, 20_000, like=like)
    testing.check_frequencies(state_index(drawn.samples), law, "outputs")
    with pytest.raises(ValueError, match=r"covariates are needed .* covariates=x, \(rows, 2\)"):
        ppgen.sample(net, 3)
    at = torch.cat([x, -x])  # rows of their own laws, drawn together
    together = ppgen.sample(net, 30_000, covariates=at)
    assert together.samples.shape == together.means.shape == (30_000, 2, 3) and together.rhat is None
    for row in range(2):
        prior, likelihood, _ = densities(net, at[row].expand(8, 2), states)
        testing.check_frequencies(
            state_index(together.samples[:, row]), (prior + likelihood).logsumexp(0).exp(), "y of a row"
        )


@pytest.mark.parametrize("name", CASES)
def test_config_builds_the_same_model(name: str) -> None:
    """Catches a constructor argument that a checkpoint cannot hold, and layers that no estimator can find."""
    net = CASES[name]()
    again = type(net)(**json.loads(json.dumps(net.config())))
    assert again.config() == net.config() and again.latent_sites == net.latent_sites
    assert len(net.latent_sites) == sum(size > 0 for size in net.config()["stochastic"])
    assert tuple(inference.find_layout(net.double(), batch_for(net)).latent) == net.latent_sites
    assert [t.shape for t in again.parameters()] == [t.shape for t in net.parameters()]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: models.StochasticFeedforward(0, 1), "inputs must be at least 1, got 0"),
        (lambda: models.StochasticFeedforward(1, -1), "outputs must be at least 1, got -1"),
        (lambda: models.StochasticFeedforward(1, 1, (4, 0), (1, 1)), "each number in hidden must be at least 1"),
        (lambda: models.StochasticFeedforward(1, 1, (4,), (-1,)), "each number in stochastic must be at least 0"),
        (lambda: models.StochasticFeedforward(1, 1, (4,), (2, 2)), "each of the 1 hidden layers"),
        (lambda: models.StochasticFeedforward(1, 1, (4, 4), (0, 0)), "one hidden layer or more Bernoulli units"),
        (lambda: models.StochasticFeedforward(1, 1, likelihood="poisson"), "likelihood must be .* got 'poisson'"),
    ],
)
def test_wrong_arguments_are_named(make, message: str) -> None:
    """Catches a wrong argument that is found only in training."""
    with pytest.raises(ValueError, match=message):
        make()


def test_wrong_batches_are_named() -> None:
    """Catches y given as a vector, which would broadcast against the rows, and x of another width."""
    net = CASES["gaussian"]()
    with pytest.raises(ValueError, match=r"y must have shape \(rows, outputs=1\), got \(4,\)"):
        inference.find_layout(net, (torch.zeros(4, 2), torch.zeros(4)))
    with pytest.raises(ValueError, match=r"x must have shape \(rows, inputs=2\), got \(4, 3\)"):
        inference.find_layout(net, (torch.zeros(4, 3), torch.zeros(4, 1)))
