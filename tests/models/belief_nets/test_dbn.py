"""Deep belief networks against sums over all their states."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

import ppgen
from ppgen import evaluation, inference, models, testing
from ppgen.testing.examples import bit_vectors, densities_at, state_index

SIZES = [(3, (4, 2)), (4, (3, 2, 3))]


def asymmetric(visible: int, hidden: tuple[int, ...]) -> models.DBN:
    dbn = models.DBN(visible, hidden)
    with torch.no_grad():
        for parameter in dbn.parameters():
            parameter.copy_(1.2 * torch.randn(parameter.shape) - 0.2)
    return dbn.double()


def bernoulli(linear: torch.nn.Linear, given: Tensor, value: Tensor) -> Tensor:
    """log p of every value given every state: (states, values)."""
    logits = (given @ linear.weight.T + linear.bias).unsqueeze(1)
    return logsigmoid(torch.where(value == 1, logits, -logits)).sum(-1)


@torch.no_grad()
def log_p(dbn: models.DBN) -> tuple[Tensor, Tensor]:
    """log p(x) of every x, summed layer by layer over every state with loops over layers only; and log Z."""
    *sizes, upper = dbn.sizes
    lower, h = bit_vectors(sizes[-1]), bit_vectors(upper)
    minus_energy = (lower @ dbn.top_bias).unsqueeze(1) + h @ dbn.top_hidden_bias + lower @ dbn.top_weight @ h.T
    log_z = minus_energy.logsumexp((0, 1))
    law = minus_energy.logsumexp(1) - log_z
    for layer in range(len(sizes) - 2, -1, -1):
        linear = dbn.decoders[layer].logits.output
        given = bernoulli(linear, bit_vectors(sizes[layer + 1]), bit_vectors(sizes[layer]))
        law = (law.unsqueeze(1) + given).logsumexp(0)
    return law, log_z


@pytest.mark.parametrize("sizes", SIZES)
def test_log_likelihood_agrees_with_enumeration(sizes) -> None:
    """Catches layers in the wrong order, an uppermost layer that is drawn, and a log Z that is left out."""
    torch.manual_seed(1)
    dbn = asymmetric(*sizes)
    expected, log_z = log_p(dbn)
    testing.check_close(expected.logsumexp(0), torch.zeros(()).double(), "log of the sum of p(x)")
    found = evaluation.log_partition(dbn, method="exact")
    assert found.value == pytest.approx(float(log_z), abs=1e-9)
    x = bit_vectors(sizes[0])
    options = {"method": "importance", "num_particles": 20_000}
    estimate = evaluation.log_likelihood(dbn, x, log_partition=found, **options)
    error = np.abs(estimate.per_datum["log_likelihood"] - expected.numpy())
    assert (error <= 4 * estimate.per_datum["se"] + 1e-9).all()
    # The same with log Z by annealing, whose error comes along.
    annealed = evaluation.log_partition(dbn, method="ais", num_chains=500, betas=200)
    carried = evaluation.log_likelihood(dbn, x, log_partition=annealed, **options)
    assert carried.log_partition_se == annealed.se and abs(carried.value - float(expected.mean())) < 4 * carried.se
    elbo = evaluation.log_likelihood(dbn, x, method="elbo", num_particles=2000, log_partition=found)
    assert elbo.value + 0.05 < estimate.value


@pytest.mark.parametrize("sizes", SIZES)
def test_the_guide_recognises_layer_by_layer(sizes) -> None:
    """Catches an encoder that reads another layer than the one below it."""
    torch.manual_seed(2)
    dbn = asymmetric(*sizes)
    x, below = bit_vectors(sizes[0]), None
    states = [bit_vectors(size) for size in dbn.sizes[1:-1]]
    index = torch.cartesian_prod(*[torch.arange(len(each)) for each in states]).reshape(-1, len(states))
    latents = {
        site: each[index[:, layer]].unsqueeze(1).expand(-1, len(x), -1)
        for layer, (site, each) in enumerate(zip(dbn.latent_sites, states, strict=True))
    }
    with torch.no_grad(), inference.attach(log_partition=0.0):
        _, log_q = densities_at(dbn, x, latents)
        expected = torch.zeros_like(log_q)
        for layer, encoder in enumerate(dbn.encoders):
            table = bernoulli(encoder.logits.output, x if below is None else below, states[layer])
            chosen = index[:, layer]
            expected += table[:, chosen].T if below is None else table[index[:, layer - 1], chosen].unsqueeze(1)
            below = states[layer]
    testing.check_close(log_q, expected, "log q(z | x)")
    testing.check_close(log_q.logsumexp(0), torch.zeros(len(x)).double(), "log of the sum of q")


def test_two_layers_with_transposed_weights_are_one_machine() -> None:
    """Catches a top machine the wrong way round, or biases of the wrong layer."""
    torch.manual_seed(3)
    rbm = models.RBM.from_arrays(torch.randn(4, 3).double(), torch.randn(4).double(), torch.randn(3).double())
    dbn = models.DBN(4, (3, 4)).double()
    dbn.compose([rbm, dbn.layer_rbm(2, below=rbm)])
    x = bit_vectors(4)
    expected = evaluation.log_likelihood(rbm, x, method="exact").per_datum["log_likelihood"]
    np.testing.assert_allclose(log_p(dbn)[0].numpy(), expected, atol=1e-12)
    # The recognition network is then the exact posterior: every weight is p(x), whatever was drawn.
    with torch.no_grad(), inference.attach(log_partition=evaluation.log_partition(dbn, method="exact")):
        weights = inference.log_weights(dbn, x, num_particles=20).local
    np.testing.assert_allclose(weights.numpy(), np.broadcast_to(expected, (20, 16)), atol=1e-12)
    with torch.no_grad():
        dbn.top_bias.add_(0.1)
    assert np.abs(log_p(dbn)[0].numpy() - expected).max() > 1e-3


def test_the_guide_starts_tied_and_is_free_afterwards() -> None:
    """Catches recognition weights that are the generative ones, or that start without them."""
    dbn = models.DBN(5, (4, 3, 2))
    pairs = list(zip(dbn.decoders, dbn.encoders, strict=True))
    assert all(torch.equal(down.logits.output.weight.T, up.logits.output.weight) for down, up in pairs)
    shared = {down.logits.output.weight.data_ptr() for down, _ in pairs} & {
        up.logits.output.weight.data_ptr() for _, up in pairs
    }
    assert not shared and len(list(dbn.parameters())) == 11


@pytest.mark.parametrize("sizes", SIZES)
def test_draws_follow_the_model(sizes) -> None:
    """Catches draws that skip the machine or a layer."""
    torch.manual_seed(4)
    dbn = asymmetric(*sizes)
    with torch.no_grad(), dbn.running(), inference.attach(sampler="exact"):
        drawn = dbn.model(num_rows=20_000)
    testing.check_frequencies(state_index(drawn), log_p(dbn)[0].exp(), "data")
    chains = ppgen.sample(dbn, 50, sweeps=5, warmup_steps=20)
    assert chains.samples.shape == (50, sizes[0]) and chains.rhat is not None and chains.means is not None


def test_training_climbs_and_its_run_is_read_back(tmp_path) -> None:
    """Catches chains at the wrong layer, and a network that cannot be saved."""
    torch.manual_seed(5)
    rows = torch.rand(300, 4) < torch.linspace(0.2, 0.8, 4)
    x = torch.cat([rows, rows], -1).float()
    dbn = models.DBN(8, (6, 4))
    options = {"batch_size": 50, "epochs": 100, "lr": 0.01, "compile": False, "progress": False}
    run = ppgen.fit(dbn, x, inference.PCD(num_chains=50), folder=tmp_path / "run", **options)
    assert dbn.inference_state["z1.chains"].shape == (50, 6)
    after = evaluation.log_likelihood(run.pair, x, num_particles=500).value
    mean = x.mean(0)
    independent = float((mean * mean.log() + (1 - mean) * (1 - mean).log()).sum())
    assert after > independent + 0.5
    again = ppgen.load(tmp_path / "run")
    kinds = {"units": "bernoulli", "top_units": "bernoulli", "learn_variance": False}
    assert again.pair.config() == dbn.config() == {"visible": 8, "hidden": [6, 4], **kinds}
    assert evaluation.log_likelihood(again.pair, x, num_particles=500).value == pytest.approx(after)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: models.DBN(4, (3,)), "two layers or more.*models.RBM"),
        (lambda: models.DBN(0), "visible must be at least 1, got 0"),
        (lambda: models.DBN(4, (3, 0)), "each number in hidden must be at least 1"),
    ],
)
def test_wrong_sizes_are_named(make, message: str) -> None:
    """Catches a size that is found wrong only in training."""
    with pytest.raises(ValueError, match=message):
        make()
