"""Sigmoid belief network."""

from collections.abc import Sequence
from typing import Any

import pyro
from pyro.nn.module import pyro_method
from torch import Tensor, nn

from ppgen.checks.switches import check_switches
from ppgen.models.parts.arguments import positive_sizes
from ppgen.models.parts.programs import rows
from ppgen.models.parts.sigmoid_layers import SigmoidLayer, SigmoidPrior
from ppgen.pair import GenerativeModel


class SigmoidBeliefNet(GenerativeModel):
    r"""Sigmoid belief network: layers of binary units, generated from the top, recognised from the bottom.

    .. math:: p(z_L) \prod_{l < L} p(z_l \mid z_{l+1}) \; p(x \mid z_1), \quad
              p(z_l = 1 \mid z_{l+1}) = \sigma(W_l z_{l+1} + b_l), \qquad
              q(z \mid x) = q(z_1 \mid x) \prod_l q(z_{l+1} \mid z_l)

    The units at the top have logits of their own. The recognition network is the guide, with layers of the same form
    in the other direction. Sites: `z1` (next to the data), `z2`, ..., and `x`, in the plate `data`; those of the
    latent layers stand in `latent_sites`, from the data upwards.

    References:
        | Connectionist Learning of Belief Networks (Neal, 1992)
        | Neural Variational Inference and Learning in Belief Networks (Mnih and Gregor, 2014)
        | https://arxiv.org/abs/1402.0030
        | Variational Inference for Monte Carlo Objectives (Mnih and Rezende, 2016)
        | https://arxiv.org/abs/1602.06725
        | Deep AutoRegressive Networks (Gregor, Danihelka, Mnih, Blundell and Wierstra, 2014)
        | https://arxiv.org/abs/1310.8499

    Args:
        sizes: Units of each layer, from the visible one upwards; two layers or more.
        nonlinear: Whether a layer of deterministic tanh units stands between each two stochastic layers, in both
            directions, with as many units as the upper of the two.
        autoregressive: Whether each unit also depends on those before it in its own layer, in the prior, the
            conditionals and the guide. Draws are then made unit by unit.

    Raises:
        ValueError: If there are fewer than two layers or a size is not positive.

    Example:
        >>> import torch
        >>> from ppgen import models
        >>> sbn = models.SigmoidBeliefNet(sizes=(64, 20, 10))
        >>> sbn.latent_sites, sbn.decoders[0](torch.zeros(5, 20)).event_shape
        (('z1', 'z2'), torch.Size([64]))
    """

    default_inference = "vimco"

    def __init__(
        self, sizes: Sequence[int] = (784, 200, 200), nonlinear: bool = False, autoregressive: bool = False
    ) -> None:
        super().__init__()
        check_switches(nonlinear=nonlinear, autoregressive=autoregressive)
        self.sizes = positive_sizes("sizes", sizes)
        if len(self.sizes) < 2:
            raise ValueError(f"sizes must name the visible layer and one latent layer or more, got {self.sizes}.")
        self.latent_sites = tuple(f"z{layer}" for layer in range(1, len(self.sizes)))
        pairs = list(zip(self.sizes[:-1], self.sizes[1:], strict=True))
        between = [(upper,) if nonlinear else () for _, upper in pairs]
        self.prior = SigmoidPrior(self.sizes[-1], autoregressive)
        self.decoders = nn.ModuleList(
            SigmoidLayer(upper, hidden, lower, autoregressive)
            for (lower, upper), hidden in zip(pairs, between, strict=True)
        )
        self.encoders = nn.ModuleList(
            SigmoidLayer(lower, hidden, upper, autoregressive)
            for (lower, upper), hidden in zip(pairs, between, strict=True)
        )

    @property
    def num_features(self) -> int:
        """Number of observed variables: the visible units."""
        return self.sizes[0]

    @pyro_method
    def model(self, x: Tensor | None = None, num_rows: int | None = None) -> Tensor:
        """Joint density of the latent layers and data of shape (rows, visible); None draws `num_rows` of them."""
        prior, decoders = self.prior, self.decoders
        with pyro.plate(self.plate, rows(x, num_rows)):
            z = pyro.sample(self.latent_sites[-1], prior())
            for layer in range(len(self.latent_sites) - 1, 0, -1):
                z = pyro.sample(self.latent_sites[layer - 1], decoders[layer](z))
            return pyro.sample("x", decoders[0](z), obs=x)

    @pyro_method
    def guide(self, x: Tensor) -> Tensor:
        """Recognition network: approximate posterior of all latent layers given data of shape (rows, visible)."""
        encoders = self.encoders
        z = x
        with pyro.plate(self.plate, len(x)):
            for site, encoder in zip(self.latent_sites, encoders, strict=True):
                z = pyro.sample(site, encoder(z))
        return z

    def initialise(self, data: Any) -> None:
        """Start the bias of the visible units, if it is still zero, at the logit of the training mean."""
        visible: Any = self.decoders[0]
        visible.initialise(data.mean.to(self.device))
