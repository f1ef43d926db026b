"""Diagnostics of semi-supervised models, held against one whose q(y | x) and q(z | x, y) are the exact posteriors."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import ppgen
from ppgen import diagnostics, inference, models

CLASSES, NOISE = 3, 0.5


def exact(width: float = 1.0, evenness: float = 1.0) -> models.SemiSupervisedVAE:
    """x = m_y + w z + noise: three classes around means, of which classes and styles have their exact laws.

    Args:
        width: Factor of the standard deviation of q(z | x, y).
        evenness: Factor of the logits of q(y | x).
    """
    ssvae = models.SemiSupervisedVAE(2, CLASSES, latent=1, hidden=(), likelihood="gaussian")
    means, weight = torch.tensor([[1.0, 0.0], [-0.6, 0.8], [-0.4, -0.8]]), torch.tensor([0.7, 0.4])
    precision = torch.linalg.inv(NOISE**2 * torch.eye(2) + torch.outer(weight, weight))
    total = NOISE**2 + weight.square().sum()
    found = weight / total
    values = {
        ssvae.decoder.loc[0]: (torch.cat([means.T, weight[:, None]], 1), torch.zeros(2)),
        ssvae.decoder.log_scale[0]: (torch.zeros(2, 4), torch.full((2,), math.log(NOISE))),
        ssvae.encoder.loc[0]: (torch.cat([found, -means @ found])[None], torch.zeros(1)),
        ssvae.encoder.log_scale[0]: (torch.zeros(1, 5), (width * NOISE / total.sqrt()).log().reshape(1)),
        ssvae.classifier[0]: (
            evenness * means @ precision,
            -evenness * torch.einsum("yi,ij,yj->y", means, precision, means) / 2,
        ),
    }
    with torch.no_grad():
        for layer, (matrix, bias) in values.items():
            layer.weight.copy_(matrix)
            layer.bias.copy_(bias)
    return ssvae


def rows(told: int) -> tuple[Tensor, Tensor]:
    """Rows, of which the first `told` of eight have labels, that are none of the rows' classes."""
    y = torch.arange(8) % CLASSES
    return torch.zeros(8, 2), torch.where(torch.arange(8) < told, y, -1)


@pytest.mark.parametrize("told", [0, 4, 8])
def test_exact_laws_have_equal_weights_and_uniform_ranks(told: int):
    """Catches labels of other rows beside simulated ones, and classes of labelled rows that are drawn."""
    ssvae = exact()
    torch.manual_seed(1)
    drawn = (2 * torch.randn(8, 2), rows(told)[1])
    weights = inference.log_weights(ssvae, drawn, 50).local.detach()
    assert float(weights.std(0).max()) < 1e-4
    assert diagnostics.importance_weights(ssvae, drawn, num_particles=200).dataset.pareto_k.max() < 0.7
    for pair in (ssvae, ppgen.Pair(ssvae.model, ssvae.guide)):
        assert diagnostics.simulation_based_calibration(pair, num_simulations=600, x=rows(told)).calibrated


@pytest.mark.parametrize(
    ("make", "told", "failing"),
    [
        (lambda: exact(width=0.6), 8, {"z"}),
        (lambda: exact(width=0.6), 0, {"z"}),
        (lambda: exact(evenness=2.5), 0, {"log_joint", "log_likelihood"}),
        (lambda: exact(evenness=2.5), 8, set()),
    ],
)
def test_wrong_laws_are_found_where_they_are_used(make: Callable[[], Any], told: int, failing: set[str]):
    """Catches a class that is too sure and passes, and one blamed where labels tell it."""
    found = diagnostics.simulation_based_calibration(make(), num_simulations=600, x=rows(told))
    assert found.calibrated == (not failing)
    text = str(found)
    assert all(f"{name}: all" not in text and f"{name}: uniform" not in text for name in failing)


def test_the_check_compares_labelled_rows_with_no_law_of_rows_alone():
    """Catches log p(x, y) held against independent features of x, which lack the label's nats."""
    ssvae, told = exact(), rows(8)
    assert "independent features" not in str(diagnostics.check(ssvae, told))
    assert "independent features" in str(diagnostics.check(ssvae, torch.randn(8, 2)))
