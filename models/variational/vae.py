"""Variational autoencoder."""

from collections.abc import Sequence
from typing import Any

import pyro
import torch
from pyro.nn.module import pyro_method
from torch import Tensor

from ppgen.models.parts.arguments import positive_size, positive_sizes
from ppgen.models.parts.likelihoods import likelihood_conditional
from ppgen.models.parts.programs import rows, standard_normal
from ppgen.nn import NormalConditional
from ppgen.pair import GenerativeModel


class VAE(GenerativeModel):
    r"""Variational autoencoder: a standard Normal latent and a neural network to the data.

    .. math:: z \sim N(0, I), \quad x \sim p_\theta(x \mid z), \qquad q_\phi(z \mid x) = N(\mu(x), \sigma(x)^2)

    Sites: `z`, shape (latent,), and `x`, shape (features,), in the plate `data`. Hidden layers have tanh units.

    References:
        | Auto-Encoding Variational Bayes (Kingma and Welling, 2014)
        | https://arxiv.org/abs/1312.6114

    Args:
        features: Observed variables.
        latent: Latent variables.
        hidden: Units of the hidden layers between data and latent; the decoder has them in reverse.
        likelihood: Law of the data given the latent: `"bernoulli"` for bits, `"gaussian"` for real values (the
            standard deviation is computed too), `"categorical"` for integer levels.
        categories: Levels of each variable under `"categorical"`.

    Raises:
        ValueError: If a size is not positive or the likelihood is unknown.

    Example:
        >>> import torch
        >>> from ppgen import models
        >>> vae = models.VAE(features=64, latent=8, hidden=(64,))
        >>> vae.decoder(torch.zeros(5, 8)).event_shape
        torch.Size([64])
    """

    def __init__(
        self,
        features: int,
        latent: int = 50,
        hidden: Sequence[int] = (200, 200),
        likelihood: str = "bernoulli",
        categories: int = 256,
    ) -> None:
        super().__init__()
        self.features, self.latent = positive_size("features", features), positive_size("latent", latent)
        layers = positive_sizes("hidden", hidden)
        self.encoder = NormalConditional(self.features, layers, self.latent)
        self.decoder = likelihood_conditional(likelihood, self.latent, layers[::-1], self.features, categories)

    @classmethod
    def example(cls) -> tuple["VAE", Tensor]:
        """A small instance with six bit vectors, to try things on."""
        return cls(features=5, latent=2, hidden=(4,)), torch.rand(6, 5).lt(0.4).float()

    @property
    def num_features(self) -> int:
        """Number of observed variables: the features of a datum."""
        return self.features

    @pyro_method
    def model(self, x: Tensor | None = None, num_rows: int | None = None) -> Tensor:
        """Joint density of latent and data.

        Args:
            x: Data, shape (rows, features); None draws it.
            num_rows: Rows to draw when there are no data; 1 by default.
        """
        decoder = self.decoder
        with pyro.plate(self.plate, rows(x, num_rows)):
            z = pyro.sample("z", standard_normal(self.latent, self))
            return pyro.sample("x", decoder(z), obs=x)

    @pyro_method
    def guide(self, x: Tensor) -> Tensor:
        """Approximate posterior q(z | x) of data of shape (rows, features)."""
        encoder = self.encoder
        with pyro.plate(self.plate, len(x)):
            return pyro.sample("z", encoder(x))

    def initialise(self, data: Any) -> None:
        """Start the decoder's bias, if it is still zero, at the training mean (its logit for bits)."""
        self.decoder.initialise(data.mean.to(self.device))
