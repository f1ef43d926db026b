"""The gap of predicted codes: what it is of known codes, and of models without codes."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import sparse_encode

from ppgen import features, models


def test_the_gap_is_that_to_scikit_learns_objective() -> None:
    """Catches a gap of the squared error alone, a share of the wrong total, and rows at once that leak."""
    torch.manual_seed(0)
    model, x = models.PredictiveSparseDecomposition(5, 7, 0.8).double(), torch.randn(9, 5).double()
    atoms = model.dictionary.detach()
    exact = sparse_encode(x.numpy(), atoms.T.numpy(), algorithm="lasso_cd", alpha=0.4, max_iter=100_000)
    values = [
        (x - codes @ atoms.T).square().sum(1) + 0.8 * codes.abs().sum(1)
        for codes in (model.encode(x).detach(), torch.from_numpy(exact))
    ]
    gap = features.encoder_gap(model, x.numpy(), batch_size=4)
    torch.testing.assert_close(gap.optimum, values[1], rtol=1e-4, atol=0)
    torch.testing.assert_close(gap.percent, 100 * (values[0] / values[1] - 1), rtol=1e-2, atol=1e-3)
    assert gap.overall == pytest.approx(100 * float(values[0].sum() / values[1].sum() - 1), rel=1e-2)
    assert "9 rows" in repr(gap)


def test_exact_codes_have_no_gap() -> None:
    """Catches a division by zero of a datum that is zero, and rounding reported as a gap."""
    x = torch.cat([torch.zeros(1, 5), torch.randn(4, 5)])
    gap = features.encoder_gap(models.SparseCoding(5, 7, 0.8), x)
    np.testing.assert_allclose(gap.percent, 0, atol=1e-2)
    assert gap.percent[0] == 0


def test_models_without_sparse_codes_are_refused() -> None:
    """Catches an attribute error from inside, or a gap of something else."""
    with pytest.raises(TypeError, match=r"VAE has no sparse codes.*PredictiveSparseDecomposition"):
        features.encoder_gap(models.VAE(4, latent=2, hidden=(3,)), torch.rand(3, 4))
