"""Discrete VAE: a directed model whose prior is known up to log Z, against its enumerated states."""

import json

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

import ppgen
from ppgen import evaluation, inference, models, testing
from ppgen.testing.examples import bit_vectors, densities_at, state_index

SIZES = [(3, 4, (3,), 2), (4, 2, (), 3), (2, 3, (4, 2), None)]


def asymmetric(features: int, latent: int, hidden: tuple[int, ...], prior_hidden: int | None) -> models.DiscreteVAE:
    dvae = models.DiscreteVAE(features, latent, hidden, prior_hidden)
    with torch.no_grad():
        for parameter in dvae.parameters():
            parameter.copy_(1.3 * torch.randn(parameter.shape))
    return dvae.double()


@torch.no_grad()
def densities(dvae: models.DiscreteVAE) -> tuple[Tensor, Tensor, Tensor]:
    """log p(x, z) and log q(z | x), each (states of z, states of x), and log Z, with both layers enumerated."""
    weight, bias, hidden_bias = dvae.prior_weight, dvae.prior_bias, dvae.prior_hidden_bias
    x, z, h = bit_vectors(dvae.features), bit_vectors(dvae.latent), bit_vectors(len(hidden_bias))
    minus_energy = (z @ bias).unsqueeze(1) + h @ hidden_bias + torch.einsum("zi,ij,hj->zh", z, weight, h)
    log_z = minus_energy.logsumexp((0, 1))
    logits = dvae.decoder.logits(dvae.decoder.body(z)).unsqueeze(1)
    log_x = logsigmoid(torch.where(x == 1, logits, -logits)).sum(-1)
    recognised = dvae.encoder.logits(dvae.encoder.body(x))
    log_q = logsigmoid(torch.where(z.unsqueeze(1) == 1, recognised, -recognised)).sum(-1)
    return (minus_energy.logsumexp(1) - log_z).unsqueeze(1) + log_x, log_q, log_z


@pytest.mark.parametrize("sizes", SIZES)
def test_log_partition_finds_the_prior(sizes) -> None:
    """Catches log Z of the wrong side, and a site that the evaluation does not see behind a decoder."""
    dvae = asymmetric(*sizes)
    estimate = evaluation.log_partition(dvae, method="exact")
    assert estimate.kind == "exact"
    assert estimate.value == pytest.approx(float(densities(dvae)[2]), abs=1e-10)
    assert inference.find_layout(dvae, bit_vectors(sizes[0])).undirected == ("z",) == dvae.latent_sites


@pytest.mark.parametrize("sizes", SIZES)
def test_the_mean_weight_over_every_state_is_the_likelihood(sizes) -> None:
    """Catches a prior whose hidden units are not summed out, a decoder or encoder that reads another layer."""
    dvae = asymmetric(*sizes)
    log_p, expected_log_q, log_z = densities(dvae)
    x = bit_vectors(dvae.features)
    testing.check_close(log_p.logsumexp((0, 1)), torch.zeros(()).double(), "log of the sum of p(x, z)")
    z = bit_vectors(dvae.latent).unsqueeze(1).expand(-1, len(x), -1)
    with inference.attach(log_partition=float(log_z)):
        log_weights, log_q = densities_at(dvae, x, {"z": z})
        drawn = inference.log_weights(dvae, x, num_particles=2000)
    testing.check_close(log_q, expected_log_q, "log q(z | x)")
    testing.check_close((log_q + log_weights).logsumexp(0), log_p.logsumexp(0), "log of the mean weight")
    index = state_index(drawn.guide_traces[0].nodes["z"]["value"])
    testing.check_close(drawn.local, (log_p - log_q).gather(0, index), "log-weights")
    for row in range(len(x)):
        testing.check_frequencies(index[:, row], log_q[:, row].exp(), "latents of the guide")


@pytest.mark.parametrize("sizes", SIZES)
def test_log_likelihood_agrees_with_enumeration(sizes) -> None:
    """Catches a log Z that enters twice, with the wrong sign, or not at all."""
    dvae = asymmetric(*sizes)
    x = bit_vectors(dvae.features)
    log_z = evaluation.log_partition(dvae, method="exact")
    estimate = evaluation.log_likelihood(dvae, x, method="importance", num_particles=20_000, log_partition=log_z)
    expected = densities(dvae)[0].logsumexp(0).numpy()
    assert (np.abs(estimate.per_datum["log_likelihood"] - expected) <= 4 * estimate.per_datum["se"] + 1e-9).all()
    with torch.no_grad():
        dvae.prior_bias.add_(0.1)
    with pytest.raises(ValueError, match="other weights"):
        evaluation.log_likelihood(dvae, x, method="importance", num_particles=10, log_partition=log_z)


def test_draws_follow_the_model() -> None:
    """Catches draws of z from one side's biases alone."""
    dvae = asymmetric(*SIZES[0])
    with torch.no_grad(), dvae.running(), inference.attach(sampler="exact"):
        drawn = dvae.model(num_rows=20_000)
    testing.check_frequencies(state_index(drawn), densities(dvae)[0].logsumexp(0).exp(), "data")
    chains = ppgen.sample(dvae, 50, sweeps=5, warmup_steps=20)
    assert chains.samples.shape == (50, 3) and chains.rhat is not None
    with pytest.raises(ValueError, match="cannot be sampled directly"), dvae.running():
        dvae.model(num_rows=2)


@pytest.mark.parametrize("sizes", SIZES)
def test_config_builds_the_same_model(sizes) -> None:
    """Catches a constructor argument that a checkpoint cannot hold, and hidden units of another number."""
    dvae = models.DiscreteVAE(*sizes)
    again = models.DiscreteVAE(**json.loads(json.dumps(dvae.config())))
    assert again.config() == dvae.config() and dvae.default_inference == "pcd"
    assert [t.shape for t in again.parameters()] == [t.shape for t in dvae.parameters()]
    assert dvae.prior_weight.shape == (sizes[1], sizes[3] or sizes[1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: models.DiscreteVAE(0), "features must be at least 1, got 0"),
        (lambda: models.DiscreteVAE(4, latent=-1), "latent must be at least 1, got -1"),
        (lambda: models.DiscreteVAE(4, hidden=(5, 0)), "each number in hidden must be at least 1"),
        (lambda: models.DiscreteVAE(4, prior_hidden=0), "prior_hidden must be at least 1, got 0"),
    ],
)
def test_wrong_sizes_are_named(make, message: str) -> None:
    """Catches a size that is found wrong only in training."""
    with pytest.raises(ValueError, match=message):
        make()
