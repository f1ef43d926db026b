"""Models with a batch of their data: their own examples first, then other settings."""

from collections.abc import Callable
from typing import Any

import torch
from batches import bits, classes, counts, levels, ratings, reals

from examples import own_examples
from ppgen import models

_SETTINGS: dict[str, list[Callable[[], tuple[Any, Any]]]] = {
    "VAE": [
        lambda: (models.VAE(5, latent=2, hidden=(4, 3), likelihood="gaussian"), reals(6, 5)),
        lambda: (models.VAE(3, latent=2, hidden=(), likelihood="categorical", categories=4), bits(6, 3) * 3),
        lambda: (models.VAE(4, latent=2, hidden=(3,), posterior="iaf", prior="maf", flow_hidden=(4,)), bits(6, 4)),
        lambda: (
            models.VAE(4, 3, (3,), posterior="coupling", prior="coupling", flow_steps=1, flow_hidden=(4,)),
            bits(6, 4),
        ),
        lambda: (models.VAE(4, 2, (), "gaussian", posterior="spline", flow_steps=1, flow_hidden=()), reals(6, 4)),
    ],
    "HierarchicalVAE": [
        lambda: (models.HierarchicalVAE(5, latents=(3, 2), hidden=((4,), (3,))), bits(6, 5)),
        lambda: (models.HierarchicalVAE(4, (3, 2, 1), ((4,), (3,), (2,)), likelihood="gaussian"), reals(6, 4)),
    ],
    "RBM": [
        lambda: (models.RBM(3, 6), bits(6, 3)),
        lambda: (models.RBM(4, 2, hidden_units="gaussian"), bits(6, 4)),
    ],
    "GaussianRBM": [
        lambda: (models.GaussianRBM(visible=4, hidden=3), reals(6, 4)),
        lambda: (models.GaussianRBM(3, 2, learn_variance=True), reals(6, 3)),
    ],
    "ReplicatedSoftmax": [
        lambda: (models.ReplicatedSoftmax(vocabulary=4, hidden=3), counts(6, 4)),
        lambda: (models.ReplicatedSoftmax(3, 2), counts(6, 3)),
    ],
    "RatingsRBM": [
        lambda: (models.RatingsRBM(items=3, ratings=2, hidden=2), ratings(6, 3, 2)),
        lambda: (models.RatingsRBM(2, 3, 3), ratings(6, 2, 3)),
        lambda: (models.RatingsRBM(3, 3, 2, weights="ordinal"), ratings(6, 3, 3)),
        lambda: (models.RatingsRBM(3, 3, 2, hidden_units="gaussian", weights="ordinal"), ratings(6, 3, 3)),
        lambda: (models.RatingsRBM(3, 2, 2, hidden_units="gaussian"), ratings(6, 3, 2)),
    ],
    "ConvolutionalRBM": [
        lambda: (models.ConvolutionalRBM(visible=9, filters=2, filter_size=2, pool=2), bits(6, 9)),
        lambda: (models.ConvolutionalRBM(12, 1, 2, 1, (2, 3), 2, "gaussian", learn_variance=True), reals(6, 12)),
    ],
    "DBM": [
        lambda: (models.DBM(visible=5, hidden=(3, 2)), bits(6, 5)),
        lambda: (models.DBM(4, (3, 2, 3), mean_field_sweeps=3), bits(6, 4)),
    ],
    "DBN": [
        lambda: (models.DBN(visible=5, hidden=(3, 2)), bits(6, 5)),
        lambda: (models.DBN(4, (3, 2, 3)), bits(6, 4)),
        lambda: (models.DBN(4, (3, 2), "gaussian", "gaussian", True), reals(6, 4)),
        lambda: (models.DBN(4, (3, 2, 2), "multinomial", "gaussian"), counts(6, 4)),
    ],
    "ConvolutionalDBN": [
        lambda: (models.ConvolutionalDBN(9, (2, 2), (2, 1), (2, 1)), bits(6, 9)),
        lambda: (models.ConvolutionalDBN(18, (2, 1, 2), (2, 2, 1), None, (3, 3), 2, "gaussian", True), reals(6, 18)),
        lambda: (models.ConvolutionalDBN(15, (2, 2, 1), (2, 1, 1), (2, 1, 1), (3, 5)), bits(6, 15)),
    ],
    "NormalizingFlow": [
        lambda: (models.NormalizingFlow(3, flow="coupling", flow_steps=1, hidden=(4,)), reals(6, 3)),
        lambda: (models.NormalizingFlow(2, flow="spline", flow_steps=1, hidden=(), bins=3), reals(6, 2)),
    ],
    "FullyVisibleBeliefNet": [lambda: (models.FullyVisibleBeliefNet(5), bits(6, 5))],
    "SigmoidBeliefNet": [
        lambda: (models.SigmoidBeliefNet((5, 3, 2)), bits(6, 5)),
        lambda: (models.SigmoidBeliefNet((4, 3), nonlinear=True), bits(6, 4)),
        lambda: (models.SigmoidBeliefNet((4, 3, 2), autoregressive=True), bits(6, 4)),
    ],
    "HelmholtzMachine": [lambda: (models.HelmholtzMachine((5, 4, 3)), bits(6, 5))],
    "StochasticFeedforward": [
        lambda: (models.StochasticFeedforward(2, 3, (4,), (2,), likelihood="bernoulli"), (reals(6, 2), bits(6, 3))),
    ],
    "ConditionalVAE": [
        lambda: (models.ConditionalVAE(2, 3, 2, (3,), "gaussian", prior="standard"), (reals(6, 2), reals(6, 3))),
        lambda: (models.ConditionalVAE(2, 3, 2, (), "categorical", 3), (reals(6, 2), levels(6, 3, values=3))),
        lambda: (models.ConditionalVAE(2, 3, 1, (3,), recognition="prior"), (reals(6, 2), bits(6, 3))),
    ],
    "ClassConditionalVAE": [
        lambda: (models.ClassConditionalVAE(3, 2, 2, (3,), "gaussian"), (classes(6, 2), reals(6, 3))),
    ],
    "DiscreteVAE": [
        lambda: (models.DiscreteVAE(5, latent=3, hidden=(4,), prior_hidden=2), bits(6, 5)),
        lambda: (models.DiscreteVAE(4, latent=2, hidden=()), bits(6, 4)),
    ],
    "BernoulliMixture": [
        lambda: (models.BernoulliMixture(4, 3), bits(6, 4)),
        lambda: (models.BernoulliMixture(4, 2, pseudo_count=0.5, start="kmeans"), bits(6, 4)),
    ],
    "GaussianMixture": [
        lambda: (models.GaussianMixture(3, 2), reals(6, 3)),
        lambda: (models.GaussianMixture(3, 2, "tied", start="rows"), reals(6, 3)),
        lambda: (models.GaussianMixture(3, 2, "diagonal"), reals(6, 3)),
        lambda: (models.GaussianMixture(3, 2, "spherical", regularisation=0.1), reals(6, 3)),
    ],
    "SparseCoding": [
        lambda: (models.SparseCoding(4, atoms=3, penalty=0.3, sweeps=25), reals(6, 4)),
        lambda: (models.SparseCoding(3, 2, penalty=0.2, positive=True, noise=0.8, sweeps=25), reals(6, 3)),
    ],
    "PredictiveSparseDecomposition": [
        lambda: (models.PredictiveSparseDecomposition(4, 3, 0.3, "lista", 2, 0.7, noise=0.8, sweeps=25), reals(6, 4)),
        lambda: (
            models.PredictiveSparseDecomposition(3, 2, 0.2, "soft threshold", match="objective", positive=True),
            reals(6, 3),
        ),
        lambda: (models.PredictiveSparseDecomposition(3, 2, 0.2, "tanh"), reals(6, 3)),
    ],
    "Autoencoder": [
        lambda: (models.Autoencoder(5, hidden=(4, 2)), reals(6, 5)),
        lambda: (models.Autoencoder(4, (3, 2), True, "sigmoid", "sigmoid", "bernoulli"), bits(6, 4)),
        lambda: (models.Autoencoder(4, (2,), likelihood="cross-entropy"), reals(6, 4).sigmoid()),
        lambda: (models.Autoencoder(4, (3,), False, "tanh", "softplus", "continuous-bernoulli"), reals(6, 4).sigmoid()),
        lambda: (models.Autoencoder(4, (2,), activation="linear", scale=0.5, prior="normal"), reals(6, 4)),
    ],
    "DenoisingAutoencoder": [
        lambda: (models.DenoisingAutoencoder(5, (4, 2), "masking", 0.3), bits(6, 5)),
        lambda: (models.DenoisingAutoencoder(4, (3,), "gaussian", 0.5, True, "sigmoid"), reals(6, 4)),
        lambda: (models.DenoisingAutoencoder(4, (3,), "salt-and-pepper", likelihood="bernoulli"), bits(6, 4)),
    ],
    "ContractiveAutoencoder": [
        lambda: (models.ContractiveAutoencoder(5, (3,), 0.3), reals(6, 5)),
        lambda: (models.ContractiveAutoencoder(4, (3, 2), 0.2, False, "tanh", "linear"), reals(6, 4)),
    ],
    "ConvolutionalAutoencoder": [
        lambda: (models.ConvolutionalAutoencoder((4, 4), (2,)), reals(6, 16)),
        lambda: (models.ConvolutionalAutoencoder((2, 4, 4), (2, 3), 2, 2, "repetition", "tanh"), reals(6, 32)),
        lambda: (models.ConvolutionalAutoencoder((2, 4), (2,), 2, 2, "transposed", "sigmoid", "bernoulli"), bits(6, 8)),
    ],
    "SemiSupervisedVAE": [
        lambda: (
            models.SemiSupervisedVAE(4, 3, 2, (3,), "gaussian"),
            (reals(6, 4), torch.tensor([0, 1, 2, -1, -1, 1])),
        ),
    ],
    "StackedSemiSupervisedVAE": [
        lambda: (
            models.StackedSemiSupervisedVAE(4, 3, 2, (3,), 1, (3,), "gaussian"),
            (reals(6, 4), torch.tensor([0, 1, 2, -1, -1, 1])),
        ),
        lambda: (
            models.StackedSemiSupervisedVAE(5, 2, 3, (), 2, (4,), kept=(2,), fixed=True),
            (bits(6, 5), torch.tensor([0, 1, -1, 0, 1, -1])),
        ),
    ],
    "PixelCNN": [
        lambda: (models.PixelCNN((1, 3), 2, 1, 4), levels(6, 3, values=4)),
        lambda: (models.PixelCNN((2, 2), 2, 2, 2, None, 5, 3, 3), bits(6, 12)),
        lambda: (models.PixelCNN((2, 2), 3, 1, 3, "logistic", 2, 1, 3, 3, False), levels(6, 4, values=3)),
    ],
    "GatedPixelCNN": [
        lambda: (models.GatedPixelCNN((2, 2), 2, 2, 3), levels(6, 4, values=3)),
        lambda: (models.GatedPixelCNN((2, 2), 2, 2, 2, None, 5, 3, 3), bits(6, 12)),
        lambda: (models.GatedPixelCNN((2, 2), 3, 1, 3, "logistic", 2, 1, 3, 3, False), levels(6, 4, values=3)),
    ],
    "PixelRNN": [
        lambda: (models.PixelRNN((3, 2), "diagonal", 6, 1, 4), levels(6, 6, values=4)),
    ],
    "ClassConditionalPixelCNN": [
        lambda: (models.ClassConditionalPixelCNN((2, 2), 3, 2, 1, 2, gated=False), (classes(6, 3), bits(6, 4))),
    ],
}
_OWN = own_examples("model")
MODELS = {name: [*([_OWN[name]] if name in _OWN else []), *_SETTINGS.get(name, [])] for name in {**_OWN, **_SETTINGS}}
