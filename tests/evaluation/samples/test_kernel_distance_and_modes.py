"""Kernel distances of features against the polynomial kernel written out; modes by a classifier that knows none."""

import numpy as np
import pytest
import torch

from ppgen import evaluation


def test_the_distance_is_the_unbiased_polynomial_one() -> None:
    """Catches another kernel, a biased estimate, and features of the wrong rows: one block, by loops."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 2)), rng.normal(size=(4, 2)) + 0.5

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float((2 * a @ b / 2 * 2 + 1) ** 3)  # of features that are twice the rows

    drawn = np.mean([kernel(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j])
    found = evaluation.kernel_inception_distance(y, x, lambda rows: 2 * rows, block_size=4, seed=3)
    order = torch.randperm(4, generator=(generator := torch.Generator().manual_seed(3)))
    assert len(order) == 4
    taken = x[torch.randperm(8, generator=generator).numpy()][:4]
    real = np.mean([kernel(a, b) for i, a in enumerate(taken) for j, b in enumerate(taken) if i != j])
    cross = np.mean([kernel(a, b) for a in taken for b in y])
    assert found.value == pytest.approx(drawn + real - 2 * cross, rel=1e-5)
    assert (found.num_blocks, found.block_size) == (1, 4) and "unknown" in repr(found)


def test_real_rows_are_near_real_rows() -> None:
    """Catches a bias that grows with small blocks: of equal laws the distance is 0 within its error."""
    x = torch.randn(1200, 4, generator=torch.Generator().manual_seed(0))
    found = evaluation.kernel_inception_distance(x[:600], x[600:], lambda rows: rows, block_size=20)
    assert abs(found.value) < 4 * found.se and abs(found.real) < 4 * found.real_se
    far = evaluation.kernel_inception_distance(x[:600] + 0.5, x[600:], lambda rows: rows, block_size=20)
    assert far.value > 4 * far.se


def test_modes() -> None:
    """Catches a collapsed model that is not reported as one, and draws of no class that are counted."""
    draws = torch.cat([torch.full((60,), 0.0), torch.full((39,), 1.0), torch.full((1,), 2.0), torch.full((25,), 3.0)])
    found = evaluation.modes_found(draws[:, None], lambda rows: rows[:, 0].long(), num_classes=3)
    assert (found.found, found.missing, found.collapsed) == (2, (2,), True)
    assert found.none == pytest.approx(0.2) and found.shares[0] == pytest.approx(0.48)
    assert "2 of 3 modes above 2 %, missing 2: collapsed; none 20.0 %" in repr(found)
    whole = evaluation.modes_found(draws[:99, None], lambda rows: rows[:, 0].long(), num_classes=2)
    assert not whole.collapsed and "collapsed" not in repr(whole)


@pytest.mark.parametrize(
    ("ask", "error", "message"),
    [
        (lambda x: evaluation.kernel_inception_distance(x, x, None), TypeError, "features must be a function"),
        (lambda x: evaluation.kernel_inception_distance(x, x, lambda rows: rows[:, 0]), ValueError, "give a table"),
        (lambda x: evaluation.kernel_inception_distance(x, x[:3], lambda rows: rows), ValueError, "at least 4 rows"),
        (lambda x: evaluation.modes_found(x, lambda rows: rows[:, 0], num_classes=2), ValueError, "one whole number"),
        (lambda x: evaluation.modes_found(x, lambda rows: 9 * torch.ones(len(rows)).long(), 2), ValueError, "0 to 2"),
        (lambda x: evaluation.modes_found(x, "classes", num_classes=2), TypeError, "predict must be a function"),
    ],
)
def test_refusals(ask, error, message) -> None:
    """Catches functions that give something else than features or classes."""
    with pytest.raises(error, match=message):
        ask(torch.rand(6, 3))
