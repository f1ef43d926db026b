"""Variational autoencoder with several stochastic layers."""

from collections.abc import Sequence
from typing import Any

import pyro
from pyro.nn.module import pyro_method
from torch import Tensor, nn

from ppgen.models.parts.arguments import groups_of_sizes, positive_size, positive_sizes
from ppgen.models.parts.likelihoods import likelihood_conditional
from ppgen.models.parts.programs import rows, standard_normal
from ppgen.nn import NormalConditional
from ppgen.pair import GenerativeModel


class HierarchicalVAE(GenerativeModel):
    r"""Chain of stochastic layers, generated from the top and inferred from the bottom.

    .. math:: z_L \sim N(0, I), \quad z_l \sim p(z_l \mid z_{l+1}), \quad x \sim p(x \mid z_1), \qquad
              q(z \mid x) = q(z_1 \mid x) \prod_l q(z_{l+1} \mid z_l)

    Every conditional has tanh layers of its own; with `latents=(100, 50)` and `hidden=((200, 200), (100, 100))` it
    is the two-layer model of the IWAE paper. Sites: `z1` (next to the data), `z2`, ..., and `x`, in the plate `data`.

    References:
        | Importance Weighted Autoencoders (Burda, Grosse and Salakhutdinov, 2016)
        | https://arxiv.org/abs/1509.00519

    Args:
        features: Observed variables.
        latents: Latent variables of each stochastic layer, from the data upwards; two layers or more.
        hidden: Units of the deterministic layers below each stochastic layer, from the data upwards.
        likelihood: `"bernoulli"`, `"gaussian"` or `"categorical"`.
        categories: Levels of each variable under `"categorical"`.

    Raises:
        ValueError: If there are fewer than two stochastic layers, or not one group of hidden layers for each.

    Example:
        >>> from ppgen import models
        >>> len(models.HierarchicalVAE(features=64, latents=(16, 8), hidden=((32,), (16,))).encoders)
        2
    """

    def __init__(
        self,
        features: int,
        latents: Sequence[int] = (100, 50),
        hidden: Sequence[Sequence[int]] = ((200, 200), (100, 100)),
        likelihood: str = "bernoulli",
        categories: int = 256,
    ) -> None:
        super().__init__()
        self.features, self.latents = positive_size("features", features), positive_sizes("latents", latents)
        groups = groups_of_sizes("hidden", hidden)
        if len(self.latents) < 2:
            raise ValueError(f"latents must name two stochastic layers or more, got {self.latents}; else use VAE.")
        if len(groups) != len(self.latents):
            raise ValueError(
                f"hidden must hold one group of layers for each of the {len(self.latents)} stochastic layers, "
                f"such as ((200, 200), (100, 100)); got {groups}."
            )
        below = (self.features, *self.latents[:-1])
        self.encoders = nn.ModuleList(
            NormalConditional(inputs, group, latent)
            for inputs, group, latent in zip(below, groups, self.latents, strict=True)
        )
        self.decoders = nn.ModuleList(
            NormalConditional(self.latents[layer + 1], groups[layer + 1][::-1], self.latents[layer])
            for layer in range(len(self.latents) - 1)
        )
        self.decoder = likelihood_conditional(likelihood, self.latents[0], groups[0][::-1], self.features, categories)

    @property
    def num_features(self) -> int:
        """Number of observed variables: the features of a datum."""
        return self.features

    @pyro_method
    def model(self, x: Tensor | None = None, num_rows: int | None = None) -> Tensor:
        """Joint density of the latents and data of shape (rows, features); None draws `num_rows` of them."""
        decoders, decoder = self.decoders, self.decoder
        top = len(self.latents)
        with pyro.plate(self.plate, rows(x, num_rows)):
            z = pyro.sample(f"z{top}", standard_normal(self.latents[-1], self))
            for layer in range(top - 1, 0, -1):
                z = pyro.sample(f"z{layer}", decoders[layer - 1](z))
            return pyro.sample("x", decoder(z), obs=x)

    @pyro_method
    def guide(self, x: Tensor) -> Tensor:
        """Approximate posterior of all layers given data of shape (rows, features)."""
        encoders = self.encoders
        z = x
        with pyro.plate(self.plate, len(x)):
            for layer, encoder in enumerate(encoders, start=1):
                z = pyro.sample(f"z{layer}", encoder(z))
        return z

    def initialise(self, data: Any) -> None:
        """Start the decoder's bias, if it is still zero, at the training mean (its logit for bits)."""
        self.decoder.initialise(data.mean.to(self.device))
