"""Figures of completed rows: each part where it belongs, and the chains' R-hat above."""

import numpy as np
import pytest
import torch

import ppgen
from ppgen import models
from ppgen.diagnostics import figures
from ppgen.diagnostics.figures.completed_rows import MISSING

NAN = float("nan")
GIVEN = torch.tensor([[1.0, 0.0, NAN, NAN], [0.0, NAN, 1.0, 0.0], [1.0, 1.0, NAN, NAN]])
OPTIONS = {"sweeps": 6, "warmup_steps": 5, "num_chains": 8}


@pytest.fixture(scope="module")
def rbm():
    torch.manual_seed(0)
    return models.RBM.from_arrays(np.random.default_rng(0).normal(size=(4, 3)), np.zeros(4), np.zeros(3))


def pictures(figure, which: int) -> np.ndarray:
    """Middle values of the 2 by 2 images of a mosaic: (lines, columns, 4)."""
    array = np.ma.filled(figure.axes[0].images[which].get_array().astype(float), np.nan)
    lines, columns = (array.shape[0] - 1) // 25, (array.shape[1] - 1) // 25
    found = np.empty((lines, columns, 4))
    for line in range(lines):
        for column in range(columns):
            image = array[line * 25 + 1 : line * 25 + 25, column * 25 + 1 : column * 25 + 25]
            found[line, column] = image[[6, 6, 18, 18], [6, 18, 6, 18]]
    return found


def test_lines_are_the_given_the_draws_and_their_mean(rbm) -> None:
    """Catches draws of one row under another, given pixels drawn anew, a mean of the shown draws only."""
    whole = GIVEN.nan_to_num(0.0)
    figure = figures.completions(rbm, GIVEN, (2, 2), whole=whole, num_samples=3, seed=5, **OPTIONS)
    drawn = ppgen.sample(rbm, 8, given=GIVEN, seed=5, **OPTIONS)
    shown = pictures(figure, 0)
    assert shown.shape == (6, 3, 4)
    np.testing.assert_array_equal(shown[0], GIVEN)
    np.testing.assert_array_equal(shown[1:4], drawn.samples[:3])
    np.testing.assert_allclose(shown[4], drawn.means.mean(0), atol=1e-7)
    np.testing.assert_array_equal(shown[5], whole)
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["given", "draws", "mean of draws", "in full"]
    heights = [text.get_position()[1] for text in axes.texts]
    np.testing.assert_allclose(heights, [1 - 0.5 / 6, 1 - 2.5 / 6, 1 - 4.5 / 6, 1 - 5.5 / 6])


def test_what_is_missing_has_a_colour_of_its_own(rbm) -> None:
    """Catches missing pixels that look like white ones, and a shade over pixels that are given."""
    figure = figures.completions(rbm, GIVEN, (2, 2), num_samples=1, **OPTIONS)
    shade = pictures(figure, 1)
    np.testing.assert_array_equal(shade[0] == 1, GIVEN.isnan())
    assert np.isnan(shade[1:]).all()
    assert figure.axes[0].images[1].get_cmap().colors == [MISSING]


def test_r_hat_stands_above(rbm) -> None:
    """Catches a picture of chains without their convergence, or with that of other chains."""
    title = figures.completions(rbm, GIVEN, (2, 2), seed=3, **OPTIONS | {"num_chains": 8}).get_suptitle()
    rhat = ppgen.sample(rbm, 8, given=GIVEN, seed=3, **OPTIONS).rhat
    assert f"R-hat of their free energies and units {rhat:.3f}, the largest of the rows" in title
    assert "8 chains a row" in title
    one = figures.completions(rbm, GIVEN[:1], (2, 2), **OPTIONS).get_suptitle()
    assert "largest" not in one
    sure = models.RBM.from_arrays(np.zeros((4, 3)), np.full(4, 80.0), np.zeros(3))
    title = figures.completions(sure, GIVEN[:2], **OPTIONS).get_suptitle()
    assert "R-hat of their free energies and units not defined" in title


def test_rows_that_are_no_images_are_strips(rbm) -> None:
    """Catches a failure without a shape, and strips of other rows."""
    figure = figures.completions(rbm, GIVEN, whole=GIVEN.nan_to_num(0.0), **OPTIONS, seed=2)
    given, mean, full = figure.axes[:3]
    assert [axes.get_title() for axes in (given, mean, full)] == ["given", "mean of draws", "in full"]
    np.testing.assert_array_equal(np.ma.filled(given.images[0].get_array(), np.nan), GIVEN)
    drawn = ppgen.sample(rbm, 8, given=GIVEN, seed=2, **OPTIONS)
    np.testing.assert_allclose(mean.images[0].get_array(), drawn.means.mean(0), atol=1e-7)


def test_values_beyond_bits_have_a_scale() -> None:
    """Catches grey levels without a bar, and colours cut at 1."""
    torch.manual_seed(1)
    gaussian = models.GaussianRBM(4, 2)
    with torch.no_grad():
        gaussian.visible_mean.copy_(torch.tensor([0.0, 3.0, 6.0, 9.0]))
    figure = figures.completions(gaussian, GIVEN, (2, 2), **OPTIONS)
    assert figure.axes[1].get_ylabel() == "value"
    assert figure.axes[0].images[0].get_clim()[1] > 5


def test_deep_machines_and_no_state(rbm) -> None:
    """Catches deep machines left out, and a random state or a figure of pyplot's left behind."""
    import matplotlib.pyplot as plt

    dbm = models.DBM(4, (3, 2))
    before = torch.get_rng_state()
    for pair in (rbm, dbm):
        figure = figures.completions(pair, GIVEN, (2, 2), num_samples=2, **OPTIONS)
        np.testing.assert_array_equal(pictures(figure, 0)[0], GIVEN)
        assert figure.get_suptitle().startswith(f"{type(pair).__name__}: ")
    assert plt.get_fignums() == []
    assert torch.equal(before, torch.get_rng_state())


def test_errors(rbm) -> None:
    """Catches draws that would come twice from a chain, and whole rows that are others."""
    with pytest.raises(ValueError, match="num_samples must be from 1 to num_chains=8, as each.*; got 9"):
        figures.completions(rbm, GIVEN, (2, 2), num_samples=9, **OPTIONS)
    for wrong in (0, True, 2.0):
        with pytest.raises(ValueError, match="num_samples must be from 1 to"):
            figures.completions(rbm, GIVEN, (2, 2), num_samples=wrong, **OPTIONS)
    with pytest.raises(ValueError, match=r"whole must have the shape of rows, \(3, 4\), got \(2, 4\)"):
        figures.completions(rbm, GIVEN, (2, 2), whole=GIVEN[:2], **OPTIONS)
    with pytest.raises(ValueError, match="given has nothing to simulate"):
        figures.completions(rbm, torch.ones(2, 4), (2, 2), **OPTIONS)
    with pytest.raises(ValueError, match="given is for Boltzmann machines"):
        figures.completions(models.VAE(4, 2, (3,)), GIVEN, (2, 2), **OPTIONS)
