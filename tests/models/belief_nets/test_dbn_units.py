"""Networks of real values and of documents, and linear codes on top, against sums and integrals."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

import ppgen
from ppgen import evaluation, inference, models, testing, training
from ppgen.testing.examples import bit_vectors, densities_at, state_index

GRID = torch.linspace(-12, 12, 241, dtype=torch.float64)  # of each code unit: the trapezoid rule is exact to 1e-12


def spread(pair: ppgen.GenerativeModel, scale: float = 0.8) -> ppgen.GenerativeModel:
    """The model with weights that are not symmetric, in double precision."""
    with torch.no_grad():
        for parameter in pair.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape) - 0.1)
    return pair.double()


def log_integral(bias: Tensor, hidden_bias: Tensor, weight: Tensor) -> Tensor:
    """log of the integral over two real units of exp(-E(z, h)), for every z, by a grid: (states,)."""
    z = bit_vectors(len(bias))
    h = torch.cartesian_prod(GRID, GRID)
    minus_energy = (z @ weight) @ h.T + h @ hidden_bias - h.square().sum(-1) / 2
    step = float(GRID[1] - GRID[0])
    return z @ bias + minus_energy.logsumexp(1) + 2 * math.log(step)


@torch.no_grad()
def test_a_machine_of_real_hidden_units_is_its_integral() -> None:
    """Catches a variance other than 1, a bias that is squared alone, and annealing that heats the real units up."""
    torch.manual_seed(0)
    rbm = spread(models.RBM(5, 2, hidden_units="gaussian"))
    x = bit_vectors(5)
    minus_free = log_integral(rbm.visible_bias, rbm.hidden_bias, rbm.weight)
    found = evaluation.log_likelihood(rbm, x, method="exact")
    np.testing.assert_allclose(found.per_datum["log_likelihood"], minus_free.log_softmax(0).numpy(), atol=1e-9)
    exact, ais = (evaluation.log_partition(rbm, method=each, num_chains=200, betas=100) for each in ("exact", "ais"))
    assert exact.value == pytest.approx(float(minus_free.logsumexp(0)), abs=1e-9)
    assert abs(ais.value - exact.value) < 4 * ais.se
    # The posterior is normal about the linear code.
    law = rbm.machine().conditional("hidden", given=x)
    testing.check_close(law.mean, x @ rbm.weight + rbm.hidden_bias, "code")
    testing.check_close(law.variance, torch.ones(32, 2).double(), "variance of the code")
    testing.check_close(rbm.hidden_means(x), law.mean, "hidden means")
    same = models.RBM.from_arrays(rbm.weight, rbm.visible_bias, rbm.hidden_bias, hidden_units="gaussian")
    assert torch.equal(same.hidden_means(x), rbm.hidden_means(x))
    with pytest.raises(ValueError, match="hidden units are real"):
        rbm.recognition_layers()


def data_of(units: str) -> Tensor:
    """Every row of bits, documents of three ordered words, or some real rows: three variables."""
    if units == "bernoulli":
        return bit_vectors(3)
    if units == "gaussian":
        return torch.randn(6, 3, dtype=torch.float64)
    words = torch.cartesian_prod(*[torch.arange(3)] * 3)
    return torch.nn.functional.one_hot(words, 3).sum(1).double()


def log_visible(dbn: models.DBN, z: Tensor, x: Tensor) -> Tensor:
    """log p(x | z) of every z and x, written anew: (states, rows)."""
    linear = dbn.decoders[0].linear
    output = (z @ linear.weight.T + linear.bias).unsqueeze(1)
    if dbn.units == "bernoulli":
        return torch.nn.functional.logsigmoid(torch.where(x == 1, output, -output)).sum(-1)
    if dbn.units == "multinomial":
        return (x * output.log_softmax(-1)).sum(-1)
    variance = torch.ones(3).double() if dbn.log_variance is None else dbn.log_variance.exp()
    return (-(x - output).square() / variance / 2 - (2 * math.pi * variance).log() / 2).sum(-1)


CASES = [
    ("bernoulli", "gaussian", False),
    ("gaussian", "bernoulli", True),
    ("gaussian", "gaussian", False),
    ("multinomial", "bernoulli", False),
    ("multinomial", "gaussian", False),
]


@pytest.mark.parametrize(("units", "top", "learned"), CASES)
def test_likelihood_and_guide_agree_with_sums(units: str, top: str, learned: bool) -> None:
    """Catches a law of the data with another length, scale or coefficient, and a code that is not integrated out."""
    torch.manual_seed(1)
    dbn = spread(models.DBN(3, (4, 2), units, top, learned))
    x, z = data_of(units), bit_vectors(4)
    with torch.no_grad():
        for parameter in dbn.encoders.parameters():  # a wide guide, whose weights have a small spread
            parameter.mul_(0.1)
        if top == "gaussian":
            machine = log_integral(dbn.top_bias, dbn.top_hidden_bias, dbn.top_weight)
        else:
            heard = z @ dbn.top_weight + dbn.top_hidden_bias
            machine = z @ dbn.top_bias + torch.nn.functional.softplus(heard).sum(-1)
        expected = (machine.log_softmax(0).unsqueeze(1) + log_visible(dbn, z, x)).logsumexp(0)
        partition = evaluation.log_partition(dbn, method="exact")
        assert partition.value == pytest.approx(float(machine.logsumexp(0)), abs=1e-9)
        latents = {"z1": z.unsqueeze(1).expand(-1, len(x), -1)}
        with inference.attach(log_partition=partition):
            log_weights, log_q = densities_at(dbn, x, latents)
        testing.check_close((log_weights + log_q).logsumexp(0), expected, "log p(x)")
        testing.check_close(log_q.logsumexp(0), torch.zeros(len(x)).double(), "log of the sum of q")
        # The recognition hears counts with a bias for each word, and values as they are.
        encoder = dbn.encoders[0].linear
        times = x.sum(-1, keepdim=True) if units == "multinomial" else 1.0
        means = torch.sigmoid(x @ encoder.weight.T + times * encoder.bias)
        testing.check_close(log_q.exp().T @ z, means, "mean of q")
    if units != "gaussian":
        testing.check_close(expected.logsumexp(0), torch.zeros(()).double(), "log of the sum of p(x)")
    estimate = evaluation.log_likelihood(dbn, x, num_particles=2000, log_partition=partition)
    assert (np.abs(estimate.per_datum["log_likelihood"] - expected.numpy()) <= 4.5 * estimate.per_datum["se"]).all()
    annealed = evaluation.log_partition(dbn, method="ais", num_chains=200, betas=100)
    assert abs(annealed.value - partition.value) < 4 * annealed.se


def test_draws_follow_a_network_with_a_linear_code() -> None:
    """Catches draws of documents of another length than those of the data, and chains that cannot hold real units."""
    torch.manual_seed(2)
    dbn = spread(models.DBN(3, (4, 2), "multinomial", "gaussian"))
    dbn.decoders[0].mean_length.fill_(3.0)
    z = bit_vectors(4)
    with torch.no_grad(), dbn.running(), inference.attach(sampler="exact"):
        drawn = dbn.model(num_rows=20_000)
        law = log_integral(dbn.top_bias, dbn.top_hidden_bias, dbn.top_weight).softmax(0)
        linear = dbn.decoders[0].linear
        expected = 3 * law @ (z @ linear.weight.T + linear.bias).softmax(-1)
    assert bool((drawn.sum(-1) == 3).all())
    testing.check_close(drawn.mean(0), expected, "mean counts", atol=4 * 3 / 2 / math.sqrt(20_000))
    bits = spread(models.DBN(3, (3, 2), top_units="gaussian"))
    with torch.no_grad(), bits.running(), inference.attach(sampler="exact"):
        drawn = bits.model(num_rows=20_000)
        law = log_integral(bits.top_bias, bits.top_hidden_bias, bits.top_weight).log_softmax(0).unsqueeze(1)
        expected = (law + log_visible(bits, bit_vectors(3), bit_vectors(3))).logsumexp(0).exp()
    testing.check_frequencies(state_index(drawn), expected, "data")
    assert ppgen.sample(bits, 20, sweeps=3, warmup_steps=10).samples.shape == (20, 3)


def test_a_tied_linear_code_is_one_gaussian_machine() -> None:
    """Catches exchanged biases of means that are taken for those of bits, and a layer that changes the model."""
    torch.manual_seed(3)
    below = spread(models.GaussianRBM(3, 4))
    dbn = models.DBN(3, (4, 3), "gaussian", "gaussian").double()
    dbn.compose([below, dbn.layer_rbm(2, below)])
    x = torch.randn(6, 3, dtype=torch.float64)
    expected = evaluation.log_likelihood(below, x, method="exact").per_datum["log_likelihood"]
    with torch.no_grad(), inference.attach(log_partition=evaluation.log_partition(dbn, method="exact")):
        weights = inference.log_weights(dbn, x, num_particles=10).local
    np.testing.assert_allclose(weights.numpy(), np.broadcast_to(expected, (10, 6)), atol=1e-9)
    # With other units on top, or variances of their own, it starts at random.
    assert not models.DBN(3, (4, 3), "gaussian").layer_rbm(2, below).has_given_weights
    learned = models.DBN(3, (4, 3), "gaussian", "gaussian", True)
    assert not learned.layer_rbm(2, learned.layer_rbm(1)).has_given_weights


@pytest.mark.parametrize(("units", "top", "learned"), CASES)
def test_greedy_training_of_other_units(units: str, top: str, learned: bool) -> None:
    """Catches a lowest machine of bits, a bound of documents of one length, and weights of a machine left behind."""
    torch.manual_seed(4)
    x = data_of(units).float()
    x = x.repeat(9, 1) if units != "gaussian" else 2 + torch.randn(160, 3)
    dbn = models.DBN(3, (4, 3, 2), units, top, learned)
    options = {"epochs": 2, "lr": (0.01, 0.01, 0.001), "num_particles": 20, "compile": False, "progress": False}
    found = training.pretrain(dbn, x, activities="mean", **options)
    kinds = {"bernoulli": models.RBM, "gaussian": models.GaussianRBM, "multinomial": models.ReplicatedSoftmax}
    first, second, last = (run.pair for run in found.runs)
    assert type(first) is kinds[units] and second.hidden_units == "bernoulli" and last.hidden_units == top
    assert [bound.layer for bound in found.bounds] == ([2, 3] if units == "multinomial" else [1, 2, 3])
    assert [run.config["training"]["lr"] for run in found.runs] == [0.01, 0.01, 0.001]
    with torch.no_grad():
        means = dbn.encoders[0](x).mean
        testing.check_close(means, first.hidden_means(x), "recognition of the lowest layer", atol=1e-6)
    bias = first.visible_mean if units == "gaussian" else first.visible_bias
    assert torch.equal(dbn.decoders[0].linear.bias, bias)
    if units == "multinomial":
        assert dbn.decoders[0].typical_length == 3
    if learned:
        assert torch.equal(dbn.log_variance, first.log_variance)


def test_training_of_the_whole_starts_from_the_data() -> None:
    """Catches a network of documents or values that starts at means of zero, and a traced step without lengths."""
    torch.manual_seed(5)
    counts = torch.poisson(torch.tensor([[4.0, 1.0, 0.2]]).expand(80, 3)) + torch.eye(3)[torch.arange(80) % 3]
    for units, x, start in (
        ("multinomial", counts, (counts.sum(0) / counts.sum()).log()),
        ("gaussian", 1 + torch.randn(80, 3), None),
    ):
        dbn = models.DBN(3, (3, 2), units, "gaussian")
        ppgen.fit(dbn, x, epochs=1, lr=1e-9, compile=True, progress=False)
        bias = dbn.decoders[0].linear.bias.detach()
        testing.check_close(bias, x.mean(0) if start is None else start, "bias of the visible units", atol=1e-5)
    assert dbn.config()["top_units"] == "gaussian"
    with pytest.warns(UserWarning, match="learn_variance=True"):
        ppgen.fit(models.DBN(3, (3, 2), "gaussian"), 100 * torch.randn(50, 3), epochs=1, compile=False, progress=False)


def test_what_does_not_apply_is_refused_in_words() -> None:
    """Catches kinds of units that are taken for another, and half documents."""
    counts = torch.ones(4, 3)
    for make, error, message in (
        (lambda: models.DBN(3, (3, 2), "poisson"), ValueError, 'units must be "bernoulli", "gaussian" or "multi'),
        (lambda: models.DBN(3, (3, 2), top_units="multinomial"), ValueError, 'top_units must be "bernoulli" or "gauss'),
        (lambda: models.RBM(3, 2, hidden_units="relu"), ValueError, 'hidden_units must be "bernoulli" or "gaussian"'),
        (lambda: models.DBN(3, (3, 2), learn_variance=True), ValueError, 'learn_variance needs units="gaussian"'),
        (lambda: models.DBN(3, (3, 2), learn_variance=1), TypeError, "True or False"),
        (lambda: models.DBN(3, (3, 2), "multinomial").recognition_layers(), ValueError, "once for each word.*unroll"),
        (lambda: models.DBN(3, (3, 2), top_units="gaussian").recognition_layers(), ValueError, "uppermost units are r"),
        (
            lambda: ppgen.fit(models.DBN(3, (3, 2), "multinomial"), counts / 2, epochs=1, progress=False),
            ValueError,
            "whole counts of words",
        ),
        (
            lambda: training.pretrain(models.DBN(3, (3, 2), "multinomial"), counts, "pcd", epochs=1, progress=False),
            ValueError,
            "inference.CD",
        ),
    ):
        with pytest.raises(error, match=message):
            make()
