"""Feedforward network with stochastic hidden units."""

from collections.abc import Sequence

import pyro
import torch
from pyro.nn.module import pyro_method
from torch import Tensor, nn

from ppgen.conditional import ConditionalModel
from ppgen.models.parts.arguments import positive_size, positive_sizes, sizes_or_zeros
from ppgen.models.parts.likelihoods import likelihood_conditional
from ppgen.models.parts.programs import joined
from ppgen.models.parts.sigmoid_layers import SigmoidLayer
from ppgen.nn import MLP


class StochasticFeedforward(ConditionalModel):
    r"""Feedforward network p(y | x) some of whose hidden units are Bernoulli variables: one x has many y.

    .. math:: p(y \mid x) = \sum_{z_1, \dots, z_L} p(y \mid h_L, z_L) \prod_l p(z_l \mid h_{l-1}, z_{l-1}), \quad
              h_l = \tanh(U_l [h_{l-1}, z_{l-1}] + c_l), \quad
              p(z_l = 1 \mid h_{l-1}, z_{l-1}) = \sigma(W_l [h_{l-1}, z_{l-1}] + b_l)

    with h_0 = x and no z_0: a mixture with as many components as the stochastic units have states. Batches are tuples
    (x, y). The guide recognises the units of each layer from x, y and the stochastic units of the layers before. Sites:
    `z1` (next to the input), `z2`, ... for the layers that have stochastic units, and `y`, in the plate `data`; those
    of the layers stand in `latent_sites`, in the order in which they are drawn.

    References:
        | Learning Stochastic Feedforward Neural Networks (Tang and Salakhutdinov, 2013)

    Args:
        inputs: Variables of x.
        outputs: Variables of y.
        hidden: Deterministic tanh units of each hidden layer, from the input on.
        stochastic: Bernoulli units of each hidden layer, as many numbers; 0 for a layer without.
        likelihood: Law of y given the last layer: `"gaussian"` (or `"normal"`) for real values, whose standard
            deviation is computed too, or `"bernoulli"` for bits.

    Raises:
        ValueError: If a size is not positive, no layer has stochastic units, or the likelihood is unknown.

    Example:
        >>> import torch
        >>> from ppgen import evaluation, models
        >>> net = models.StochasticFeedforward(inputs=2, outputs=1, hidden=(8, 8), stochastic=(3, 0))
        >>> evaluation.log_likelihood(net, (torch.zeros(4, 2), torch.ones(4, 1)), num_particles=100).num_data
        4
    """

    default_inference = "vimco"

    def __init__(
        self,
        inputs: int,
        outputs: int,
        hidden: Sequence[int] = (50, 50),
        stochastic: Sequence[int] = (5, 5),
        likelihood: str = "gaussian",
    ) -> None:
        super().__init__()
        self.inputs, self.outputs = positive_size("inputs", inputs), positive_size("outputs", outputs)
        widths, units = positive_sizes("hidden", hidden), sizes_or_zeros("stochastic", stochastic)
        if len(widths) != len(units):
            raise ValueError(
                f"stochastic must give the Bernoulli units of each of the {len(widths)} hidden layers, 0 for none; "
                f"got {units}."
            )
        if not any(units):
            raise ValueError(f"stochastic must give one hidden layer or more Bernoulli units, got {units}.")
        if likelihood not in ("gaussian", "normal", "bernoulli"):
            raise ValueError(f"likelihood must be 'gaussian' (or 'normal') or 'bernoulli', got {likelihood!r}.")
        below = (self.inputs, *(width + size for width, size in zip(widths, units, strict=True)))
        self.deterministic = nn.ModuleList(
            MLP((given, width), activate_last=True) for given, width in zip(below[:-1], widths, strict=True)
        )
        self.stochastic = nn.ModuleList(
            SigmoidLayer(given, (), size) if size else nn.Identity()
            for given, size in zip(below[:-1], units, strict=True)
        )
        recognised = [sum(units[:layer]) for layer in range(len(units))]
        self.encoders = nn.ModuleList(
            SigmoidLayer(self.inputs + self.outputs + before, (width,), size)
            for before, width, size in zip(recognised, widths, units, strict=True)
            if size
        )
        self.decoder = likelihood_conditional(likelihood, below[-1], (), self.outputs)
        self.latent_sites = tuple(f"z{layer}" for layer in range(1, len(self.encoders) + 1))

    @classmethod
    def example(cls) -> tuple["StochasticFeedforward", tuple[Tensor, Tensor]]:
        """A small instance with six rows of x and y, to try things on."""
        return cls(inputs=2, outputs=3, hidden=(4, 3), stochastic=(2, 1)), (torch.randn(6, 2), torch.randn(6, 3))

    @pyro_method
    def model(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Joint density of hidden units and y given x.

        Args:
            x: Inputs, shape (rows, inputs).
            y: Outputs, shape (rows, outputs); None draws them.
        """
        deterministic, stochastic, decoder = self.deterministic, self.stochastic, self.decoder
        self.check_arguments(x, y)
        sites = iter(self.latent_sites)
        given = x
        with pyro.plate(self.plate, len(x)):
            for network, layer in zip(deterministic, stochastic, strict=True):
                values = [network(given)]
                if isinstance(layer, SigmoidLayer):
                    values.append(pyro.sample(next(sites), layer(given)))
                given = joined(values)
            return pyro.sample("y", decoder(given), obs=y)

    @pyro_method
    def guide(self, x: Tensor, y: Tensor) -> Tensor:
        """Approximate posterior of the stochastic units given x, (rows, inputs), and y, (rows, outputs)."""
        encoders = self.encoders
        self.check_arguments(x, y)
        given = torch.cat([x, y.to(x)], -1)
        with pyro.plate(self.plate, len(x)):
            for site, encoder in zip(self.latent_sites, encoders, strict=True):
                given = joined([given, pyro.sample(site, encoder(given))])
        return given
