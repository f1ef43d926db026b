"""Generator networks: noise goes in, data come out, and no density is stated."""

from collections.abc import Sequence
from typing import Any

import pyro
import torch
from pyro.nn.module import pyro_method
from torch import Tensor, nn

from ppgen.models.parts.arguments import one_of, positive_size, positive_sizes
from ppgen.models.parts.noise import OUTPUTS, noise_law, start_at
from ppgen.models.parts.programs import rows
from ppgen.nn import MLP
from ppgen.pair import GenerativeModel


class Generator(GenerativeModel):
    r"""A network of noise without a density: x = G(z).

    .. math:: z \sim N(0, I) \text{ or } U(-1, 1), \quad x = G_\theta(z)

    Sites: `z`, shape (latent,), and the computed `x`, shape (features,), in the plate `data`. Hidden layers have
    rectified units.

    It is trained by `inference.MaximumMeanDiscrepancy` (a generative moment matching network) or
    `inference.Adversarial` (a generative adversarial network), and drawn by `ppgen.sample`. As it states no density,
    what needs one refuses it; `models.with_noise` puts a Normal law around G(z), which has a log-likelihood.

    References:
        | Generative Adversarial Nets (Goodfellow et al., 2014), https://arxiv.org/abs/1406.2661
        | Generative Moment Matching Networks (Li, Swersky and Zemel, 2015), https://arxiv.org/abs/1502.02761

    Args:
        features: Variables of a datum.
        latent: Variables of the noise.
        hidden: Units of the hidden layers, from the noise to the data.
        output: What the last layer goes through: `"sigmoid"` for data in [0, 1], `"tanh"` for [-1, 1], `"linear"`.
        prior: Law of the noise: `"normal"`, or `"uniform"` in [-1, 1].

    Raises:
        ValueError: If a size is not positive, or output or prior are unknown.

    Example:
        >>> import ppgen
        >>> from ppgen import datasets, inference, models
        >>> digits = datasets.load("digits")
        >>> generator = models.Generator(features=64, latent=4, hidden=(16,))
        >>> run = ppgen.fit(generator, digits, inference.MaximumMeanDiscrepancy(), epochs=1, progress=False)
        >>> ppgen.sample(run, 5).shape
        torch.Size([5, 64])
    """

    has_likelihood = False
    default_inference = "MaximumMeanDiscrepancy"

    def __init__(
        self,
        features: int,
        latent: int = 10,
        hidden: Sequence[int] = (64, 256, 256, 1024),
        output: str = "sigmoid",
        prior: str = "normal",
    ) -> None:
        super().__init__()
        self.features, self.latent = positive_size("features", features), positive_size("latent", latent)
        self.noise = noise_law(prior)
        self.network = MLP((self.latent, *positive_sizes("hidden", hidden), self.features), nn.ReLU)
        self.output = one_of("output", output, list(OUTPUTS))
        self.squash = OUTPUTS[output]

    @classmethod
    def example(cls) -> tuple["Generator", Tensor]:
        """A small instance with six rows, to try things on."""
        return cls(features=5, latent=2, hidden=(4,)), torch.rand(6, 5)

    @property
    def num_features(self) -> int:
        """Number of observed variables: the features of a datum."""
        return self.features

    @pyro_method
    def model(self, x: Tensor | None = None, num_rows: int | None = None) -> Tensor:
        """Draws of noise and data.

        Args:
            x: Data, which say how many rows are drawn; they are not looked at.
            num_rows: Rows to draw when there are no data; 1 by default.
        """
        network = self.network
        with pyro.plate(self.plate, rows(x, num_rows)):
            z = pyro.sample("z", self.noise(self.latent, self))
            return pyro.deterministic("x", self.squash(network(z)), event_dim=1)

    def initialise(self, data: Any) -> None:
        """Start the last bias where the outputs are the training mean."""
        start_at(self.network.output, self.output, data.mean)
