"""Gaussian-Bernoulli machines as the mixtures of Gaussians that they are."""

import itertools
import math

import numpy as np
import pytest
import torch

import ppgen
from ppgen import datasets, evaluation, inference, models, testing


def random_machine(visible: int, hidden: int, learn_variance: bool = False) -> models.GaussianRBM:
    torch.manual_seed(visible + hidden)
    machine = models.GaussianRBM(visible, hidden, learn_variance)
    with torch.no_grad():
        for parameter in machine.parameters():
            parameter.copy_(0.8 * torch.randn(parameter.shape))
    return machine.double()


def mixture(machine: models.GaussianRBM) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Weights, means, variances and log Z, with a loop over the hidden states."""
    a, c, weight = (each.detach().numpy() for each in (machine.visible_mean, machine.hidden_bias, machine.weight))
    variance = np.ones(len(a)) if machine.log_variance is None else np.exp(machine.log_variance.detach().numpy())
    means = [a + weight @ np.array(h) for h in itertools.product((0, 1), repeat=len(c))]
    logits = np.array([
        c @ np.array(h) + ((mean**2 - a**2) / (2 * variance)).sum()
        for h, mean in zip(itertools.product((0, 1), repeat=len(c)), means, strict=True)
    ])  # fmt: skip
    total = np.logaddexp.reduce(logits)
    log_z = total + 0.5 * np.log(2 * math.pi * variance).sum()
    return np.exp(logits - total), np.array(means), variance, log_z


@pytest.mark.parametrize("hidden", [1, 2, 3])
@pytest.mark.parametrize("learn_variance", [False, True])
def test_the_marginal_is_a_mixture_of_gaussians(hidden, learn_variance) -> None:
    """Catches a variance at the wrong power, a weight without |a + W h|^2, and a forgotten normaliser of the noise."""
    machine = random_machine(3, hidden, learn_variance)
    weights, means, variance, log_z = mixture(machine)
    assert evaluation.log_partition(machine).value == pytest.approx(log_z, abs=1e-10)
    x = torch.randn(7, 3, dtype=torch.float64)
    squares = ((x.numpy()[:, None] - means) ** 2 / variance).sum(-1)
    expected = np.log((weights * np.exp(-squares / 2)).sum(1)) - 0.5 * np.log(2 * math.pi * variance).sum()
    found = evaluation.log_likelihood(machine, x)
    assert found.kind == "exact"
    np.testing.assert_allclose(found.per_datum["log_likelihood"], expected, atol=1e-10)


@pytest.mark.parametrize("learn_variance", [False, True])
def test_the_mixture_as_a_distribution(learn_variance) -> None:
    """Catches components in another order than their weights, a scale that is a variance, a lost gradient."""
    machine = random_machine(3, 3, learn_variance)
    weights, means, variance, _ = mixture(machine)
    law = machine.mixture()
    np.testing.assert_allclose(law.mixture_distribution.probs.detach(), weights, atol=1e-12)
    np.testing.assert_allclose(law.component_distribution.mean.detach(), means, atol=1e-12)
    np.testing.assert_allclose(law.component_distribution.variance[0].detach(), variance, atol=1e-12)
    x = torch.randn(9, 3, dtype=torch.float64)
    exact = evaluation.log_likelihood(machine, x)
    np.testing.assert_allclose(law.log_prob(x).detach(), exact.per_datum["log_likelihood"], atol=1e-10)
    values = machine.machine().free_energy(x)
    partition = machine.machine().exact_log_partition()
    for found, expected in zip(
        torch.autograd.grad(law.log_prob(x).sum(), list(machine.parameters())),
        torch.autograd.grad((-values - partition).sum(), list(machine.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(found, expected)


def test_two_units_make_a_parallelogram() -> None:
    """Catches means that do not share the columns of W, and units whose weights are independent of each other."""
    machine = random_machine(2, 2)
    law = machine.mixture()
    none, second, first, both = law.component_distribution.mean.detach()
    torch.testing.assert_close(first - none, machine.weight[:, 0].detach())
    torch.testing.assert_close(both - second, first - none)
    log_weights = law.mixture_distribution.logits.detach()
    # The columns' scalar product is what the two units gain by being on together.
    gained = log_weights[3] - log_weights[2] - log_weights[1] + log_weights[0]
    torch.testing.assert_close(gained, (machine.weight[:, 0] * machine.weight[:, 1]).sum().detach())


def test_a_mixture_of_too_many_components_raises() -> None:
    """Catches a machine of forty units that fills the memory."""
    with pytest.raises(ValueError, match=r"2\^40 components, more than max_states=65536.*evaluation.log_partition"):
        models.GaussianRBM(3, 40).mixture()
    with pytest.raises(ValueError, match="max_states=4"):
        models.GaussianRBM(3, 3).mixture(max_states=4)


def test_chains_draw_from_the_mixture() -> None:
    """Catches noise of the wrong size, and hidden units that see v where they should see v / sigma^2."""
    machine = random_machine(2, 2, learn_variance=True)
    weights, means, variance, _ = mixture(machine)
    drawn = ppgen.sample(machine, 20_000, num_chains=20_000, warmup_steps=200, sweeps=1)
    expected = torch.tensor(weights @ means)
    testing.check_mean(drawn.samples, expected, "mean of the draws")
    spread = torch.tensor(weights @ (means - weights @ means) ** 2 + variance)
    testing.check_mean((drawn.samples - expected).square(), spread, "variance of the draws")


def test_annealing_agrees_with_the_sum() -> None:
    """Catches a base model whose variance is not that of the units."""
    machine = random_machine(5, 4, learn_variance=True)
    truth = evaluation.log_partition(machine).value
    found = evaluation.log_partition(machine, method="sandwich", num_chains=500, betas=200)
    for side in (found.lower, found.upper):
        assert abs(side.value - truth) < 4 * side.se
    assert found.lower.se < 0.1


def test_training_finds_the_clusters() -> None:
    """Catches a sign of the means that the gradient hides, and a default that does not learn.

    Four clusters on a parallelogram are exactly a machine of two hidden units.
    """
    torch.manual_seed(0)
    bits = (torch.rand(1000, 2) < torch.tensor([0.4, 0.6])).float()
    corners = torch.tensor([[4.0, -0.5], [0.5, 4.0]])
    x = bits @ corners.T + torch.randn(1000, 2)
    truth = models.GaussianRBM(2, 2)
    with torch.no_grad():
        truth.weight.copy_(corners)
        truth.visible_mean.zero_()
        logits = torch.logit(torch.tensor([0.4, 0.6]))
        truth.hidden_bias.copy_(logits - corners.square().sum(0) / 2)  # the columns are orthogonal
    machine = models.GaussianRBM(2, 2)
    options = {"epochs": 40, "batch_size": 50, "lr": 0.05, "compile": False, "progress": False}
    ppgen.fit(machine, x, inference.ExactPartition(), **options)
    found, expected = (evaluation.log_likelihood(each, x).value for each in (machine, truth))
    gaussian = -0.5 * float(torch.logdet(torch.cov(x.T))) - 1 - math.log(2 * math.pi)
    assert expected > gaussian + 0.3  # which one Gaussian does not reach
    assert found > expected - 0.02


def test_learned_variances_beat_independent_units() -> None:
    """Catches variances that grow without bound, or stay where they started."""
    data = datasets.load("digits")
    machine = models.GaussianRBM(64, 10, learn_variance=True)
    run = ppgen.fit(machine, data, epochs=6, compile=False, progress=False)
    variance = data.train.var(0).clamp(min=data.train.var(0).mean() / 100)
    squares = (data.test - data.mean).square() / variance + (2 * math.pi * variance).log()
    independent = -0.5 * float(squares.sum(1).mean())
    assert evaluation.log_likelihood(run.pair, data.test).value > independent + 1


def test_a_run_is_read_back(tmp_path) -> None:
    """Catches means and variances that are not saved, or are initialised again over loaded ones."""
    data = datasets.load("digits")
    machine = models.GaussianRBM(64, 6, learn_variance=True)
    ppgen.fit(machine, data, epochs=1, folder=tmp_path / "run", compile=False, progress=False)
    again = ppgen.load(tmp_path / "run").pair
    values = [evaluation.log_likelihood(each, data.test).value for each in (machine, again)]
    assert values[0] == pytest.approx(values[1])
    drawn = ppgen.sample(again, 7, sweeps=5, warmup_steps=5)
    assert drawn.samples.shape == (7, 64) and bool(drawn.samples.isfinite().all())


def test_initialisation_from_data() -> None:
    """Catches variances of the training set that overwrite trained ones, and a constant pixel of variance zero."""
    data = datasets.load("digits")
    machine = models.GaussianRBM(64, 2, learn_variance=True)
    machine.initialise(data)
    torch.testing.assert_close(machine.visible_mean.detach(), data.mean)
    variance = data.train.var(0, unbiased=False)
    variance = variance.clamp(min=variance.mean() / 100) / 2
    torch.testing.assert_close(machine.log_variance.detach().exp(), variance, rtol=1e-3, atol=1e-6)
    before = machine.log_variance.detach().clone()
    machine.initialise(datasets.load("digits", binarize="threshold"))
    assert torch.equal(before, machine.log_variance)


def test_errors() -> None:
    """Catches values that are no numbers, and flags that are no flags."""
    with pytest.raises(TypeError, match="learn_variance must be True or False, got 1"):
        models.GaussianRBM(3, 2, learn_variance=1)
    with pytest.raises(ValueError, match="hidden must be at least 1"):
        models.GaussianRBM(3, 0)
    x = torch.zeros(5, 3)
    x[2, 1] = float("nan")
    with pytest.raises(ValueError, match="finite"):
        ppgen.fit(models.GaussianRBM(3, 2), x, epochs=1, progress=False)
    with pytest.raises(ValueError, match="must have 4 features"):
        ppgen.fit(models.GaussianRBM(4, 2), torch.zeros(5, 3), epochs=1, progress=False)
