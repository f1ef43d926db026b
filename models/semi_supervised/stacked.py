"""Semi-supervised model of the codes of a variational autoencoder (M1+M2)."""

from collections.abc import Sequence
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.nn.module import pyro_method
from torch import Tensor

from ppgen.models.parts.arguments import number_from_zero, one_of, positive_size, positive_sizes
from ppgen.models.parts.likelihoods import likelihood_conditional
from ppgen.models.parts.programs import joined, rows, standard_normal
from ppgen.models.semi_supervised.class_labels import class_law, is_labelled, label_log_prob
from ppgen.models.semi_supervised.semi_supervised_model import SemiSupervisedModel
from ppgen.models.variational.vae import VAE
from ppgen.nn import MLP, NormalConditional
from ppgen.pair import as_pair


class StackedSemiSupervisedVAE(SemiSupervisedModel):
    r"""Class and style above the codes of a variational autoencoder, as one model of the data (M1+M2).

    .. math:: y \sim \mathrm{Categorical}(1 / C), \quad z \sim N(0, I), \quad
              c \sim N(\mu(y, z), \sigma(y, z)^2), \quad x \sim p(x \mid c), \qquad
              q(c, y, z \mid x) = q(c \mid x) \, q(y \mid c) \, q(z \mid y, c)

    `from_vae` takes p(x | c) and q(c | x) of a trained `models.VAE` and keeps them fixed: what is then trained is
    `models.SemiSupervisedVAE` on draws of its codes, and the value is still a bound of log p(x), or of log p(x, y)
    where y is told. Codes that the autoencoder does not use are left out of class and style; their law stays N(0, 1).
    Sites: `y`, one-hot (classes,), `z`, shape (latent,), `code`, shape (codes,), and `x`, shape (features,), in the
    plate `data`. Hidden layers have tanh units.

    References:
        | Semi-Supervised Learning with Deep Generative Models (Kingma, Rezende, Mohamed and Welling, 2014)
        | https://arxiv.org/abs/1406.5298

    Args:
        features: Observed variables.
        classes: Classes C; labels are whole numbers from 0 to C - 1.
        codes: Latent variables c of the autoencoder.
        code_hidden: Units of the hidden layers between data and codes; the decoder has them in reverse.
        latent: Latent variables z, of what the class does not tell.
        hidden: Units of the hidden layers of the networks above the codes.
        likelihood: Law of the data given the codes: `"bernoulli"` or `"gaussian"`.
        kept: Positions of the codes that class and style model; None for all.
        fixed: Whether the networks between data and codes stay as they are in training.

    Raises:
        ValueError: If a size is not positive, the likelihood is unknown, or `kept` names no code or one twice.

    Example:
        >>> import ppgen
        >>> from ppgen import datasets, models
        >>> digits = datasets.load("digits", binarize="threshold")
        >>> vae = models.VAE(features=64, latent=8, hidden=(32,))
        >>> run = ppgen.fit(vae, digits, epochs=3, progress=False)
        >>> stacked = models.StackedSemiSupervisedVAE.from_vae(vae, digits.train, latent=4, hidden=(32,))
        >>> run = ppgen.fit(stacked, digits.with_labels(keep=50), epochs=1, progress=False)
        >>> stacked.predict(digits.test).shape
        torch.Size([300])
    """

    def __init__(
        self,
        features: int,
        classes: int = 10,
        codes: int = 50,
        code_hidden: Sequence[int] = (200, 200),
        latent: int = 50,
        hidden: Sequence[int] = (200,),
        likelihood: str = "bernoulli",
        kept: Sequence[int] | None = None,
        fixed: bool = False,
    ) -> None:
        super().__init__()
        self.features, self.classes = positive_size("features", features), positive_size("classes", classes)
        self.codes, self.latent = positive_size("codes", codes), positive_size("latent", latent)
        below, layers = positive_sizes("code_hidden", code_hidden), positive_sizes("hidden", hidden)
        likelihood = one_of("likelihood", likelihood, ("bernoulli", "gaussian"))
        places = list(range(self.codes)) if kept is None else _positions(kept, self.codes)
        self.code_encoder = NormalConditional(self.features, below, self.codes)
        self.code_decoder = likelihood_conditional(likelihood, self.codes, below[::-1], self.features)
        self.classifier = MLP((len(places), *layers, self.classes))
        self.encoder = NormalConditional(len(places) + self.classes, layers, self.latent)
        self.decoder = NormalConditional(self.classes + self.latent, layers[::-1], len(places))
        self.places: Tensor  # (kept, codes), of which each row has a one at the code's place
        self.register_buffer("places", torch.eye(self.codes)[places], persistent=False)
        self.fixed = fixed
        for network in (self.code_encoder, self.code_decoder):
            network.requires_grad_(not fixed)

    @classmethod
    def from_vae(
        cls,
        vae: Any,
        data: Any,
        classes: int = 10,
        latent: int = 50,
        hidden: Sequence[int] = (200,),
        least_variance: float = 0.01,
    ) -> "StackedSemiSupervisedVAE":
        """The model above a trained autoencoder, whose networks it takes and keeps as they are.

        Args:
            vae: A trained `models.VAE` with a diagonal Normal guide, or its run; it is left as it is.
            data: Training rows, (rows, features), by which unused codes are found; no validation or test rows.
            classes: Classes.
            latent: Latent variables of what the class does not tell.
            hidden: Units of the hidden layers above the codes.
            least_variance: A code is used if the mean of q(c | x) has more variance over the rows.

        Raises:
            TypeError: If `vae` is no such autoencoder.
            ValueError: If it uses no code, or a number is out of its range.
        """
        pair = as_pair(vae)
        if not isinstance(pair, VAE) or not isinstance(pair.encoder, NormalConditional):
            raise TypeError(f"vae must be a models.VAE with a diagonal Normal guide, got {type(pair).__name__}.")
        least = number_from_zero("least_variance", least_variance)
        like = next(pair.parameters())
        with torch.no_grad():
            means = [pair.encoder(part.to(like)).mean for part in torch.as_tensor(data[:]).split(1000)]
            kept = (torch.cat(means).var(0, correction=0) > least).nonzero().squeeze(1).tolist()
        if not kept:
            raise ValueError(
                f"The autoencoder uses none of its {pair.latent} codes: the mean of none has a variance above "
                f"least_variance={least} over the {len(data)} rows. Train it first, or longer."
            )
        settings = pair.config()
        names = {"features": "features", "latent": "codes", "hidden": "code_hidden", "likelihood": "likelihood"}
        given = {new: settings[old] for old, new in names.items()}
        model = cls(**given, classes=classes, latent=latent, hidden=hidden, kept=kept, fixed=True).to(like)
        model.code_encoder.load_state_dict(pair.encoder.state_dict())
        model.code_decoder.load_state_dict(pair.decoder.state_dict())
        return model

    @classmethod
    def example(cls) -> tuple["StackedSemiSupervisedVAE", tuple[Tensor, Tensor]]:
        """A small instance with six bit vectors, four of which have labels, to try things on."""
        x = torch.rand(6, 5).lt(0.4).float()
        return cls(5, 2, 3, (4,), 2, (4,), kept=(0, 2)), (x, torch.tensor([0, 1, -1, 0, 1, -1]))

    def class_prior(self) -> dist.TorchDistribution:
        """Uniform law of the class, one-hot."""
        return dist.OneHotCategorical(logits=self.places.new_zeros(self.classes))

    def code_law(self, label: Tensor, z: Tensor) -> dist.TorchDistribution:
        """p(c | y, z) of all codes; of those left out N(0, 1)."""
        law = self.decoder(joined([label, z]))
        loc, scale = law.mean @ self.places, law.stddev @ self.places
        return dist.Normal(loc, scale + (1 - self.places.sum(0))).to_event(1)

    def class_logits(self, x: Tensor) -> Tensor:
        """Logits of q(y | c) at the mean c of q(c | x): (..., features) -> (..., classes)."""
        return self.classifier(self._kept(self.code_encoder(x).mean))

    def label_log_prob(self, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Log-probability log q(y | c) of the label of each row at a draw c, in nats, and which rows have one."""
        if y is None:
            return super().label_log_prob(x, y)
        return label_log_prob(self.classifier(self._kept(self.code_encoder(x).rsample())), y), is_labelled(y)

    @pyro_method
    def model(self, x: Tensor | None = None, y: Tensor | None = None, num_rows: int | None = None) -> Tensor:
        """Joint density of class, style, codes and data.

        Args:
            x: Data, shape (rows, features); None draws it.
            y: Labels, which the guide takes; the class is a latent here.
            num_rows: Rows to draw when there are no data; 1 by default.
        """
        with pyro.plate(self.plate, rows(x, num_rows)):
            label = pyro.sample("y", self.class_prior())
            z = pyro.sample("z", standard_normal(self.latent, self))
            code = pyro.sample("code", self.code_law(label, z))
            return pyro.sample("x", self.code_decoder(code), obs=x)

    @pyro_method
    def guide(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Approximate posterior q(c, y, z | x); of a labelled row y is its label.

        Args:
            x: Data, shape (rows, features).
            y: Labels, (rows,), -1 where there is none.
        """
        with pyro.plate(self.plate, len(x)):
            seen = self._kept(pyro.sample("code", self.code_encoder(x)))
            label = pyro.sample("y", class_law(self.classifier(seen), y), infer={"enumerate": "parallel"})
            return pyro.sample("z", self.encoder(joined([seen, label])))

    @torch.no_grad()
    def analogies(self, x: Any, y: Any = None) -> Tensor:
        """Each row once in every class with its own style z: means of x at the mean of p(c | y, z).

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
        seen = self._kept(self.code_encoder(x).mean)
        z = self.encoder(joined([seen, every[self._labels(x, y)]])).mean
        return self.code_decoder(self.code_law(every.expand(len(x), -1, -1), z.unsqueeze(1)).mean).mean

    def initialise(self, data: Any) -> None:
        """Start the bias of the data, if it is still zero, at the training mean (its logit for bits), unless fixed."""
        if not self.fixed:
            self.code_decoder.initialise(data.mean.to(self.device))

    def _kept(self, code: Tensor) -> Tensor:
        """The codes that class and style model: (..., codes) -> (..., kept)."""
        return code @ self.places.mT


def _positions(kept: Any, codes: int) -> list[int]:
    """Positions of codes, checked."""
    found = [int(place) for place in kept]
    if not found or len(set(found)) < len(found) or not all(0 <= place < codes for place in found):
        raise ValueError(f"kept must name some of the codes 0 to {codes - 1}, each once, got {kept!r}.")
    return found
