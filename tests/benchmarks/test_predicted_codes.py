"""Benchmarks of predicted codes and of few labels: the features that are compared, and what is chosen by what."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from benchmarks.codes import digit_features, few_labels, psd
from ppgen import models


def test_pooled_features_are_those_of_each_patch() -> None:
    """Sees means or deviations of the wrong pixels, a biased variance, and negative responses that are lost."""
    images = torch.rand(3, 28 * 28)
    images[2] = 0.3  # a deviation of zero
    found = digit_features.PatchFeatures(torch.randn(6, 1, 5, 5), torch.randn(6))
    cut = functional.unfold(images.view(-1, 1, 28, 28), 5).mT  # (images, places, pixels)
    normal = (cut - cut.mean(-1, keepdim=True)) / (cut.var(-1, keepdim=True) + digit_features.EPS).sqrt()
    response = (normal @ found.filters.flatten(1).mT - found.offset).mT.unflatten(-1, (24, 24))
    both = torch.cat([(response - 0.2).clamp(min=0), (-response - 0.2).clamp(min=0)], 1)
    cells = both.unflatten(-1, (4, 6)).unflatten(-3, (4, 6)).mean((-1, -3))
    np.testing.assert_allclose(found(images, 0.2, 4), cells.flatten(1), atol=2e-4)


def test_heads_are_trained_on_training_rows_and_chosen_on_validation_rows() -> None:
    """Sees labels of other rows, and a choice by the errors on what was trained on."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 300)
    features = np.eye(3, dtype=np.float32)[labels] + 0.1 * generator.random((300, 3), dtype=np.float32)
    labels[200:] = (labels[200:] + 1) % 3  # whoever is tested there is wrong
    train, valid, test = slice(0, 100), slice(100, 200), slice(200, 300)
    best = few_labels.chosen(features, labels, train, valid)
    assert best["validation"] == 0
    (error,) = few_labels._errors(features, labels, train, test, best["power"], [(best["width"], best["cost"])])
    assert error == 100


def test_objectives_and_the_better_training_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Sees a gap chosen by the test patches, and an objective with half of the penalty."""
    dictionary, rows = torch.eye(2), np.array([[2.0, 0.0]])
    np.testing.assert_allclose(psd.objective(rows, dictionary, np.array([[1.0, -1.0]]), 2.0), [6.0])
    shared = {"gap": 1.0, "milliseconds": 1.0, "speed": 9.0}
    found = {
        "rows": [
            {"encoder": encoder, "match": match, "validation gap": gap, **shared}
            for encoder in psd.ENCODERS
            for match, gap in (("codes", 2.0), ("objective", 3.0))
        ]
    }
    assert psd.summary(found).count("matched to codes") == len(psd.ENCODERS)


def test_encoders_are_timed_beside_coordinate_descent() -> None:
    """Sees a ratio turned upside down."""
    model = models.PredictiveSparseDecomposition(9, 9, 0.5, "soft threshold")
    rows = np.random.default_rng(0).standard_normal((300, 9), dtype=np.float32)
    timed = psd.speed(model, torch.eye(9), rows, {"penalty": 0.5, "pairs": 3})
    assert timed["speed"] > 1
    assert timed["lasso_cd milliseconds"] > timed["milliseconds"] > 0
