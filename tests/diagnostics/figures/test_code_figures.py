"""Figures of codes: atoms, sums of atoms, codes in the plane, models side by side."""

import numpy as np
import pytest
import torch

from ppgen import features, models
from ppgen.datasets import Whitening
from ppgen.diagnostics import figures

GENERATOR = torch.Generator().manual_seed(0)
ROWS = torch.randn(40, 9, generator=GENERATOR)


def _coder() -> models.SparseCoding:
    torch.manual_seed(0)
    return models.SparseCoding(features=9, atoms=12, penalty=0.1)


def test_atoms_are_the_columns_of_the_decoder() -> None:
    """Catches rows taken for columns, a whitening undone from the wrong side, and an atom scaled by another."""
    coder = _coder()
    whitening = Whitening.fitted(ROWS.double().numpy() @ np.diag(np.arange(1.0, 10.0)))
    atoms = coder.dictionary.detach().double().numpy()
    for undone, wanted in ((None, atoms.T), (whitening, atoms.T @ whitening.inverse)):
        for given in (coder, coder.dictionary):
            shown = figures.atoms(given, whitening=undone).axes[0].images[0].get_array()
            np.testing.assert_allclose(shown, wanted / np.abs(wanted).max(1, keepdims=True), atol=1e-5)
    with pytest.raises(ValueError, match="not linear"):
        figures.atoms(models.Autoencoder(9, hidden=(5, 2)))
    with pytest.raises(TypeError, match="no code of its own"):
        figures.atoms(models.VAE(features=9, latent=2, hidden=(4,)))
    with pytest.raises(ValueError, match="of 9 pixels"):
        figures.atoms(coder, whitening=ROWS)


def test_a_sum_is_of_the_largest_codes() -> None:
    """Catches the largest codes without their sign, weights of other atoms, and shares of what is left."""
    atoms, codes = np.eye(4), np.array([[0.5, -3.0, 2.0, 0.0]])
    figure = figures.decomposition(atoms, codes, (2, 2), codes=codes, num_atoms=2)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["datum", "≈ −3.00 × atom 1", "+ 2.00 × atom 2", "sum of 2: 98%", "all 3: 100%"]
    sums = [axes.images[0].get_array().ravel() for axes in figure.axes[-2:]]
    np.testing.assert_allclose(sums, [[0, -3, 2, 0], codes[0]])
    coder = _coder()
    own = figures.decomposition(coder, ROWS[:2])
    same = figures.decomposition(coder.dictionary, ROWS[:2], codes=features.encode(coder, ROWS[:2]))
    assert [axes.get_title() for axes in own.axes] == [axes.get_title() for axes in same.axes]
    with pytest.raises(ValueError, match="codes must be given"):
        figures.decomposition(atoms, codes)
    with pytest.raises(ValueError, match="at most 10 rows"):
        figures.decomposition(coder, ROWS)


def test_codes_are_coloured_by_class() -> None:
    """Catches points in the colour of another class, and codes that are no points of the plane."""
    labels = torch.arange(40) % 3
    figure = figures.codes({"ours": ROWS[:, :2], "theirs": ROWS[:, 2:4]}, labels, names=("a", "b", "c"))
    assert [axes.get_title() for axes in figure.axes] == ["ours", "theirs"]
    second = figure.axes[1].collections[1]
    assert second.get_label() == "b"
    np.testing.assert_allclose(second.get_offsets(), ROWS[labels == 1, 2:4])
    for codes, given, message in (
        (ROWS, labels, "two numbers"),
        (ROWS[:, :2], labels[:-1], "two numbers"),
        (ROWS[:, :2], labels.float(), "whole numbers"),
        (ROWS[:, :2], labels + 30, "at most 20"),
    ):
        with pytest.raises(ValueError, match=message):
            figures.codes(codes, given)


def test_reconstructions_stand_beside_those_of_others() -> None:
    """Catches a code that is drawn and not encoded, and others' rows of another shape or in the model's place."""
    coder = _coder()
    figure = figures.reconstructions(coder, ROWS[:6], (3, 3), beside={"zeros": torch.zeros(6, 9), "same": coder})
    data, own, zeros, same = (axes.images[0].get_array() for axes in figure.axes[:4])
    assert [axes.get_title() for axes in figure.axes[:4]] == ["data", "SparseCoding", "zeros", "same"]
    assert np.ma.allequal(own, same) and not np.ma.allclose(data, own) and not np.any(zeros)
    means = features.reconstruct(coder, ROWS[:6]).detach().numpy().reshape(6, 3, 3)
    assert own[1, 1] == pytest.approx(means[0, 0, 0], rel=1e-5)
    with pytest.raises(ValueError, match="must have the shape"):
        figures.reconstructions(coder, ROWS[:6], beside={"PCA": ROWS[:5]})
    with pytest.raises(ValueError, match="another name"):
        figures.reconstructions(coder, ROWS[:6], beside={"data": ROWS[:6]})
    with pytest.raises(ValueError, match="one block"):
        figures.side_by_side({})
