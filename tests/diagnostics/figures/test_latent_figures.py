"""Figures of latents on a grid, and of samples beside their nearest rows."""

import numpy as np
import pytest
import torch

from ppgen import models
from ppgen.diagnostics import figures
from ppgen.diagnostics.figures.latent_grid import axis_values, moved_latents, plane
from ppgen.diagnostics.figures.nearest import nearer


def _vae() -> models.VAE:
    torch.manual_seed(0)
    return models.VAE(features=6, latent=2, hidden=(5,))


def test_the_plane_is_that_of_the_quantiles_of_the_prior() -> None:
    """Catches axes that are swapped or turned around, and values that are evenly spaced."""
    vae, values = _vae(), axis_values(4)
    law = torch.distributions.Normal(0.0, 1.0)
    torch.testing.assert_close(law.cdf(torch.tensor(values)), torch.linspace(0.02, 0.98, 4), atol=1e-6, rtol=0)
    rows = plane(vae, 4).reshape(4, 4, 6)
    upper_left = vae.decoder(torch.tensor([values[0], values[3]])).mean.detach().numpy()
    right_of_it = vae.decoder(torch.tensor([values[1], values[3]])).mean.detach().numpy()
    np.testing.assert_allclose(rows[0, :2], [upper_left, right_of_it], atol=1e-6)
    texts = [text.get_text() for text in figures.manifold(vae, (2, 3), size=3, limits=(-1, 2)).axes[0].texts]
    assert texts == ["2.0", "0.5", "-1.0", "-1.0", "0.5", "2.0"]
    with pytest.raises(ValueError, match="must have shape"):
        figures.manifold(models.VAE(features=6, latent=3, hidden=(5,)), (2, 3), size=3)
    with pytest.raises(ValueError, match="limits must be"):
        figures.manifold(vae, (2, 3), limits=(1, -1))


def test_one_latent_moves_and_the_others_stay() -> None:
    """Catches another latent that moves, and a code that is not kept."""
    vae = _vae()
    rows, moved, values = moved_latents(vae, torch.tensor([0.3, -0.4]), [1], 2.0, 3)
    assert moved == [1] and values == [-2, 0, 2] and rows.shape == (1, 3, 6)
    wanted = vae.decoder(torch.tensor([[0.3, -2.0], [0.3, 0.0], [0.3, 2.0]])).mean.detach()
    np.testing.assert_allclose(rows[0], wanted, atol=1e-6)
    autoencoder = models.Autoencoder(6, hidden=(3,))
    assert len(figures.traversals(autoencoder, (2, 3), steps=4).axes[0].texts) == 7
    with pytest.raises(ValueError, match="numbers from 0 to 1"):
        figures.traversals(vae, (2, 3), latents=[2])
    with pytest.raises(ValueError, match="code must be given"):
        figures.traversals(models.RBM(6, 3), (2, 3))


def test_copies_are_seen_beside_held_out_rows() -> None:
    """Catches nearest rows of other samples, distances of the shown rows alone, and a share that is turned around."""
    generator = torch.Generator().manual_seed(0)
    data = torch.rand(90, 4, generator=generator)
    train, held_out = data[:60], data[60:]
    figure = figures.nearest_rows(train[:20] + 0.001, train, (2, 2), held_out=held_out, k=2, num_samples=3)
    assert figure.axes[-1].get_title() == "nearer than a held-out row: 100 % of pairs"
    shown = figure.axes[0].images[0].get_array()
    side = shown.shape[0] // 3
    np.testing.assert_allclose(shown[2 : side - 2], shown[side + 2 : 2 * side - 2], atol=0.002)
    same = figures.nearest_rows(held_out, train, held_out=held_out, num_samples=3, features=lambda rows: rows[:, :2])
    assert same.axes[-1].get_title().endswith("50 % of pairs")
    assert nearer(np.array([3.0, 0.0, 1.0]), np.array([1.0, 2.0])) == pytest.approx((0 + 2 + 1.5) / 6)
    with pytest.raises(ValueError, match="the same features"):
        figures.nearest_rows(data[:, :3], train, held_out=held_out)
    with pytest.raises(ValueError, match="at most the 30 rows of held_out"):
        figures.nearest_rows(data, train, held_out=held_out, num_samples=40)
