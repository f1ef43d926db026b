"""Sizes that constructors of the zoo refuse, each named."""

import pytest

from ppgen import models


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: models.VAE(0), "features must be at least 1, got 0"),
        (lambda: models.VAE("a"), "features must be a whole number"),
        (lambda: models.VAE(4, latent=2.5), "latent must be a whole number"),
        (lambda: models.VAE(4, latent=True), "latent must be a whole number"),
        (lambda: models.VAE(4, hidden=5), r"hidden must be numbers of units, one for each layer, such as \(200, 200\)"),
        (lambda: models.VAE(4, hidden=(5, 0)), "each number in hidden must be at least 1"),
        (lambda: models.VAE(4, likelihood="poisson"), "likelihood must be 'bernoulli'"),
        (lambda: models.HierarchicalVAE(4, latents=5), "latents must be numbers of units"),
        (lambda: models.HierarchicalVAE(4, latents=(3, 2), hidden=(4, 4)), "hidden must be one group of layers"),
        (lambda: models.HierarchicalVAE(4, latents=(3,), hidden=((4,),)), "two stochastic layers"),
        (lambda: models.HierarchicalVAE(4, latents=(3, 2), hidden=((4,),)), "one group of layers for each of the 2"),
        (lambda: models.RBM(4, 2.5), "hidden must be a whole number"),
        (lambda: models.RBM(-1, 2), "visible must be at least 1"),
    ],
)
def test_a_wrong_size_is_named(make, message) -> None:
    """Catches an error that names something inside, or a model of a size that was not asked for."""
    with pytest.raises((TypeError, ValueError), match=message):
        make()
