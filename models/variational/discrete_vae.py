"""Variational autoencoder with binary latents under a Boltzmann machine."""

from collections.abc import Sequence
from typing import Any

import pyro
import torch
from pyro.nn.module import pyro_method
from torch import Tensor, nn

from ppgen.distributions import Bernoulli, BoltzmannMachine, Dense
from ppgen.models.parts.arguments import positive_size, positive_sizes
from ppgen.models.parts.likelihoods import likelihood_conditional
from ppgen.models.parts.programs import rows
from ppgen.models.parts.sigmoid_layers import SigmoidLayer
from ppgen.pair import GenerativeModel


class DiscreteVAE(GenerativeModel):
    r"""Variational autoencoder with binary latents whose prior is a restricted Boltzmann machine.

    .. math:: p(z) = \frac{1}{Z} \sum_h \exp(b \cdot z + c \cdot h + z^\top W h), \quad x \sim p_\theta(x \mid z),
              \qquad q_\phi(z \mid x) = \prod_i \mathrm{Bernoulli}(z_i \mid \sigma(a_i(x)))

    The machine joins the latents, one side of it, with hidden units h that are summed out; its log Z is not known, so
    training needs a negative phase and drawing a sampler, which `ppgen.sample` brings along. Sites: `z`, shape
    (latent,), undirected, and `x`, shape (features,), bits, in the plate `data`. Hidden layers have tanh units. The
    prior's weights start at N(0, 1 / (latent + prior_hidden)), its biases at zero.

    References:
        | Discrete Variational Autoencoders (Rolfe, 2017)
        | https://arxiv.org/abs/1609.02200

    Args:
        features: Observed variables.
        latent: Binary latent variables.
        hidden: Units of the hidden layers between data and latents; the decoder has them in reverse.
        prior_hidden: Hidden units of the prior; by default as many as latents.

    Raises:
        ValueError: If a size is not positive.

    Example:
        >>> from ppgen import evaluation, models
        >>> dvae = models.DiscreteVAE(features=64, latent=8, hidden=(32,), prior_hidden=5)
        >>> dvae.machine(), evaluation.log_partition(dvae, method="exact").kind
        (BoltzmannMachine(latent=8, hidden=5), 'exact')
    """

    default_inference = "pcd"

    def __init__(
        self, features: int, latent: int = 16, hidden: Sequence[int] = (200,), prior_hidden: int | None = None
    ) -> None:
        super().__init__()
        self.features, self.latent = positive_size("features", features), positive_size("latent", latent)
        units = self.latent if prior_hidden is None else positive_size("prior_hidden", prior_hidden)
        layers = positive_sizes("hidden", hidden)
        self.encoder = SigmoidLayer(self.features, layers, self.latent)
        self.decoder = likelihood_conditional("bernoulli", self.latent, layers[::-1], self.features)
        self.prior_weight = nn.Parameter(torch.randn(self.latent, units) / (self.latent + units) ** 0.5)
        self.prior_bias = nn.Parameter(torch.zeros(self.latent))
        self.prior_hidden_bias = nn.Parameter(torch.zeros(units))
        self.latent_sites = ("z",)

    @property
    def num_features(self) -> int:
        """Number of observed variables: the features of a datum."""
        return self.features

    def machine(self) -> BoltzmannMachine:
        """The Boltzmann machine of the prior with its present weights: layers `latent` and `hidden`."""
        layers = {"latent": Bernoulli(self.prior_bias), "hidden": Bernoulli(self.prior_hidden_bias)}
        return BoltzmannMachine(layers, [Dense(self.prior_weight)])

    @pyro_method
    def model(self, x: Tensor | None = None, num_rows: int | None = None) -> Tensor:
        """Joint density of latents and data.

        Args:
            x: Data in {0, 1}, shape (rows, features); None draws it, which needs a sampler (`inference.attach`).
            num_rows: Rows to draw when there are no data; 1 by default.
        """
        machine, decoder = self.machine(), self.decoder
        with pyro.plate(self.plate, rows(x, num_rows)):
            z = pyro.sample("z", machine.marginal("latent"))
            return pyro.sample("x", decoder(z), obs=x)

    @pyro_method
    def guide(self, x: Tensor) -> Tensor:
        """Approximate posterior q(z | x) of data of shape (rows, features)."""
        encoder = self.encoder
        with pyro.plate(self.plate, len(x)):
            return pyro.sample("z", encoder(x))

    def initialise(self, data: Any) -> None:
        """Start the decoder's bias, if it is still zero, at the logit of the training mean."""
        self.decoder.initialise(data.mean.to(self.device))
