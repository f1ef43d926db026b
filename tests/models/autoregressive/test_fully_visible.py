"""Fully visible belief nets."""

import pytest
import torch

import ppgen
from ppgen import evaluation, models


def test_logistic_regressions() -> None:
    """Catches a likelihood that is not the sum of the bits' logistic regressions."""
    model = models.FullyVisibleBeliefNet(3)
    with torch.no_grad():
        model.network.weight.normal_()
        model.network.bias.normal_()
    x = torch.tensor([[1.0, 0.0, 1.0]])
    weight, bias = model.network.weight[0].detach(), model.network.bias[:, 0].detach()
    logits = torch.stack([bias[0], bias[1] + weight[1, 0], bias[2] + weight[2, 0]])
    expected = -torch.nn.functional.binary_cross_entropy_with_logits(logits, x[0], reduction="sum")
    found = evaluation.log_likelihood(model, x, method="exact")
    assert found.kind == "exact" and float(found) == pytest.approx(float(expected), rel=1e-5)


def test_bad_rows_are_named() -> None:
    """Catches rows of another width, or grey ones, that are trained on."""
    model = models.FullyVisibleBeliefNet(3)
    with pytest.raises(ValueError, match="3 features"):
        ppgen.fit(model, torch.ones(8, 4), epochs=1, seed=0)
    with pytest.raises(ValueError, match="bits, 0 or 1"):
        ppgen.fit(model, torch.full((8, 3), 0.5), epochs=1, seed=0)
