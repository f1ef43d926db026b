"""Codes, reconstructions, their errors and angles, of models with a code and of any other pair."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

import ppgen
from ppgen import features, models


def test_models_with_a_code_are_asked_for_it() -> None:
    """Catches another order of rows, a last batch that is lost, and training mode that is left behind."""
    model, x = models.Autoencoder(5, hidden=(4, 2)), torch.rand(7, 5)
    model.train()
    assert torch.equal(features.encode(model, x, batch_size=3), features.encode(model, x))
    assert torch.allclose(features.encode(model, x), model.encode(x)) and model.training
    assert torch.allclose(
        features.reconstruct(model, x.numpy(), batch_size=2), model.decode(model.encode(x)), atol=1e-6
    )
    assert not features.encode(model, x).requires_grad


def test_errors_are_summed_over_features() -> None:
    """Catches a mean over pixels, and a mean over batches of other sizes."""
    model, x = models.Autoencoder(5, hidden=(2,)), torch.rand(7, 5)
    expected = (x - model.decode(model.encode(x))).square().sum(1).mean().item()
    for size in (1000, 3):
        assert features.reconstruction_error(model, x, batch_size=size) == pytest.approx(expected, rel=1e-5)


def test_other_pairs_are_encoded_by_the_means_of_their_guide() -> None:
    """Catches a draw in the place of a mean, and a machine that is given its draw as a code."""
    x = torch.tensor([[1.0, 0, 1, 0], [0, 1, 1, 1]])
    vae = models.VAE(features=4, latent=2, hidden=(3,))
    assert torch.allclose(features.encode(vae, x), vae.encoder(x).mean)
    assert torch.allclose(features.reconstruct(vae, x), vae.decoder(vae.encoder(x).mean).mean)
    rbm = models.RBM(visible=4, hidden=3)
    assert torch.allclose(features.encode(rbm, x), rbm.hidden_means(x))
    below = torch.sigmoid(rbm.hidden_means(x) @ rbm.machine().base_energy.couplings[0].weight.T + rbm.visible_bias)
    assert torch.allclose(features.reconstruct(rbm, x), below, atol=1e-6)


def test_one_of_several_sites_is_named() -> None:
    """Catches a site that is chosen in silence, and a later site that is computed from a draw of an earlier one."""
    model, x = models.HierarchicalVAE(5, latents=(3, 2), hidden=((4,), (3,))), torch.rand(6, 5).round()
    with pytest.raises(ValueError, match=r"latent sites \['z1', 'z2'\]: name the one"):
        features.encode(model, x)
    upper = features.encode(model, x, site="z2")
    assert upper.shape == (6, 2) and torch.equal(upper, features.encode(model, x, site="z2"))
    with pytest.raises(ValueError, match="site must be one of"):
        features.encode(model, x, site="z3")
    with pytest.raises(ValueError, match="has one code"):
        features.encode(models.Autoencoder(5), x, site="code")


def test_a_pair_of_functions() -> None:
    """Catches parameters that are not found, particles' dimensions, and a law without a mean that gives a number."""

    def model(x: Tensor) -> None:
        slope = pyro.param("slope", torch.tensor(2.0))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(slope * z, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.4 * x, 1.0))

    pair, x = ppgen.Pair(model, guide), torch.tensor([1.0, -2.0, 0.5])
    assert torch.allclose(features.encode(pair, x)[:, 0], 0.4 * x)
    assert torch.allclose(features.reconstruct(pair, x)[:, 0], 0.8 * x)
    assert features.reconstruction_error(pair, x) == pytest.approx((0.2 * x).square().mean().item(), rel=1e-5)

    def heavy(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Cauchy(0.4 * x, 1.0))

    with pytest.raises(ValueError, match="'z', Cauchy, has no finite mean"):
        features.encode(ppgen.Pair(model, heavy), x)


def test_angles_between_planes() -> None:
    """Catches the smallest angle for the largest, a rounding of small ones to 0, and subspaces of other dimensions."""
    one = np.eye(4)[:, :2]
    for angle in (1e-10, 1e-6, 0.3, 1.2, math.pi / 2):
        other = np.eye(4)[:, :2].copy()
        other[[1, 3], 1] = math.cos(angle), math.sin(angle)
        mixed = other @ np.array([[1.0, 3.0], [0.5, -2.0]])
        assert features.principal_angle(one, mixed) == pytest.approx(angle, rel=1e-5)
    assert features.principal_angle(one, np.eye(4)[:, :1]) == 0.0
    rows = torch.randn(50, 4, dtype=torch.float64) * torch.tensor([5.0, 3.0, 0.1, 0.1]) + 7.0
    assert 0 < features.principal_angle(one, rows) < 0.05


def test_angles_are_of_linear_decoders() -> None:
    """Catches a subspace of a decoder that spans none."""
    x = torch.rand(10, 4)
    linear = models.Autoencoder(4, hidden=(3, 2), activation="linear")
    product = (linear.encoder_layers()[0][0], linear.decoder_layers())[1]
    assert features.principal_angle(linear, (product[0][0] @ product[1][0]).T.detach()) < 1e-5
    assert features.principal_angle(ppgen.fit(linear, x, steps=1, progress=False), x) > 0
    with pytest.raises(ValueError, match="not linear"):
        features.principal_angle(models.Autoencoder(4, hidden=(3, 2)), x)
    with pytest.raises(ValueError, match="independent columns"):
        features.principal_angle(torch.ones(4, 2), x)
    with pytest.raises(ValueError, match="more than 2 rows"):
        features.principal_angle(linear, x[:2])
    with pytest.raises(TypeError, match="pair_or_matrix must be a matrix or a model"):
        features.principal_angle("linear", x)


def test_one_table_in_a_tuple_is_that_table() -> None:
    """Catches a model with a code that is handed the tuple, and missing values that a tuple lets through."""
    model, x = models.Autoencoder(5, hidden=(2,)), torch.rand(4, 5)
    for data in ((x,), {"x": x}):
        assert torch.equal(features.encode(model, data), features.encode(model, x))
        assert features.reconstruction_error(model, data) == features.reconstruction_error(model, x)
    with pytest.raises(ValueError, match="data must be one table"):
        features.encode(model, (x, x))
    with pytest.raises(ValueError, match="finite"):
        features.encode(model, (x / 0,))
