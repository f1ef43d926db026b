"""Variational autoencoder."""

from collections.abc import Sequence
from typing import Any

import pyro
import torch
from pyro.nn.module import pyro_method
from torch import Tensor

from ppgen.models.parts.arguments import positive_size, positive_sizes
from ppgen.models.parts.flow_choices import posterior_conditional, prior_flow
from ppgen.models.parts.likelihoods import likelihood_conditional
from ppgen.models.parts.programs import rows, standard_normal
from ppgen.pair import GenerativeModel


class VAE(GenerativeModel):
    r"""Variational autoencoder: a standard Normal latent and a neural network to the data.

    .. math:: z \sim N(0, I), \quad x \sim p_\theta(x \mid z), \qquad q_\phi(z \mid x) = N(\mu(x), \sigma(x)^2)

    Sites: `z`, shape (latent,), and `x`, shape (features,), in the plate `data`. Hidden layers have tanh units.

    The approximate posterior may be a flow upon that Normal law, which sees the encoder's last hidden layer, and the
    prior one upon the standard Normal law:

    - posterior `"iaf"`: draws, and log q at them, take one pass of each network; log q at other values takes `latent`
      steps of each. For `inference.ELBO` and `inference.IWELBO`. `inference.StickTheLanding`,
      `inference.DoublyReparameterized`, `inference.ReweightedWakeSleep` and `inference.WakeSleep` take log q at other
      values: they are right, and slow.
    - posterior `"coupling"` or `"spline"`: one pass everywhere, for every objective.
    - prior `"maf"`: log p takes one pass, draws `latent` steps of each network, in sleep phases and samples.
    - prior `"coupling"` or `"spline"`: one pass everywhere.

    `inference.AnalyticKL` raises under all of them, as no divergence of theirs has a closed form.

    References:
        | Auto-Encoding Variational Bayes (Kingma and Welling, 2014)
        | https://arxiv.org/abs/1312.6114
        | Improving Variational Inference with Inverse Autoregressive Flow (Kingma et al., 2016),
          https://arxiv.org/abs/1606.04934

    Args:
        features: Observed variables.
        latent: Latent variables.
        hidden: Units of the hidden layers between data and latent; the decoder has them in reverse.
        likelihood: Law of the data given the latent: `"bernoulli"` for bits, `"gaussian"` for real values (the
            standard deviation is computed too), `"categorical"` for integer levels.
        categories: Levels of each variable under `"categorical"`.
        posterior: Family of the guide: `"diagonal"`, independent Normal variables; `"iaf"`, `"coupling"` or `"spline"`,
            an inverse autoregressive flow or coupling layers, affine or of splines, upon them.
        prior: Law of the latent: `"normal"`; `"maf"`, `"coupling"` or `"spline"`, a masked autoregressive flow or
            coupling layers upon it.
        flow_steps: Steps of each flow; the order of entries is reversed from one to the next, and coupling flows have
            two layers a step.
        flow_hidden: Units of the hidden layers of each step's network.

    Raises:
        ValueError: If a size is not positive, or the likelihood, posterior or prior is unknown.

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
        posterior: str = "diagonal",
        prior: str = "normal",
        flow_steps: int = 2,
        flow_hidden: Sequence[int] = (200,),
    ) -> None:
        super().__init__()
        self.features, self.latent = positive_size("features", features), positive_size("latent", latent)
        layers = positive_sizes("hidden", hidden)
        self.encoder = posterior_conditional(posterior, self.features, layers, self.latent, flow_steps, flow_hidden)
        self.decoder = likelihood_conditional(likelihood, self.latent, layers[::-1], self.features, categories)
        self.prior_flow = prior_flow(prior, self.latent, flow_steps, flow_hidden)

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
        decoder, flow = self.decoder, self.prior_flow
        prior = standard_normal(self.latent, self)
        if flow is not None:
            prior = flow(prior)
        with pyro.plate(self.plate, rows(x, num_rows)):
            z = pyro.sample("z", prior)
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
