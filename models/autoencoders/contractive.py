"""Contractive autoencoder."""

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
from pyro.nn.module import pyro_method
from torch import Tensor

from ppgen.models.autoencoders.autoencoder import Autoencoder
from ppgen.models.parts.arguments import number_from_zero
from ppgen.models.parts.observation import refuse_words
from ppgen.models.parts.penalty import penalise


class ContractiveAutoencoder(Autoencoder):
    r"""Autoencoder with a penalty on how much the code moves with the datum.

    .. math:: \max_\theta \; \log p_\theta(x \mid f(x)) - \lambda \Big\| \frac{\partial f(x)}{\partial x} \Big\|_F^2

    The norm sums over units of the code and over data dimensions. Of one layer it is in closed form, for sigmoid units
    `sum_j (h_j (1 - h_j))^2 ||W_j||^2`. Of deeper ones it is estimated without bias by one random direction a datum,
    `||J v||^2` with v ~ N(0, I) (Hutchinson, 1989): the auxiliary site `probe` of the guide, whose density does not
    count. The penalty is a factor `contraction` of the guide. As of every autoencoder the code has a flat prior; with
    the penalty values are not even log p(x | f(x)).

    References:
        | Contractive Auto-Encoders: Explicit Invariance During Feature Extraction (Rifai, Vincent, Muller, Glorot and
          Bengio, 2011)
        | A Stochastic Estimator of the Trace of the Influence Matrix for Laplacian Smoothing Splines (Hutchinson, 1989)
        | https://doi.org/10.1080/03610918908812806

    Args:
        features: Observed variables.
        hidden: Units of each layer from the data up; the last one is the code.
        penalty: Weight of the penalty, lambda; nats under a law of the data.
        tied: Whether the decoder has the transposed weights of the encoder, throughout training.
        activation: Non-linearity of the layers: `"tanh"`, `"sigmoid"`, `"relu"`, `"softplus"` or `"linear"`.
        code_activation: That of the code.
        likelihood: Law of the data given the code, as of `Autoencoder`.
        scale: Standard deviation under `"gaussian"`; None learns it.
        output_activation: Non-linearity that makes the mean of the data under `"gaussian"`, as of `Autoencoder`.

    Raises:
        ValueError: If the penalty is negative or not finite, or as `Autoencoder`.
        TypeError: If an argument has the wrong type.

    Example:
        >>> import torch
        >>> from ppgen import models
        >>> model = models.ContractiveAutoencoder(64, hidden=(32,), penalty=0.1)
        >>> model.contraction(torch.zeros(5, 64)).shape
        torch.Size([5])
    """

    def __init__(
        self,
        features: int,
        hidden: Sequence[int] = (32,),
        penalty: float = 0.1,
        tied: bool = True,
        activation: str = "sigmoid",
        code_activation: str = "sigmoid",
        likelihood: str = "gaussian",
        scale: float | None = None,
        output_activation: str = "linear",
    ) -> None:
        refuse_words(likelihood, "contractive one")
        self_penalty = number_from_zero("penalty", penalty)
        super().__init__(
            features, hidden, tied, activation, code_activation, likelihood, scale, output_activation=output_activation
        )
        self.penalty = self_penalty

    @property
    def told_of_values(self) -> str:
        """What the values that training reports are, in words: no bound of log p(x)."""
        told = super().told_of_values or "values are log p(x | code), no bound of log p(x)"
        return f"{told}; less {self.penalty:g} times the squared norm of the code's derivative"

    @pyro_method
    def guide(self, x: Tensor) -> Tensor:
        """The code of data of shape (rows, features), and the penalty on its derivative."""
        network = self.network
        with pyro.plate(self.plate, len(x)):
            if len(network.sizes) == 2:
                code = network.encode(x)
                norm = self._closed_form(code)
            else:
                law = dist.Normal(x.new_zeros(self.num_features), x.new_ones(self.num_features)).to_event(1)
                probe = pyro.sample("probe", law.mask(False), infer={"is_auxiliary": True})
                code, moved = network.pushed(x, probe)
                norm = moved.square().sum(-1)
            penalise("contraction", self.penalty * norm)
            return pyro.sample("code", self._code_law(code))

    def contraction(self, x: Tensor) -> Tensor:
        """Squared Frobenius norm of the derivative of the code at every row, exactly: (rows, features) -> (rows,).

        Of several layers it takes one pass a feature.
        """
        if len(self.network.sizes) == 2:
            return self._closed_form(self.network.encode(x))
        found = x.new_zeros(len(x))
        for feature in range(self.num_features):
            direction = x.new_zeros(self.num_features)
            direction[feature] = 1.0
            found = found + self.network.pushed(x, direction.expand_as(x))[1].square().sum(-1)
        return found

    def _closed_form(self, code: Tensor) -> Tensor:
        (weight, _), (activation,) = self.network.encoder_layers()[0], self.network.activations
        return activation.slope(code).square() @ weight.square().sum(0)
