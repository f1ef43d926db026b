"""Moment matching against enumeration: two laws of eight states, all samples of two of each."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from ppgen import inference

STATES = torch.tensor([0.0, 0.4, 1.0, 1.1, 2.0, 2.5, 3.5, 5.0], dtype=torch.float64)[:, None]
P = torch.tensor([0.2, 0.05, 0.15, 0.1, 0.2, 0.1, 0.15, 0.05], dtype=torch.float64)
Q = torch.tensor([0.05, 0.3, 0.05, 0.1, 0.05, 0.1, 0.05, 0.3], dtype=torch.float64)
WIDTHS = (0.3, 2.0)


def kernel() -> Tensor:
    """exp(-d^2 / (2 s)), summed over s, written out."""
    return torch.tensor(
        [[sum(math.exp(-((a - b) ** 2) / (2 * s)) for s in WIDTHS) for b in STATES[:, 0]] for a in STATES[:, 0]],
        dtype=torch.float64,
    )


def samples() -> tuple[Tensor, Tensor, Tensor]:
    """All samples of two data and two draws, (4096, 2, 1) each, and their probabilities."""
    index = torch.tensor(list(itertools.product(range(8), repeat=4)))
    weights = P[index[:, 0]] * P[index[:, 1]] * Q[index[:, 2]] * Q[index[:, 3]]
    return STATES[index[:, :2]], STATES[index[:, 2:]], weights


def test_discrepancy_by_enumeration() -> None:
    """Catches a bandwidth taken for a length, a mean of kernels, and an estimate without root that is biased."""
    truth = (P - Q) @ kernel() @ (P - Q)
    unbiased = inference.MaximumMeanDiscrepancy(WIDTHS, root=False)
    rooted = inference.MaximumMeanDiscrepancy(WIDTHS)
    x, y, weights = samples()
    values = torch.vmap(lambda a, b: unbiased.distance(b, a, {}))(x, y)
    assert float(weights @ values) == pytest.approx(float(truth), abs=1e-12)
    assert bool((values < 0).any())  # it may be negative
    roots = torch.vmap(lambda a, b: rooted.distance(b, a, {}))(x, y)
    biased = roots.square()
    bias = (2 * kernel()[0, 0] - P @ kernel() @ P - Q @ kernel() @ Q) / 2  # of n = 2 rows
    assert float(weights @ biased) == pytest.approx(float(truth + bias), abs=1e-9)
    mean = weights @ biased
    below = mean.sqrt() - weights @ roots
    variance = weights @ (biased - mean).square()
    assert 0.5 < float(below / (variance / (8 * mean**1.5))) < 2  # the first term alone, for two rows


def test_gradient_by_enumeration() -> None:
    """Catches a gradient of the discrepancy that is not its derivative: draws move by a shift of the states."""
    shift = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    moved = STATES + shift
    square = (STATES - moved.T) ** 2
    cross = sum(torch.exp(square / (-2 * s)) for s in WIDTHS)
    truth = P @ kernel() @ P + Q @ kernel() @ Q - 2 * P @ cross @ Q
    (expected,) = torch.autograd.grad(truth, shift)
    x, y, weights = samples()
    objective = inference.MaximumMeanDiscrepancy(WIDTHS, root=False)
    found = torch.vmap(lambda a, b: objective.distance(b + shift, a, {}))(x, y)
    (gradient,) = torch.autograd.grad(weights @ found, shift)
    assert float(gradient) == pytest.approx(float(expected), abs=1e-10)


def test_the_same_rows_have_no_distance_and_a_finite_gradient() -> None:
    """Catches the infinite slope of the root at 0, and distances of large numbers that are differences of rounding."""
    rows = (1e3 + torch.rand(5, 3)).requires_grad_()
    value = inference.MaximumMeanDiscrepancy((1.0,)).distance(rows, rows.detach(), {})
    (gradient,) = torch.autograd.grad(value, rows)
    assert float(value.detach()) < 1e-2 and bool(torch.isfinite(gradient).all())


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"bandwidths": ()}, ValueError, "at least one variance"),
        ({"bandwidths": (1.0, 0.0)}, ValueError, "each of bandwidths must be positive"),
        ({"bandwidths": 2.0}, TypeError, "sequence of variances"),
        ({"compared": "mode"}, ValueError, "'sample' or 'mean'"),
    ],
)
def test_refusals(given, error, message) -> None:
    """Catches settings that would train on nothing."""
    with pytest.raises(error, match=message):
        inference.MaximumMeanDiscrepancy(**given)
