"""Autoencoders of fully connected layers."""

from collections.abc import Sequence
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppgen.models.autoencoders.point_coded import PointCoded
from ppgen.models.autoencoders.stacking import StackedLayers
from ppgen.models.parts.arguments import positive_size, positive_sizes
from ppgen.models.parts.observation import Observation
from ppgen.models.parts.programs import standard_normal
from ppgen.nn.counting_layers import CountingLayers
from ppgen.nn.mirrored_layers import Layers, MirroredLayers


class Autoencoder(StackedLayers, PointCoded):
    r"""Autoencoder of any depth with a stated law of the data.

    .. math:: z = f(x), \quad x \sim N(g(z), s^2 I)

    where f and g are layers of the same sizes in reverse. The code has a flat prior and the guide is a point: training
    raises log p(x | f(x)), which with a fixed s is minus the squared error, and is no bound of log p(x), so that
    `evaluation.log_likelihood` refuses. With `activation="linear"` the decoder spans the subspace of principal
    component analysis at the optimum (`features.principal_angle`). A learned s falls to 0 where the code is wide enough
    to copy the data: give `scale` then.

    With `prior="normal"` the code is a standard Normal and the guide a Normal around f(x), whose standard deviations
    are learned and common to all data: a variational autoencoder of one noise, with an ELBO and everything that is made
    of log-weights. A linear one is probabilistic principal component analysis, and its optimal ELBO is log p(x) exactly
    (Lucas et al., 2019).

    `encoder_layers()` and `decoder_layers()` are the weights and biases, from the data to the code and from the code
    to the data, and `set_layers(encoder, decoder)` copies others into them, such as those of machines trained one by
    one. Sites: `code` and `x`, in the plate `data`.

    References:
        | Reducing the Dimensionality of Data with Neural Networks (Hinton and Salakhutdinov, 2006)
        | https://doi.org/10.1126/science.1127647
        | Probabilistic Principal Component Analysis (Tipping and Bishop, 1999)
        | https://doi.org/10.1111/1467-9868.00196
        | Don't Blame the ELBO! A Linear VAE Perspective on Posterior Collapse (Lucas, Tucker, Grosse and Norouzi, 2019)
        | https://arxiv.org/abs/1911.02469

    Args:
        features: Observed variables.
        hidden: Units of each layer from the data up; the last one is the code.
        tied: Whether the decoder has the transposed weights of the encoder, throughout training.
        activation: Non-linearity of the layers: `"tanh"`, `"sigmoid"`, `"relu"`, `"softplus"` or `"linear"`.
        code_activation: That of the code.
        likelihood: Law of the data given the code: `"gaussian"` (or `"normal"`) with one standard deviation,
            `"bernoulli"` for bits, `"continuous-bernoulli"` for numbers in [0, 1]; or `"cross-entropy"` of grey levels
            in [0, 1], which is no law, and its values are no log-likelihood; or `"multinomial"` for word counts of
            documents, whose length D is given: the lowest units have a bias for each word, D b, and `decode` gives the
            probabilities of a word.
        scale: Standard deviation under `"gaussian"`; None learns it.
        prior: `"flat"`, none, or `"normal"`, a standard Normal.
        output_activation: Non-linearity that makes the mean of the data under `"gaussian"`, such as `"softplus"` for
            positive ones.

    Raises:
        ValueError: If a size is not positive, there is no layer, a name is unknown, or the cross-entropy is given a
            prior.
        TypeError: If an argument has the wrong type.

    Example:
        >>> import torch
        >>> from ppgen import models
        >>> model = models.Autoencoder(64, hidden=(32, 16))
        >>> codes = model.encode(torch.zeros(5, 64))
        >>> codes.shape, model.decode(codes).shape
        (torch.Size([5, 16]), torch.Size([5, 64]))
    """

    network: MirroredLayers

    def __init__(
        self,
        features: int,
        hidden: Sequence[int] = (32, 16),
        tied: bool = False,
        activation: str = "tanh",
        code_activation: str = "linear",
        likelihood: str = "gaussian",
        scale: float | None = None,
        prior: str = "flat",
        output_activation: str = "linear",
    ) -> None:
        super().__init__()
        self.features, layers = positive_size("features", features), positive_sizes("hidden", hidden)
        if not layers:
            raise ValueError("hidden must hold the units of one layer or more, the last of which is the code; got ().")
        if not isinstance(tied, bool):
            raise TypeError(f"tied must be True or False, got {tied!r}.")
        if prior not in ("flat", "normal"):
            raise ValueError(f"prior must be 'flat' or 'normal', got {prior!r}.")
        if prior == "normal" and likelihood == "cross-entropy":
            raise ValueError(
                "likelihood='cross-entropy' is no law of the data, so that a prior of the code gives no log p(x). Use "
                "likelihood='continuous-bernoulli', or 'bernoulli' on bits."
            )
        network = CountingLayers if likelihood == "multinomial" else MirroredLayers
        self.network = network((self.features, *layers), activation, code_activation, tied)
        self.observation = Observation(likelihood, scale, output_activation)
        self.code_log_scale = nn.Parameter(torch.zeros(layers[-1])) if prior == "normal" else None

    @property
    def num_features(self) -> int:
        """Number of observed variables: the features of a datum."""
        return self.features

    @property
    def num_codes(self) -> int:
        """Numbers of a code: units of the last layer."""
        return self.network.sizes[-1]

    def encoder_layers(self) -> list[tuple[Tensor, Tensor]]:
        """Weight (below, above) and bias (above,) of each layer, from the data up to the code."""
        return self.network.encoder_layers()

    def decoder_layers(self) -> list[tuple[Tensor, Tensor]]:
        """Weight (above, below) and bias (below,) of each layer, from the code down to the data."""
        return self.network.decoder_layers()

    def set_layers(self, encoder: Layers, decoder: Layers) -> None:
        """Copy weights and biases, in the order and shapes of `encoder_layers` and `decoder_layers`.

        Raises:
            ValueError: If a number of layers or a shape is another; if tied, if a weight is not the transposed one.
        """
        self.network.set_layers(encoder, decoder)

    def _prior(self) -> Any:
        return super()._prior() if self.code_log_scale is None else standard_normal(self.num_codes, self)

    def _code_law(self, code: Tensor) -> Any:
        if self.code_log_scale is None:
            return super()._code_law(code)
        return dist.Normal(code, self.code_log_scale.exp()).to_event(1)
