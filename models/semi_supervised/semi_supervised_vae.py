"""Variational autoencoder with a class that some rows tell (M2)."""

from collections.abc import Sequence
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.nn.module import pyro_method
from torch import Tensor

from ppgen.models.parts.arguments import one_of, positive_size, positive_sizes
from ppgen.models.parts.likelihoods import likelihood_conditional
from ppgen.models.parts.programs import joined, rows, standard_normal
from ppgen.models.semi_supervised.class_labels import class_law
from ppgen.models.semi_supervised.semi_supervised_model import SemiSupervisedModel
from ppgen.nn import MLP, NormalConditional


class SemiSupervisedVAE(SemiSupervisedModel):
    r"""Variational autoencoder with a class beside its latent, which some rows tell and the others leave open (M2).

    .. math:: y \sim \mathrm{Categorical}(1 / C), \quad z \sim N(0, I), \quad x \sim p_\theta(x \mid y, z), \qquad
              q_\phi(y, z \mid x) = q_\phi(y \mid x) \, N(\mu(x, y), \sigma(x, y)^2)

    Of a labelled row the bound is one of log p(x, y), of another one of log p(x), with the classes summed out:

    .. math:: \mathcal{L}(x, y) = E_{q(z \mid x, y)}\Big[\log \frac{p(x, y, z)}{q(z \mid x, y)}\Big], \qquad
              \mathcal{U}(x) = \sum_y q(y \mid x) \, \mathcal{L}(x, y) + H(q(y \mid x))

    Its default inference adds the weighted log q(y | x) of labelled rows to what is followed, not to the value. Data
    are pairs (x, y), y being -1 where a row has no label: `data.with_labels(keep=50)`. Sites: `y`, one-hot (classes,),
    `z`, shape (latent,), and `x`, shape (features,), in the plate `data`. Hidden layers have tanh units.

    References:
        | Semi-Supervised Learning with Deep Generative Models (Kingma, Rezende, Mohamed and Welling, 2014)
        | https://arxiv.org/abs/1406.5298

    Args:
        features: Observed variables.
        classes: Classes C; labels are whole numbers from 0 to C - 1.
        latent: Latent variables, of what the class does not tell.
        hidden: Units of the hidden layers of each network; the decoder has them in reverse.
        likelihood: Law of the data given class and latent: `"bernoulli"` for bits, `"gaussian"` for real values (the
            standard deviation is computed too).

    Raises:
        ValueError: If a size is not positive or the likelihood is unknown; by `fit`, if a label is out of range, no
            training row has a label, or a class has none.

    Example:
        >>> import ppgen
        >>> from ppgen import datasets, models
        >>> few = datasets.load("digits", binarize="threshold").with_labels(keep=50)
        >>> ssvae = models.SemiSupervisedVAE(features=64, classes=10, latent=8, hidden=(32,))
        >>> run = ppgen.fit(ssvae, few, epochs=1, progress=False)
        >>> ssvae.predict(few.test[0]).shape, ssvae.analogies(few.test[0][:3]).shape
        (torch.Size([300]), torch.Size([3, 10, 64]))
    """

    def __init__(
        self,
        features: int,
        classes: int = 10,
        latent: int = 50,
        hidden: Sequence[int] = (200, 200),
        likelihood: str = "bernoulli",
    ) -> None:
        super().__init__()
        self.features, self.latent = positive_size("features", features), positive_size("latent", latent)
        self.classes = positive_size("classes", classes)
        layers = positive_sizes("hidden", hidden)
        likelihood = one_of("likelihood", likelihood, ("bernoulli", "gaussian"))
        self.classifier = MLP((self.features, *layers, self.classes))
        self.encoder = NormalConditional(self.features + self.classes, layers, self.latent)
        self.decoder = likelihood_conditional(likelihood, self.classes + self.latent, layers[::-1], self.features)

    @classmethod
    def example(cls) -> tuple["SemiSupervisedVAE", tuple[Tensor, Tensor]]:
        """A small instance with six bit vectors, four of which have labels, to try things on."""
        x = torch.rand(6, 5).lt(0.4).float()
        return cls(features=5, classes=2, latent=2, hidden=(4,)), (x, torch.tensor([0, 1, -1, 0, 1, -1]))

    def class_prior(self) -> dist.TorchDistribution:
        """Uniform law of the class, one-hot."""
        return dist.OneHotCategorical(logits=next(self.parameters()).new_zeros(self.classes))

    def class_logits(self, x: Tensor) -> Tensor:
        """Logits of q(y | x): (..., features) -> (..., classes)."""
        return self.classifier(x)

    @pyro_method
    def model(self, x: Tensor | None = None, y: Tensor | None = None, num_rows: int | None = None) -> Tensor:
        """Joint density of class, latent and data.

        Args:
            x: Data, shape (rows, features); None draws it.
            y: Labels, which the guide takes; the class is a latent here.
            num_rows: Rows to draw when there are no data; 1 by default.
        """
        decoder = self.decoder
        with pyro.plate(self.plate, rows(x, num_rows)):
            label = pyro.sample("y", self.class_prior())
            z = pyro.sample("z", standard_normal(self.latent, self))
            return pyro.sample("x", decoder(joined([label, z])), obs=x)

    @pyro_method
    def guide(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Approximate posterior q(y, z | x); of a labelled row y is its label.

        Args:
            x: Data, shape (rows, features).
            y: Labels, (rows,), -1 where there is none.
        """
        classifier, encoder = self.classifier, self.encoder
        with pyro.plate(self.plate, len(x)):
            label = pyro.sample("y", class_law(classifier(x), y), infer={"enumerate": "parallel"})
            return pyro.sample("z", encoder(joined([x, label])))

    @torch.no_grad()
    def analogies(self, x: Any, y: Any = None) -> Tensor:
        """Each row once in every class with its own style z, the mean of q(z | x, y): means of p(x | y, z).

        Args:
            x: Data, (rows, features).
            y: Labels, (rows,); where there is none, the most probable class of the row.

        Returns:
            (rows, classes, features).

        Raises:
            TypeError: If labels are no whole numbers.
            ValueError: If rows have another number of features, or a label is out of range.
        """
        x = self._rows(x)
        every = torch.eye(self.classes, device=x.device, dtype=x.dtype)
        z = self.encoder(joined([x, every[self._labels(x, y)]])).mean
        return self.decoder(joined([every.expand(len(x), -1, -1), z.unsqueeze(1)])).mean

    def initialise(self, data: Any) -> None:
        """Start the decoder's bias, if it is still zero, at the training mean (its logit for bits)."""
        self.decoder.initialise(data.mean.to(self.device))
