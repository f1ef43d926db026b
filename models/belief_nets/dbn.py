"""Deep belief network."""

from collections.abc import Sequence
from typing import Any

import pyro
import torch
from pyro.nn.module import pyro_method
from torch import Tensor, nn

from ppgen.distributions import Bernoulli, BoltzmannMachine, Dense
from ppgen.models.boltzmann.rbm import RBM
from ppgen.models.parts.arguments import positive_size, positive_sizes
from ppgen.models.parts.programs import rows
from ppgen.models.parts.sigmoid_layers import SigmoidLayer
from ppgen.pair import GenerativeModel


class DBN(GenerativeModel):
    r"""Deep belief network: a restricted Boltzmann machine at the top, directed layers of binary units below.

    .. math:: p(x, z_1, \dots, z_{L-1}) = p(x \mid z_1) \prod_{l < L - 1} p(z_l \mid z_{l+1}) \;
              \frac{1}{Z} \sum_{h} \exp(b \cdot z_{L-1} + c \cdot h + z_{L-1}^\top W h), \qquad
              p(z_l = 1 \mid z_{l+1}) = \sigma(W_l z_{l+1} + b_l)

    Of the L hidden layers the uppermost, h, is summed out. The guide is a factorial recognition network, layer by layer
    upwards, with parameters of its own that start at the transposed weights below. Sites: `z1` (next to the data), ...,
    `z{L-1}`, which is undirected: its log Z is not known, so training needs a negative phase and drawing a sampler,
    which `ppgen.sample` brings along; and `x`, bits, in the plate `data`. `training.pretrain` trains it greedily, and
    `inference.WakeSleep` with `inference.CD` up and down. With two hidden layers, the weights of the machine those of
    the layer below transposed and its biases exchanged, p(x) is that of one restricted Boltzmann machine.

    References:
        | A Fast Learning Algorithm for Deep Belief Nets (Hinton, Osindero and Teh, 2006)
        | On the Quantitative Analysis of Deep Belief Networks (Salakhutdinov and Murray, 2008)

    Args:
        visible: Visible units.
        hidden: Units of the hidden layers, two or more, from the bottom up.

    Raises:
        ValueError: If a number of units is not positive, or there is one hidden layer only.

    Example:
        >>> from ppgen import models
        >>> dbn = models.DBN(visible=64, hidden=(20, 15, 10))
        >>> dbn.latent_sites, dbn.machine()
        (('z1', 'z2'), BoltzmannMachine(lower=15, upper=10))
    """

    default_inference = "pcd"

    def __init__(self, visible: int, hidden: Sequence[int] = (500, 500)) -> None:
        super().__init__()
        self.sizes = (positive_size("visible", visible), *positive_sizes("hidden", hidden))
        if len(self.sizes) < 3:
            raise ValueError(f"hidden must name two layers or more, got {hidden!r}. models.RBM has one.")
        *directed, lower, upper = self.sizes
        pairs = list(zip(directed, [*directed[1:], lower], strict=True))
        self.decoders = nn.ModuleList(SigmoidLayer(above, (), below) for below, above in pairs)
        self.encoders = nn.ModuleList(SigmoidLayer(below, (), above) for below, above in pairs)
        with torch.no_grad():
            for decoder, encoder in self._directed():
                encoder.weight.copy_(decoder.weight.mT)
        self.top_weight = nn.Parameter(torch.randn(lower, upper) / (lower + upper) ** 0.5)
        self.top_bias = nn.Parameter(torch.zeros(lower))
        self.top_hidden_bias = nn.Parameter(torch.zeros(upper))
        self.latent_sites = tuple(f"z{layer}" for layer in range(1, len(self.sizes) - 1))
        # Of the machine's lower layer, as greedy training saw it: annealing of its log Z starts there.
        self.data_mean: Tensor
        self.register_buffer("data_mean", torch.full((lower,), float("nan")))

    @property
    def num_features(self) -> int:
        """Number of observed variables: the visible units."""
        return self.sizes[0]

    @property
    def num_hidden_layers(self) -> int:
        """Number of hidden layers, that of the machine among them."""
        return len(self.sizes) - 1

    def machine(self) -> BoltzmannMachine:
        """The Boltzmann machine at the top with its present weights: layers `lower` and `upper`."""
        layers = {"lower": Bernoulli(self.top_bias), "upper": Bernoulli(self.top_hidden_bias)}
        return BoltzmannMachine(layers, [Dense(self.top_weight)])

    @pyro_method
    def model(self, x: Tensor | None = None, num_rows: int | None = None) -> Tensor:
        """Joint density of the hidden layers but the uppermost, and of the data.

        Args:
            x: Data in {0, 1}, shape (rows, visible); None draws it, which needs a sampler (`inference.attach`).
            num_rows: Rows to draw when there are no data; 1 by default.
        """
        machine, decoders = self.machine(), self.decoders
        with pyro.plate(self.plate, rows(x, num_rows)):
            z = pyro.sample(self.latent_sites[-1], machine.marginal("lower"))
            for layer in range(len(self.latent_sites) - 1, 0, -1):
                z = pyro.sample(self.latent_sites[layer - 1], decoders[layer](z))
            return pyro.sample("x", decoders[0](z), obs=x)

    @pyro_method
    def guide(self, x: Tensor) -> Tensor:
        """Recognition network: approximate posterior of the hidden layers, given data of shape (rows, visible)."""
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

    @torch.no_grad()
    def layer_rbm(self, layer: int, below: RBM | None = None) -> RBM:
        """The machine that greedy training fits for hidden layer `layer`, counted from 1.

        It starts at the transposed weights and exchanged biases of the machine `below` where the sizes fit, so that
        adding it changes nothing, and at random otherwise.
        """
        rbm = RBM(self.sizes[layer - 1], self.sizes[layer])
        if below is not None and below.weight.shape == rbm.weight.mT.shape:
            rbm.weight.copy_(below.weight.mT)
            rbm.visible_bias.copy_(below.hidden_bias)
            rbm.hidden_bias.copy_(below.visible_bias)
            rbm.has_given_weights = True
        return rbm

    @torch.no_grad()
    def compose(self, rbms: Sequence[RBM]) -> None:
        """Take over the weights of machines trained layer by layer, one for each hidden layer from the bottom up."""
        *directed, top = rbms
        for rbm, (decoder, encoder) in zip(directed, self._directed(), strict=True):
            decoder.weight.copy_(rbm.weight)
            decoder.bias.copy_(rbm.visible_bias)
            encoder.weight.copy_(rbm.weight.mT)
            encoder.bias.copy_(rbm.hidden_bias)
        self.top_weight.copy_(top.weight)
        self.top_bias.copy_(top.visible_bias)
        self.top_hidden_bias.copy_(top.hidden_bias)
        self.data_mean.copy_(top.data_mean)

    def stacked(self, rbms: Sequence[RBM]) -> "RBM | DBN":
        """The model of the lowest layers alone: the one machine, or the network that the machines make."""
        if len(rbms) == 1:
            return rbms[0]
        part = DBN(self.sizes[0], self.sizes[1 : len(rbms) + 1]).to(self.top_weight)
        part.compose(rbms)
        return part

    @torch.no_grad()
    def recognition_layers(self) -> list[tuple[Tensor, Tensor]]:
        """Weights (below, above) and biases (above,) of the sigmoid layers upwards, the uppermost hidden one too."""
        layers = [(encoder.weight.mT, encoder.bias) for _, encoder in self._directed()]
        return [*layers, (self.top_weight, self.top_hidden_bias)]

    def _directed(self) -> list[tuple[nn.Linear, nn.Linear]]:
        """Linear maps of each directed layer, downwards and upwards."""
        modules: Any = zip(self.decoders, self.encoders, strict=True)
        return [(decoder.logits.output, encoder.logits.output) for decoder, encoder in modules]
