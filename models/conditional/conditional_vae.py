"""Conditional variational autoencoders: of any covariates, and of images given their class."""

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
import torch
from pyro.nn.module import pyro_method
from torch import Tensor, nn

from ppgen.conditional import ConditionalModel
from ppgen.models.parts.arguments import one_of, positive_size, positive_sizes
from ppgen.models.parts.likelihoods import likelihood_conditional
from ppgen.models.parts.programs import joined, standard_normal
from ppgen.nn import NormalConditional


class ConditionalVAE(ConditionalModel):
    r"""Conditional variational autoencoder p(y | x): the latent's law and that of the data are given the covariates.

    .. math:: z \sim p_\theta(z \mid x), \quad y \sim p_\theta(y \mid x, z), \qquad
              q_\phi(z \mid x, y) = N(\mu(x, y), \sigma(x, y)^2)

    The prior network gives p(z | x) = N(m(x), s(x)^2), the recognition network q(z | x, y). With
    `recognition="prior"` the guide is the prior network itself: the ELBO is then the objective of the Gaussian
    stochastic neural network, E[log p(y | x, z)] over p(z | x), a lower bound of log p(y | x) like any ELBO.
    `inference.ELBO(prior_weight=w)` trains the recognition network and follows both, the hybrid objective.

    Batches are tuples (x, y): `data.split_features(k)`, `data.split_quadrants(1)`, `data.given_labels()` and
    `data.given_attributes()` of a data set make them. Sites: `z`, shape (latent,), and `y`, shape (features,), in the
    plate `data`. Hidden layers have tanh units.

    References:
        | Learning Structured Output Representation using Deep Conditional Generative Models (Sohn, Lee and Yan, 2015)

    Args:
        covariates: Variables of x.
        features: Variables of y.
        latent: Latent variables.
        hidden: Units of the hidden layers of prior and recognition network; the decoder has them in reverse.
        likelihood: Law of y given x and the latent: `"bernoulli"` for bits, `"gaussian"` for real values (the standard
            deviation is computed too), `"categorical"` for integer levels.
        categories: Levels of each variable under `"categorical"`.
        prior: `"network"` for p(z | x), or `"standard"` for N(0, I) whatever x is: what z says is then apart from x,
            as the style of a digit is from its class.
        recognition: `"network"` for q(z | x, y), or `"prior"` for a guide that draws from the model's own prior.

    Raises:
        ValueError: If a size is not positive, or the likelihood, prior or recognition is unknown.
        TypeError: If an argument has the wrong type.

    Example:
        >>> import torch
        >>> import ppgen
        >>> from ppgen import models
        >>> cvae = models.ConditionalVAE(covariates=32, features=32, latent=8, hidden=(64,))
        >>> ppgen.sample(cvae, num_samples=5, covariates=torch.zeros(3, 32)).shape
        torch.Size([5, 3, 32])
    """

    size_names = ("covariates", "features")

    def __init__(
        self,
        covariates: int,
        features: int,
        latent: int = 50,
        hidden: Sequence[int] = (200, 200),
        likelihood: str = "bernoulli",
        categories: int = 256,
        prior: str = "network",
        recognition: str = "network",
    ) -> None:
        super().__init__()
        self._build(covariates, features, latent, hidden, likelihood, categories, prior, recognition)

    def _build(
        self,
        covariates: int,
        features: int,
        latent: int,
        hidden: Sequence[int],
        likelihood: str,
        categories: int,
        prior: str,
        recognition: str,
    ) -> None:
        """Make the networks, of sizes that are checked by the names that they have here."""
        self.inputs, self.outputs = positive_size(self.size_names[0], covariates), positive_size("features", features)
        self.latent, layers = positive_size("latent", latent), positive_sizes("hidden", hidden)
        self.prior: nn.Module | None = None
        self.encoder: nn.Module | None = None
        if one_of("prior", prior, ("network", "standard")) == "network":
            self.prior = NormalConditional(self.inputs, layers, self.latent)
        if one_of("recognition", recognition, ("network", "prior")) == "network":
            self.encoder = NormalConditional(self.inputs + self.outputs, layers, self.latent)
        given = self.inputs + self.latent
        self.decoder = likelihood_conditional(likelihood, given, layers[::-1], self.outputs, categories)

    @classmethod
    def example(cls) -> tuple["ConditionalVAE", tuple[Tensor, Tensor]]:
        """A small instance with six rows of x and y, to try things on."""
        model = cls(covariates=3, features=4, latent=2, hidden=(4,))
        return model, (torch.randn(6, 3), torch.rand(6, 4).lt(0.4).float())

    @pyro_method
    def model(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Joint density of the latent and y given x.

        Args:
            x: Covariates, shape (rows, covariates).
            y: Data, shape (rows, features); None draws them.
        """
        decoder = self.decoder
        self.check_arguments(x, y)
        with pyro.plate(self.plate, len(x)):
            z = pyro.sample("z", self._prior(x))
            return pyro.sample("y", decoder(joined([x.to(z), z])), obs=y)

    @pyro_method
    def guide(self, x: Tensor, y: Tensor) -> Tensor:
        """Approximate posterior q(z | x, y) of x, (rows, covariates), and y, (rows, features)."""
        encoder = self.encoder
        self.check_arguments(x, y)
        with pyro.plate(self.plate, len(x)):
            return pyro.sample("z", self._prior(x) if encoder is None else encoder(torch.cat([x, y.to(x)], -1)))

    def _prior(self, x: Tensor) -> dist.TorchDistribution:
        """p(z | x) of batch shape (rows,), or the standard Normal law of any row."""
        return standard_normal(self.latent, self) if self.prior is None else self.prior(x)


class ClassConditionalVAE(ConditionalVAE):
    r"""Variational autoencoder of rows given their class, whose latent is apart from the class: p(y | c).

    .. math:: z \sim N(0, I), \quad y \sim p_\theta(y \mid c, z), \qquad q_\phi(z \mid c, y)

    A `ConditionalVAE` of one-hot classes with `prior="standard"`: the latent says what the class does not, the style of
    a digit. Batches are tuples (classes, one-hot, rows), as `data.given_labels()` of a data set makes them. Draws of
    each class: `ppgen.sample(model, 8, covariates=torch.eye(classes))`. Sites: `z` and `y`, in the plate `data`.

    References:
        | Learning Structured Output Representation using Deep Conditional Generative Models (Sohn, Lee and Yan, 2015)

    Args:
        features: Variables of a row.
        classes: Number of classes.
        latent: Latent variables.
        hidden: Units of the hidden layers of the recognition network; the decoder has them in reverse.
        likelihood: Law of a row given class and latent, as of `ConditionalVAE`.
        categories: Levels of each variable under `"categorical"`.

    Raises:
        ValueError: If a size is not positive or the likelihood is unknown.
        TypeError: If an argument has the wrong type.

    Example:
        >>> import torch
        >>> import ppgen
        >>> from ppgen import models
        >>> vae = models.ClassConditionalVAE(features=64, latent=8, hidden=(64,))
        >>> ppgen.sample(vae, num_samples=5, covariates=torch.eye(10)).shape
        torch.Size([5, 10, 64])
    """

    inputs_are_labels = True
    size_names = ("classes", "features")

    def __init__(
        self,
        features: int,
        classes: int = 10,
        latent: int = 50,
        hidden: Sequence[int] = (200, 200),
        likelihood: str = "bernoulli",
        categories: int = 256,
    ) -> None:
        ConditionalModel.__init__(self)
        self._build(classes, features, latent, hidden, likelihood, categories, "standard", "network")

    @classmethod
    def example(cls) -> tuple["ClassConditionalVAE", tuple[Tensor, Tensor]]:
        """A small instance with six classes and rows, to try things on."""
        model = cls(features=4, classes=3, latent=2, hidden=(4,))
        return model, (torch.eye(3)[torch.arange(6) % 3], torch.rand(6, 4).lt(0.4).float())
