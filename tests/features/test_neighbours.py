"""Nearest rows of others, and data given latents."""

import pytest
import torch

from ppgen import features, models

GENERATOR = torch.Generator().manual_seed(0)


def test_nearest_rows_are_those_of_all_differences() -> None:
    """Catches products that lose small distances far from zero, a batch that is left out, and roots of distances."""
    among = 1000 + torch.randn(300, 5, generator=GENERATOR)
    rows = torch.cat([among[7:9], 1000 + torch.randn(30, 5, generator=GENERATOR)])
    exact = (rows.double()[:, None] - among.double()).square().sum(-1)
    wanted = exact.topk(3, largest=False)
    for size in (500, 7):
        found = features.nearest_rows(rows, among, 3, batch_size=size)
        assert torch.equal(found.indices, wanted.indices)
        torch.testing.assert_close(found.distances.double(), wanted.values, atol=1e-4, rtol=1e-4)
    assert found.distances[:2, 0].tolist() == [0, 0] and found.indices[:2, 0].tolist() == [7, 8]
    assert features.nearest_rows(rows[:1].numpy(), among[:2], 2).distances.shape == (1, 2)
    assert features.nearest_rows(torch.tensor([[1, 0]]), torch.tensor([[3, 0], [1, 2]])).distances.tolist() == [[4.0]]


def test_nearest_rows_are_asked_for_soundly() -> None:
    """Catches tables that do not belong together, and NaN that is nearest to everything."""
    with pytest.raises(ValueError, match="must have the 3 features"):
        features.nearest_rows(torch.ones(2, 2), torch.ones(2, 3))
    with pytest.raises(ValueError, match="k must be at most the 2 rows"):
        features.nearest_rows(torch.ones(2, 2), torch.ones(2, 2), 3)
    with pytest.raises(ValueError, match="among must be finite"):
        features.nearest_rows(torch.ones(2, 2), torch.tensor([[1.0, float("nan")]]))


def test_latents_are_decoded_as_the_model_would() -> None:
    """Catches latents of another row or site, a draw in the place of a mean, and covariates that are not seen."""
    z = torch.randn(5, 2, generator=GENERATOR)
    vae = models.VAE(features=4, latent=2, hidden=(3,))
    for size in (1000, 2):
        torch.testing.assert_close(features.decode(vae, z, batch_size=size), vae.decoder(z).mean.detach())
    autoencoder = models.Autoencoder(4, hidden=(3, 2))
    torch.testing.assert_close(features.decode(autoencoder, z), autoencoder.decode(z).detach())
    few = models.SemiSupervisedVAE(features=4, classes=3, latent=2, hidden=(3,))
    y = torch.eye(3)[[0, 1, 2, 2, 0]]
    wanted = few.decoder(torch.cat([y, z], 1)).mean.detach()
    torch.testing.assert_close(features.decode(few, {"z": z, "y": y}), wanted)
    conditional = models.ConditionalVAE(covariates=3, features=4, latent=2, hidden=(3,))
    wanted = conditional.decoder(torch.cat([y, z], 1)).mean.detach()
    torch.testing.assert_close(features.decode(conditional, z, (y, torch.zeros(5, 4))), wanted)


def test_latents_that_do_not_fit_are_refused() -> None:
    """Catches latents that are broadcast in silence, and sites that are drawn because nobody gave them."""
    few, z = models.SemiSupervisedVAE(features=4, classes=3, latent=2, hidden=(3,)), torch.zeros(5, 2)
    for latents, told in (
        (z, "a mapping from sites"),
        ({"z": z}, r"all the latent sites \['y', 'z'\]"),
        ({"z": z[:, :1], "y": torch.eye(3)[[0] * 5]}, r"'z' must have shape \(rows, 2\)"),
        ({"z": z[:4], "y": torch.eye(3)[[0] * 5]}, "for the same rows"),
    ):
        with pytest.raises(ValueError, match=told):
            features.decode(few, latents)
    conditional = models.ConditionalVAE(covariates=3, features=4, latent=2, hidden=(3,))
    with pytest.raises(ValueError, match="data must be given"):
        features.decode(conditional, z)
    with pytest.raises(ValueError, match="the 5 rows of the latents, got 4"):
        features.decode(conditional, z, (torch.ones(4, 3), torch.zeros(4, 4)))
    with pytest.raises(ValueError, match=r"codes of Autoencoder, \(rows, 2\)"):
        features.decode(models.Autoencoder(4, hidden=(2,)), torch.zeros(5, 3))
