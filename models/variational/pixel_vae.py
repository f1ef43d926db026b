"""Variational autoencoder with an autoregressive decoder."""

import math
from collections.abc import Sequence
from typing import Any

import pyro
import torch
from pyro.nn.module import pyro_method
from torch import Tensor

from ppgen.distributions import Autoregressive, NormalMixtureOutput
from ppgen.models.parts.arguments import check_images, one_of, positive_size, positive_sizes
from ppgen.models.parts.pixels import image_shape, pixel_network, pixel_output
from ppgen.models.parts.programs import rows, standard_normal
from ppgen.nn import CausalLinear, NormalConditional, OffsetCausal
from ppgen.pair import GenerativeModel

_COMPONENTS = 5  # of the mixtures of an autoregressive prior


class PixelVAE(GenerativeModel):
    r"""Variational autoencoder whose decoder draws pixel by pixel, each given the latent and the pixels before it.

    .. math:: z \sim N(0, I), \quad x_i \sim p\big(x_i \mid f_i(x_1, \dots, x_{i-1}) + h_i(z)\big), \qquad
              q_\phi(z \mid x) = N(\mu(x), \sigma(x)^2)

    Such a decoder models images without the latent, and under the plain ELBO it often leaves z unused: the divergence
    falls to 0. The default inference, `inference.FreeBits`, lets z carry some nats free of charge in training; the
    values that it reports are the ELBO. What is used tell `diagnostics.latent_units` and `diagnostics.check`. Sites:
    `z`, shape (latent,), and `x`, shape (features,), in the plate `data`.

    References:
        | PixelVAE: A Latent Variable Model for Natural Images (Gulrajani, Kumar, Ahmed, Taiga, Visin, Vazquez and
          Courville, 2017)
        | https://arxiv.org/abs/1611.05013
        | Variational Lossy Autoencoder (Chen, Kingma, Salimans, Duan, Dhariwal, Schulman, Sutskever and Abbeel, 2017)
        | https://arxiv.org/abs/1611.02731

    Args:
        shape: Rows and columns of the images, or channels, rows and columns.
        latent: Latent variables.
        hidden: Units of the hidden layers between data and latent; those to the pixels are in reverse.
        channels: Maps of the pixels' network.
        layers: Its layers.
        levels: Values of a pixel, 0 to `levels - 1`: 2 for bits.
        prior: `"normal"`, N(0, I); or `"autoregressive"`: each latent a mixture of Normal laws given those before it,
            whose locations are linear in them.

    Raises:
        ValueError: If a size is not positive, there are fewer than two levels, or the prior is unknown.
        TypeError: If an argument has the wrong type.

    Example:
        >>> from ppgen import models
        >>> model = models.PixelVAE(shape=(8, 8), latent=4, hidden=(32,), channels=4, layers=1)
        >>> model.model(num_rows=3).shape
        torch.Size([3, 64])
    """

    default_inference = "free-bits"

    def __init__(
        self,
        shape: Sequence[int],
        latent: int = 16,
        hidden: Sequence[int] = (200,),
        channels: int = 16,
        layers: int = 3,
        levels: int = 2,
        prior: str = "normal",
    ) -> None:
        super().__init__()
        self.image_shape = image_shape(shape)
        self.latent, sizes = positive_size("latent", latent), positive_sizes("hidden", hidden)
        self.output = pixel_output(levels)
        network = pixel_network(self.image_shape, channels, layers, self.output.num_parameters)
        self.decoder = OffsetCausal(network, self.latent, sizes[::-1])
        self.encoder = NormalConditional(self.num_features, sizes, self.latent)
        self.prior: CausalLinear | None = None
        if one_of("prior", prior, ("normal", "autoregressive")) == "autoregressive":
            self.prior_output = NormalMixtureOutput(_COMPONENTS)
            self.prior = CausalLinear(self.latent, self.prior_output.num_parameters)
            grid = torch.special.ndtri((torch.arange(100) + 0.5) / 100)
            self.prior.initialise(self.prior_output.start(grid.unsqueeze(-1).expand(-1, self.latent)))

    @classmethod
    def example(cls) -> tuple["PixelVAE", Tensor]:
        """A small instance with six bit vectors, to try things on."""
        return cls(shape=(2, 3), latent=2, hidden=(4,), channels=2, layers=1), torch.rand(6, 6).lt(0.4).float()

    @property
    def num_features(self) -> int:
        """Number of observed variables: channels x rows x columns."""
        return math.prod(self.image_shape)

    def prior_law(self) -> Any:
        """Law of the latent, with events of shape (latent,)."""
        if self.prior is None:
            return standard_normal(self.latent, self)
        return Autoregressive(self.prior, self.prior_output)

    def law(self, z: Tensor) -> Any:
        """Law of images given latents (..., latent), with events of shape (features,)."""
        return Autoregressive(self.decoder, self.output, given=z)

    @pyro_method
    def model(self, x: Tensor | None = None, num_rows: int | None = None) -> Tensor:
        """Joint density of latent and data.

        Args:
            x: Data, shape (rows, features); None draws it, pixel by pixel.
            num_rows: Rows to draw when there are no data; 1 by default.
        """
        with pyro.plate(self.plate, rows(x, num_rows)):
            z = pyro.sample("z", self.prior_law())
            return pyro.sample("x", self.law(z), obs=x)

    @pyro_method
    def guide(self, x: Tensor) -> Tensor:
        """Approximate posterior q(z | x) of data of shape (rows, features)."""
        encoder = self.encoder
        with pyro.plate(self.plate, len(x)):
            return pyro.sample("z", encoder(x))

    def initialise(self, data: Any) -> None:
        """Start the pixels' biases at the law that each has by itself in the training data.

        Raises:
            ValueError: If the data say that their images have another shape.
        """
        check_images(data, self.image_shape)
        start = self.output.start(data.batch("train", torch.arange(min(data.num_train, 10_000))).to(self.device))
        if start is not None:
            self.decoder.initialise(start)
