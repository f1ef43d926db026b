"""Data that are given to `fit`: refused with a reason, or passed to the programs as they are."""

import pytest
import torch

import ppgen
from ppgen import datasets, models

_DIGITS = datasets.load("digits", binarize="threshold")


@pytest.mark.parametrize(
    "make", [lambda: models.VAE(32, 2, (4,)), lambda: models.HierarchicalVAE(32, (3, 2), ((4,), (4,))),
             lambda: models.RBM(32, 2)]
)  # fmt: skip
@pytest.mark.parametrize("data", [_DIGITS, _DIGITS.valid, (_DIGITS.valid,)])
def test_data_with_another_number_of_features_are_refused(make, data, tmp_path):
    """Catches an error of shapes from the middle of the model, and a folder made for a run that cannot be."""
    with pytest.raises(ValueError, match="data must have 32 features, as .* does; got 64 .*Build the model for 64"):
        ppgen.fit(make(), data, epochs=1, folder=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()
