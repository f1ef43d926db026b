"""Figures: what they show is the model's, and nothing of matplotlib's or the caller's state is touched."""

import logging
import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

import ppgen
from ppgen import Pair, datasets, inference, models
from ppgen.diagnostics import figures
from ppgen.diagnostics.mosaic import as_images, tile


@pytest.fixture(scope="module")
def digits():
    return datasets.load("digits", binarize="threshold")


@pytest.fixture(scope="module")
def vae_run(digits):
    return ppgen.fit(models.VAE(features=64, latent=2, hidden=(9,)), digits, epochs=2, progress=False)


@pytest.fixture(scope="module")
def rbm_run(digits):
    return ppgen.fit(models.RBM(visible=64, hidden=6), digits, inference.PCD(num_chains=20), epochs=2, progress=False)


def test_tiles_keep_every_image_in_its_place():
    """Catches rows and columns of the mosaic or of an image exchanged."""
    images = np.arange(5 * 24 * 25, dtype=float).reshape(5, 24, 25)
    whole = tile(images, columns=3)
    assert whole.shape == (2 * 25 + 1, 3 * 26 + 1)
    np.testing.assert_array_equal(whole[1:25, 27:52], images[1])
    np.testing.assert_array_equal(whole[26:50, 1:26], images[3])
    assert np.isnan(whole[25:, 53:]).all()


def test_small_images_are_magnified_whole():
    """Catches a magnification that blurs or transposes."""
    whole = tile(np.array([[[1.0, 2.0], [3.0, 4.0]]]), columns=1)
    assert whole.shape == (26, 26)
    assert [whole[1, 1], whole[1, 24], whole[24, 1], whole[24, 24]] == [1, 2, 3, 4]


@pytest.mark.parametrize(("shape", "found"), [((3, 4, 2), (4, 2, 3)), ((4, 2, 3), (4, 2, 3)), ((4, 6), (4, 6))])
def test_colours_come_last(shape, found):
    """Catches channels taken for rows."""
    assert as_images(np.zeros((5, 24)), shape).shape == (5, *found)


def test_curve_shows_the_metrics_with_units(vae_run, rbm_run):
    """Catches an unnormalised number drawn as a likelihood, swapped curves and missing units."""
    axes = figures.curve(vae_run).axes
    assert [each.get_ylabel() for each in axes] == ["nats per datum"]
    lines = {line.get_label(): line.get_ydata() for line in axes[0].get_lines()}
    np.testing.assert_allclose(lines["training, mean over the epoch"], vae_run.curve("train_value"))
    np.testing.assert_allclose(lines["validation, after the epoch"], vae_run.curve("valid_value"))
    titles = [each.get_title(loc="left") for each in figures.curve(rbm_run).axes]
    assert titles[0] == "pseudo-log-likelihood"
    assert not any("ELBO" in title for title in titles)


def test_curve_of_a_score_has_no_nats():
    """Catches the cross-entropy of grey levels, which is no likelihood, on an axis of nats."""
    model = models.Autoencoder(4, hidden=(2,), likelihood="cross-entropy")
    run = ppgen.fit(model, torch.rand(20, 4), epochs=1, progress=False, compile=False)
    assert figures.curve(run).axes[0].get_ylabel() == "minus the cross-entropy per datum"


def test_samples_tell_r_hat_of_chains_only(vae_run, rbm_run):
    """Catches chains shown without their convergence, and an R-hat for independent draws."""
    options = {"num_samples": 20, "sweeps": 2}
    assert "R-hat" in figures.samples(rbm_run, (8, 8), **options).get_suptitle()
    assert "R-hat" not in figures.samples(vae_run, (8, 8), num_samples=20).get_suptitle()


def test_reconstructions_are_the_mean_given_the_guide():
    """Catches reconstructions from the prior, of another site, or of the observation itself."""

    def model(offset, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("noise", dist.Normal(torch.full((4,), 100.0), 1.0).to_event(1), obs=torch.zeros(len(x), 4))
            pyro.sample("x", dist.Normal(3 * z[:, None] + offset, 1.0).expand([len(x), 4]).to_event(1), obs=x)

    def guide(offset, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x[:, 0], 0.1))

    x = torch.tensor([[1.0, 0.0, 0.0, 0.0], [-2.0, 1.0, 1.0, 1.0]])
    offset = torch.full((2, 1), 0.5)
    _, axes, _ = figures.reconstructions(Pair(model, guide), (offset, x), num_samples=400).axes
    drawn = np.asarray(axes.images[0].get_array())
    assert drawn.shape == (2, 4)
    np.testing.assert_allclose(drawn, (3 * x[:, :1] + 0.5).expand(2, 4), atol=4 * 0.3 / math.sqrt(400))


def test_filters_are_the_weights_next_to_the_data():
    """Catches transposed weights, the weights of a standard deviation, and colours not symmetric about zero."""
    rbm = models.RBM(visible=5, hidden=3)
    with torch.no_grad():
        rbm.weight.copy_(torch.arange(15.0).reshape(5, 3) - 4)
    image = figures.filters(rbm).axes[0].images[0]
    expected = rbm.weight.detach().T.numpy()
    expected = expected[np.linalg.norm(expected, axis=1).argsort()[::-1]]
    np.testing.assert_array_equal(image.get_array(), expected)
    assert image.get_clim() == (-10, 10)
    vae = models.VAE(features=5, latent=2, hidden=(5,), likelihood="gaussian")
    shown = np.sort(np.asarray(figures.filters(vae).axes[0].images[0].get_array()).ravel())
    np.testing.assert_allclose(shown, np.sort(vae.decoder.loc[0].weight.detach().numpy().ravel()))
    with pytest.raises(ValueError, match="no linear layer"):
        figures.filters(vae, (3, 3))


def test_write_all_without_global_state(vae_run, rbm_run, digits, tmp_path):
    """Catches figures kept by pyplot, a moved random state, and a picture that is not written."""
    import matplotlib.pyplot as plt

    before = torch.get_rng_state()
    for name, run in (("vae", vae_run), ("rbm", rbm_run)):
        paths = figures.write_all(run, digits, tmp_path / name)
        assert [path.name for path in paths] == ["curve.png", "samples.png", "reconstructions.png", "filters.png"]
        assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
    assert plt.get_fignums() == []
    assert torch.equal(before, torch.get_rng_state())


def test_data_that_are_no_images(tmp_path, caplog):
    """Catches a failure at rows without a shape, and a picture left out without a word."""
    table = datasets.load(torch.randn(60, 5).cumsum(1).numpy())
    vae = models.VAE(features=5, latent=2, hidden=(4,), likelihood="gaussian")
    run = ppgen.fit(vae, table, epochs=1, progress=False)
    assert len(figures.write_all(run, table, tmp_path)) == 4
    run.metrics.clear()
    with caplog.at_level(logging.WARNING, "ppgen"):
        assert len(figures.write_all(run, table, tmp_path)) == 3
    assert "no epoch has ended" in caplog.text
