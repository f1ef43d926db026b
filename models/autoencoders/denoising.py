"""Denoising autoencoder."""

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
import torch
from pyro.nn.module import pyro_method
from torch import Tensor

from ppgen.models.autoencoders.autoencoder import Autoencoder
from ppgen.models.parts.arguments import number_from_zero

NOISES = ("masking", "gaussian", "salt-and-pepper")


class DenoisingAutoencoder(Autoencoder):
    r"""Autoencoder that is shown corrupted data and must give back the clean ones.

    .. math:: \max_\theta \; E_{\tilde x \sim C(\tilde x \mid x)} \log p_\theta(x \mid f(\tilde x))

    The corruption is an auxiliary site of the guide, `noise`, whose density does not count; the law of the clean data
    is the model's. `encode` takes data as they are. As of every autoencoder the code has a flat prior and values are no
    bound of log p(x).

    Under Gaussian noise of standard deviation s the best reconstruction r of squared error is the posterior mean of the
    clean datum, so that (r(x) - x) / s^2 is the score of the data with that noise added, and for small s that of the
    data (`score`; Vincent, 2011; Alain and Bengio, 2014).

    References:
        | Extracting and Composing Robust Features with Denoising Autoencoders (Vincent, Larochelle, Bengio and
          Manzagol, 2008)
        | https://doi.org/10.1145/1390156.1390294
        | A Connection Between Score Matching and Denoising Autoencoders (Vincent, 2011)
        | https://doi.org/10.1162/NECO_a_00142
        | What Regularized Auto-Encoders Learn from the Data-Generating Distribution (Alain and Bengio, 2014)
        | https://arxiv.org/abs/1211.4246

    Args:
        features: Observed variables.
        hidden: Units of each layer from the data up; the last one is the code.
        noise: `"masking"` sets numbers to 0, `"salt-and-pepper"` to 0 or 1 with even odds, each number with probability
            `level`; `"gaussian"` adds noise of standard deviation `level`.
        level: Share of the numbers that are spoilt, in [0, 1), or the standard deviation; 0 leaves data as they are.
        tied: Whether the decoder has the transposed weights of the encoder, throughout training.
        activation: Non-linearity of the layers: `"tanh"`, `"sigmoid"`, `"relu"`, `"softplus"` or `"linear"`.
        code_activation: That of the code.
        likelihood: Law of the data given the code, as of `Autoencoder`.
        scale: Standard deviation under `"gaussian"`; None learns it.
        output_activation: Non-linearity that makes the mean of the data under `"gaussian"`, as of `Autoencoder`.

    Raises:
        ValueError: If the noise is unknown or its level out of range, or as `Autoencoder`.
        TypeError: If an argument has the wrong type.

    Example:
        >>> import torch
        >>> from ppgen import models
        >>> model = models.DenoisingAutoencoder(64, hidden=(32, 16), noise="masking", level=0.25)
        >>> model.encode(torch.zeros(5, 64)).shape
        torch.Size([5, 16])
    """

    def __init__(
        self,
        features: int,
        hidden: Sequence[int] = (32, 16),
        noise: str = "masking",
        level: float = 0.25,
        tied: bool = False,
        activation: str = "tanh",
        code_activation: str = "linear",
        likelihood: str = "gaussian",
        scale: float | None = None,
        output_activation: str = "linear",
    ) -> None:
        if noise not in NOISES:
            raise ValueError(f"noise must be one of {', '.join(map(repr, NOISES))}, got {noise!r}.")
        self_level = number_from_zero("level", level)
        if noise != "gaussian" and self_level >= 1:
            raise ValueError(
                f"level must be a share of the numbers in [0, 1) under noise={noise!r}, such as 0.25; got {level!r}, "
                "which leaves nothing of the data."
            )
        super().__init__(
            features, hidden, tied, activation, code_activation, likelihood, scale, output_activation=output_activation
        )
        self.noise, self.level = noise, self_level

    @pyro_method
    def guide(self, x: Tensor) -> Tensor:
        """The code of data of shape (rows, features) that were corrupted."""
        network = self.network
        with pyro.plate(self.plate, len(x)):
            # Noise of a law without parameters, whose density would only shift the value.
            noise = pyro.sample("noise", self._noise(x).mask(False), infer={"is_auxiliary": True})
            return pyro.sample("code", self._code_law(network.encode(self.corrupted(x, noise))))

    def corrupted(self, x: Tensor, noise: Tensor) -> Tensor:
        """Data after a draw of the site `noise`: uniform numbers in [0, 1), or standard Normal ones."""
        if self.noise == "gaussian":
            return x + self.level * noise
        spoilt = noise < self.level
        if self.noise == "masking":
            return torch.where(spoilt, torch.zeros_like(x), x)
        return torch.where(spoilt, (noise < self.level / 2).to(x.dtype), x)

    def score(self, x: Tensor) -> Tensor:
        r"""Estimate of the gradient of the log-density of the noisy data, (r(x) - x) / level^2.

        Args:
            x: Data, (rows, features).

        Returns:
            (rows, features).

        Raises:
            ValueError: If the noise is not Gaussian or has no variance.

        Example:
            >>> from ppgen.models import DenoisingAutoencoder
            >>> import torch
            >>> DenoisingAutoencoder(3, (2,), noise="gaussian", level=0.1).score(torch.zeros(5, 3)).shape
            torch.Size([5, 3])
        """
        if self.noise != "gaussian" or self.level == 0:
            raise ValueError(
                "The score of the data is read off an autoencoder of Gaussian noise: noise='gaussian', level=0.1. This "
                f"one has noise={self.noise!r}, level={self.level}."
            )
        return (self.decode(self.encode(x)) - x) / self.level**2

    def _noise(self, x: Tensor) -> dist.TorchDistribution:
        zero, one = x.new_zeros(self.num_features), x.new_ones(self.num_features)
        law = dist.Normal if self.noise == "gaussian" else dist.Uniform
        return law(zero, one).to_event(1)
