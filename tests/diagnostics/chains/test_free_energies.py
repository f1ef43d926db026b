"""Free energies of data and chains against enumeration, overfitting and chains that stick."""

import numpy as np
import pytest
import torch
from test_convergence import two_modes

import ppgen
from ppgen import diagnostics, inference, models

SIGMAS = 4  # standard errors


def small() -> models.RBM:
    """A machine small enough to enumerate."""
    rng = np.random.default_rng(0)
    return models.RBM.from_arrays(rng.normal(size=(6, 4)), rng.normal(size=6), rng.normal(size=4))


def enumerated(rbm: models.RBM) -> tuple[torch.Tensor, torch.Tensor]:
    """Free energies of all visible states, and their probabilities."""
    states = torch.tensor([[index >> bit & 1 for bit in range(6)] for index in range(64)], dtype=torch.float64)
    free = rbm.machine().free_energy(states).detach()
    return free, (-free).softmax(0)


def test_means_are_those_of_enumeration() -> None:
    """Catches free energies of the wrong sign or side, chains of another law, and errors that are too small."""
    rbm = small()
    x = torch.bernoulli(torch.full((50, 6), 0.4), generator=torch.Generator().manual_seed(1))
    found = diagnostics.free_energies(rbm, x, num_samples=4000, num_chains=100, sweeps=5)
    assert found.means["train"] == pytest.approx(float(rbm.machine().free_energy(x.double()).detach().mean()), abs=1e-4)
    free, probability = enumerated(rbm)
    expected = float((free * probability).sum())
    assert abs(found.means["chains"] - expected) < SIGMAS * found.errors["chains"]
    spread = float(((free - expected).square() * probability).sum().sqrt())
    assert found.errors["chains"] == pytest.approx(spread / np.sqrt(4000), rel=0.25)
    assert found.rhat < 1.01


def test_errors_know_that_draws_of_a_chain_depend() -> None:
    """Catches an error of the mean that counts correlated draws as independent."""
    weights = 3.5 * np.ones((4, 3))
    rbm = models.RBM.from_arrays(weights, -weights.sum(1) / 2 - 0.4, -weights.sum(0) / 2)
    x = torch.eye(4)
    values = [
        diagnostics.free_energies(rbm, x, num_samples=600, num_chains=20, sweeps=1, seed=seed) for seed in range(20)
    ]
    means = np.array([each.means["chains"] for each in values])
    claimed = np.sqrt(np.mean([each.errors["chains"] ** 2 for each in values]))
    independent = np.mean([float(each.values["chains"].std()) for each in values]) / np.sqrt(600)
    assert claimed > 1.3 * independent
    # The sd of 20 means has a relative error of 1 / sqrt(38).
    assert means.std(ddof=1) < claimed * (1 + SIGMAS / np.sqrt(38))


def test_overfitting_is_told() -> None:
    """Catches a gap of the wrong sign: a machine that knows forty rows by heart."""
    generator = torch.Generator().manual_seed(0)
    x = torch.bernoulli(torch.full((80, 20), 0.5), generator=generator)
    rbm = models.RBM(visible=20, hidden=60)
    ppgen.fit(rbm, x[:40], inference.PCD(), epochs=300, batch_size=20, lr=0.1, progress=False, compile=False)
    found = diagnostics.free_energies(rbm, x[:40], x[40:], num_samples=0)
    assert found.gap[0] > 1 and any("by heart" in each for each in found.warnings)
    assert "chains" not in found.values and found.rhat is None


def test_chains_that_stick_are_told() -> None:
    """Catches an R-hat that is carried along and not looked at."""
    weights = 6.0 * np.ones((4, 3))
    uneven = models.RBM.from_arrays(weights, -weights.sum(1) / 2 - 0.5, -weights.sum(0) / 2)
    uneven.inference_state = {"hidden.chains": torch.tensor([[0.0] * 4, [1.0] * 4]).repeat(10, 1)}
    found = diagnostics.free_energies(uneven, torch.zeros(10, 4), num_samples=400, sweeps=1)
    assert found.rhat > 1.01 and any("do not mix" in each for each in found.warnings)


def test_part_of_the_rows() -> None:
    """Catches rows that are drawn twice, or a limit that is ignored."""
    x = torch.bernoulli(torch.full((300, 6), 0.5), generator=torch.Generator().manual_seed(0))
    found = diagnostics.free_energies(small(), x, max_rows=100, num_samples=0)
    every = diagnostics.free_energies(small(), x, num_samples=0)
    assert found.values["train"].size == 100 and every.values["train"].size == 300
    assert abs(found.means["train"] - every.means["train"]) < SIGMAS * found.errors["train"]


@pytest.mark.parametrize(
    ("pair", "arguments", "words"),
    [
        (models.VAE(features=6, latent=2, hidden=(4,)), {}, "no Boltzmann machine"),
        (two_modes(), {"num_samples": -1}, "num_samples must be"),
        (two_modes(), {"max_rows": 0}, "max_rows must be"),
    ],
)
def test_wrong_input(pair: object, arguments: dict, words: str) -> None:
    """Catches a directed model or a senseless number that fails deep inside."""
    x = torch.ones(5, 6) if isinstance(pair, models.VAE) else torch.ones(5, 4)
    with pytest.raises(ValueError, match=words):
        diagnostics.free_energies(pair, x, **arguments)


def test_documents_of_unequal_length_are_refused() -> None:
    """Catches free energies that are compared across rows with a log Z each."""
    with pytest.raises(ValueError, match="log Z of its own"):
        diagnostics.free_energies(models.ReplicatedSoftmax(vocabulary=5, hidden=3), torch.tensor([[1.0, 2, 0, 0, 1]]))


def test_figure_has_an_outline_each() -> None:
    """Catches a figure without the chains, or without their R-hat."""
    found = diagnostics.free_energies(small(), torch.eye(6), torch.ones(3, 6), num_samples=100)
    axes = diagnostics.figures.free_energy_histogram(found).axes[0]
    labels = [text.get_text().partition(",")[0] for text in axes.get_legend().get_texts()]
    assert labels == ["training data", "held-out data", "chains of the model"]
    assert "R-hat" in axes.get_title("left")
