"""Parzen windows against a Normal law, with their two controls."""

import math

import numpy as np
import pytest
import torch

from ppgen import datasets, evaluation, models
from ppgen.evaluation.samples.parzen import log_densities


def test_windows_are_a_density() -> None:
    """Catches a window of another variance, a sum in the place of a mean, and rows that chunks lose."""
    rows, centres = torch.randn(7, 3), torch.randn(5, 3)
    found = log_densities(rows, centres, [0.3, 1.1])
    for index, sd in enumerate((0.3, 1.1)):
        law = torch.distributions.Normal(centres, sd)
        expected = law.log_prob(rows[:, None]).sum(-1).logsumexp(-1) - math.log(5)
        torch.testing.assert_close(found[index], expected, atol=1e-4, rtol=1e-4)


def test_the_score_of_a_known_law(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a width chosen on the rows that are scored, controls made of them, and a chunk that changes the score."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3000, 1, generator=generator)
    draws = torch.randn(2000, 1, generator=generator)
    score = evaluation.parzen(draws, x[:1000], controls=x[1000:], num_samples=1500)
    entropy = -0.5 * math.log(2 * math.pi * math.e)
    for line in (score.model, score.real):
        assert line.value == pytest.approx(entropy, abs=4 * line.se + 0.02)
    assert (score.real.num_centres, score.centroids.num_centres, score.num_rows) == (1500, 360, 1000)
    assert score.model.se == pytest.approx(score.per_datum["model"].std(ddof=1) / math.sqrt(1000))
    monkeypatch.setattr("ppgen.evaluation.samples.parzen._BLOCK", 5_000)
    again = evaluation.parzen(draws, x[:1000], controls=x[1000:], num_samples=1500)
    assert again.model.value == pytest.approx(score.model.value, abs=1e-5)


def test_controls_and_words() -> None:
    """Catches a score that comes alone: centroids beat real rows, and the words say that this is no praise."""
    digits = datasets.load("digits")
    generator = models.Generator(features=64, latent=2, hidden=(8,))
    score = evaluation.parzen(generator, digits.test, num_samples=300, controls=digits.train, num_centroids=100)
    told = repr(score)
    assert all(line in told for line in ("model", "real rows", "k-means", "no praise", "no estimate of log p(x)"))
    assert score.model.value < score.real.value and "is not above that of real rows" in told
    edge = evaluation.parzen(generator, digits.test, num_samples=50, controls=digits.train, sds=(0.01, 0.02))
    assert edge.model.at_edge and "the end of those tried" in repr(edge)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"controls": np.zeros((9, 3))}, ValueError, "controls must have 2 features, got 3"),
        ({"controls": np.full((9, 2), np.nan)}, ValueError, "controls must be finite"),
        ({"controls": [1.0]}, TypeError, "controls must be a tensor"),
        ({"sds": ()}, TypeError, "sds must be a sequence"),
        ({"sds": (0.0,)}, ValueError, "each of sds must be positive"),
        ({"num_centroids": 50}, ValueError, "num_centroids must be at most 7"),
        ({"num_samples": 0}, ValueError, "num_samples"),
    ],
)
def test_refusals(given, error, message) -> None:
    """Catches bad rows and widths that would become a number."""
    options = {"controls": np.random.default_rng(0).random((9, 2)), **given}
    with pytest.raises(error, match=message):
        evaluation.parzen(np.random.default_rng(1).random((6, 2)), np.random.default_rng(2).random((5, 2)), **options)
