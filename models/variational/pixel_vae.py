"""Variational autoencoder with an autoregressive decoder."""

from collections.abc import Sequence
from typing import Any

import pyro
import torch
from pyro.nn.module import pyro_method
from torch import Tensor, nn

from ppgen.distributions import Autoregressive, NormalMixtureOutput
from ppgen.models.autoregressive.pixel_model import LOOKED_AT, PixelImages, example_images
from ppgen.models.parts.arguments import one_of, positive_size, positive_sizes
from ppgen.models.parts.programs import rows, standard_normal
from ppgen.nn import CausalLinear, GatedCausalConvolutions, NormalConditional, OffsetCausal
from ppgen.pair import GenerativeModel

_COMPONENTS = 5  # of the mixtures of an autoregressive prior
_QUANTILES = 100  # of a standard Normal law, from which they start


class PixelVAE(PixelImages, GenerativeModel):
    r"""Variational autoencoder whose decoder draws pixel by pixel, each given the latent and the pixels before it.

    .. math:: z \sim N(0, I), \quad x_i \sim p\big(x_i \mid f_i(x_1, \dots, x_{i-1}; z) + h_i(z)\big), \qquad
              q_\phi(z \mid x) = N(\mu(x), \sigma(x)^2)

    with the gated convolutions of `GatedPixelCNN` for f, and tanh layers for h. Such a decoder models images without
    the latent, and under the plain ELBO it often leaves z unused: the divergence falls to 0. The default inference,
    `inference.FreeBits`, lets z carry some nats free of charge in training; the values that it reports are the ELBO.
    How much of z is used tells `diagnostics.latent_units`. Sites: `z`, shape (latent,), and `x`, shape (features,), in
    the plate `data`.

    References:
        | PixelVAE: A Latent Variable Model for Natural Images (Gulrajani, Kumar, Ahmed, Taiga, Visin, Vazquez and
          Courville, 2017)
        | https://arxiv.org/abs/1611.05013
        | Variational Lossy Autoencoder (Chen, Kingma, Salimans, Duan, Dhariwal, Schulman, Sutskever and Abbeel, 2017)
        | https://arxiv.org/abs/1611.02731

    Args:
        shape: Rows and columns of the images.
        latent: Latent variables.
        hidden: Units of the tanh layers between data and latent; those from the latent to the pixels are in reverse.
        channels: Maps of each stack of convolutions, of each channel of the image.
        layers: Gated layers.
        levels: Values of a pixel, whole numbers from 0 on.
        outputs: Law of a pixel, `"bernoulli"`, `"categorical"` or `"logistic"`, as of `PixelCNN`.
        components: Logistic laws of a mixture.
        image_channels: Numbers of a pixel, 3 of colours.
        first_size: Rows and columns of the first layer's square: how far the decoder sees without the latent.
        size: Rows and columns of the square of the other layers.
        prior: `"normal"`, N(0, I); or `"autoregressive"`: each latent a mixture of Normal laws given those before it,
            whose parameters are linear in them.

    Raises:
        ValueError: If a number is not positive, there are fewer than two levels, or a name is unknown.
        TypeError: If an argument has the wrong type.

    Example:
        >>> import ppgen
        >>> from ppgen import models
        >>> model = models.PixelVAE(shape=(8, 8), latent=4, hidden=(32,), channels=4, layers=1)
        >>> ppgen.sample(model, 3)
        Samples(3 x (64,))
    """

    default_inference = "free-bits"
    default_training = {"lr": 0.002, "lr_schedule": "cosine"}  # noqa: RUF012

    def __init__(
        self,
        shape: Sequence[int],
        latent: int = 16,
        hidden: Sequence[int] = (200,),
        channels: int = 16,
        layers: int = 3,
        levels: int = 2,
        outputs: str | None = None,
        components: int = 5,
        image_channels: int = 1,
        first_size: int = 5,
        size: int = 3,
        prior: str = "normal",
    ) -> None:
        super().__init__()
        self.latent, units = positive_size("latent", latent), positive_sizes("hidden", hidden)
        found = self._images(shape, image_channels, levels, outputs, components)
        pixels = GatedCausalConvolutions(
            found, self.output.num_parameters, channels, layers, image_channels, self.latent, first_size, size
        )
        self.network = OffsetCausal(pixels, self.latent, units[::-1])
        self.encoder = NormalConditional(self.num_features, units, self.latent)
        self.prior: CausalLinear | None = None
        if one_of("prior", prior, ("normal", "autoregressive")) == "autoregressive":
            self.prior_output = NormalMixtureOutput(_COMPONENTS)
            self.prior = CausalLinear(self.latent, self.prior_output.num_parameters)
            normal = torch.special.ndtri((torch.arange(_QUANTILES) + 0.5) / _QUANTILES)
            self.prior.initialise(self.prior_output.start(normal.unsqueeze(-1).expand(-1, self.latent)))

    @classmethod
    def example(cls) -> tuple["PixelVAE", Tensor]:
        """A small instance with six images, to try things on."""
        model = cls((2, 3), latent=2, hidden=(4,), channels=2, layers=2, first_size=3)
        with torch.no_grad():
            for parameter in model.network.parameters():  # biases of zero would hold units at their kinks
                parameter.add_(0.3 * torch.randn_like(parameter))
        return model, example_images(2, 3)

    @property
    def num_features(self) -> int:
        """Number of observed variables: rows x columns x channels."""
        return self.grid.positions

    def law(self, z: Tensor) -> Autoregressive:
        """Law of images given latents (..., latent), with events of shape (features,)."""
        return self._law(z)

    def prior_law(self) -> Any:
        """Law of the latent, with events of shape (latent,)."""
        if self.prior is None:
            return standard_normal(self.latent, self)
        return Autoregressive(self.prior, self.prior_output)

    def prior_parameters(self) -> list[nn.Parameter]:
        """Parameters of the prior alone, none of N(0, I): what `training.fit_prior` trains."""
        return [] if self.prior is None else list(self.prior.parameters())

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
        encoder, output = self.encoder, self.output
        with pyro.plate(self.plate, len(x)):
            return pyro.sample("z", encoder(output.code(x)))

    def initialise(self, data: Any) -> None:
        """Start the pixels' biases at the law that each has by itself in the training data."""
        train = data.train[:LOOKED_AT].to(self.encoder.loc.output.weight)
        bias = self.output.start(train if self.order is None else train[:, self.order])
        if bias is not None:
            self.network.initialise(bias)
