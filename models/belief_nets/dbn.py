"""Deep belief network."""

from collections.abc import Sequence
from typing import Any, Literal

import pyro
import pyro.distributions as dist
import torch
from pyro.nn.module import pyro_method
from torch import Tensor, nn

from ppgen.distributions import Bernoulli, BoltzmannMachine, Dense
from ppgen.models.autoencoders.autoencoder import Autoencoder
from ppgen.models.belief_nets.unrolling import unrolled
from ppgen.models.boltzmann.gaussian_rbm import GaussianRBM
from ppgen.models.boltzmann.rbm import RBM, hidden_layer
from ppgen.models.boltzmann.replicated_softmax import ReplicatedSoftmax
from ppgen.models.parts.arguments import one_of, positive_size, positive_sizes
from ppgen.models.parts.programs import rows
from ppgen.models.parts.sigmoid_layers import CountingLayer, SigmoidLayer
from ppgen.models.parts.visible_layers import NormalLayer, WordLayer
from ppgen.pair import GenerativeModel

LayerRBM = RBM | GaussianRBM | ReplicatedSoftmax


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

    With `top_units="gaussian"` h is real, a linear code of unit variance: the exponent has `-|h|^2 / 2` beside, and the
    integral over h is taken. The data are of other kinds with `units`: `"gaussian"`, real values normal about W_1 z_1 +
    b_1, as in a `GaussianRBM`; or `"multinomial"`, word counts of documents whose length D is given,

    .. math:: p(x \mid z_1) = \prod_{\text{words } i} \mathrm{softmax}_i(W_1 z_1 + b_1)^{x_i}, \qquad
              q(z_1 = 1 \mid x) = \sigma(W_1^\top x + D \, c_1)

    of the D words in their order, as in a `ReplicatedSoftmax`. There the prior of z_1 does not depend on D, so that no
    network of counts is one `ReplicatedSoftmax`.

    References:
        | A Fast Learning Algorithm for Deep Belief Nets (Hinton, Osindero and Teh, 2006)
        | Reducing the Dimensionality of Data with Neural Networks (Hinton and Salakhutdinov, 2006)
        | On the Quantitative Analysis of Deep Belief Networks (Salakhutdinov and Murray, 2008)

    Args:
        visible: Visible units.
        hidden: Units of the hidden layers, two or more, from the bottom up.
        units: Visible units, `"bernoulli"`, `"gaussian"` or `"multinomial"`.
        top_units: Units of the uppermost hidden layer, `"bernoulli"`, or `"gaussian"` for a linear code.
        learn_variance: Whether the variances of Gaussian visible units are parameters; else they are 1.

    Raises:
        ValueError: If a number of units is not positive, there is one hidden layer only, or there are no such units.
        TypeError: If `learn_variance` is no truth value.

    Example:
        >>> from ppgen import models
        >>> dbn = models.DBN(visible=64, hidden=(20, 15, 10))
        >>> dbn.latent_sites, dbn.machine()
        (('z1', 'z2'), BoltzmannMachine(lower=15, upper=10))
    """

    default_inference = "pcd"

    def __init__(
        self,
        visible: int,
        hidden: Sequence[int] = (500, 500),
        units: Literal["bernoulli", "gaussian", "multinomial"] = "bernoulli",
        top_units: Literal["bernoulli", "gaussian"] = "bernoulli",
        learn_variance: bool = False,
    ) -> None:
        super().__init__()
        self.sizes = (positive_size("visible", visible), *positive_sizes("hidden", hidden))
        if len(self.sizes) < 3:
            raise ValueError(f"hidden must name two layers or more, got {hidden!r}. models.RBM has one.")
        self.units = one_of("units", units, ("bernoulli", "gaussian", "multinomial"))
        self.top_units: Any = one_of("top_units", top_units, ("bernoulli", "gaussian"))
        if not isinstance(learn_variance, bool):
            raise TypeError(f"learn_variance must be True or False, got {learn_variance!r}.")
        if learn_variance and units != "gaussian":
            raise ValueError('learn_variance needs units="gaussian": no others have a variance of their own.')
        *directed, lower, upper = self.sizes
        pairs = list(zip(directed, [*directed[1:], lower], strict=True))
        self.decoders = nn.ModuleList(SigmoidLayer(above, (), below) for below, above in pairs)
        self.encoders = nn.ModuleList(SigmoidLayer(below, (), above) for below, above in pairs)
        if units == "gaussian":
            self.decoders[0] = NormalLayer(pairs[0][1], visible, learn_variance)
        if units == "multinomial":
            self.decoders[0], self.encoders[0] = WordLayer(pairs[0][1], visible), CountingLayer(*pairs[0])
        with torch.no_grad():
            for decoder, encoder in self.linear_maps():
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
        upper = hidden_layer(self.top_hidden_bias, self.top_units)
        return BoltzmannMachine({"lower": Bernoulli(self.top_bias), "upper": upper}, [Dense(self.top_weight)])

    @pyro_method
    def model(self, x: Tensor | None = None, num_rows: int | None = None) -> Tensor:
        """Joint density of the hidden layers but the uppermost, and of the data.

        Args:
            x: Data, shape (rows, visible); None draws it, which needs a sampler (`inference.attach`).
            num_rows: Rows to draw when there are no data; 1 by default.
        """
        machine, decoders = self.machine(), self.decoders
        with pyro.plate(self.plate, rows(x, num_rows)):
            z = pyro.sample(self.latent_sites[-1], machine.marginal("lower"))
            for layer in range(len(self.latent_sites) - 1, 0, -1):
                z = pyro.sample(self.latent_sites[layer - 1], decoders[layer](z))
            return pyro.sample("x", self._visible(z, x), obs=x)

    def _visible(self, z: Tensor, x: Tensor | None) -> dist.TorchDistribution:
        """Law of the data given the lowest hidden layer; documents as long as those of x."""
        law: Any = self.decoders[0]
        return law(z, x) if self.units == "multinomial" else law(z)

    @pyro_method
    def guide(self, x: Tensor) -> Tensor:
        """Recognition network: approximate posterior of the hidden layers, given data of shape (rows, visible)."""
        encoders = self.encoders
        z = x
        with pyro.plate(self.plate, len(x)):
            for site, encoder in zip(self.latent_sites, encoders, strict=True):
                z = pyro.sample(site, encoder(z))
        return z

    def inspect_data(self, data: Any) -> None:
        """Note the length of the longest document, or warn of real values far from the variance of the model."""
        if self.units != "bernoulli":
            visible: Any = self.decoders[0]
            visible.inspect_data(data, type(self).__name__)

    @torch.no_grad()
    def initialise(self, data: Any) -> None:
        """Start the visible units, if their biases are still zero, as the machine of the lowest layer would.

        The biases of bits at the logit of the training mean, of words at the logarithms of their frequencies, means of
        real values at theirs, and variances that are learned at half those of the data.
        """
        visible: Any = self.decoders[0]
        if self.units == "bernoulli":
            visible.initialise(data.mean.to(self.device))
        elif not visible.linear.bias.any():
            machine = self.layer_rbm(1).to(visible.linear.bias)
            machine.initialise(data)
            self._take_visible(machine)

    @torch.no_grad()
    def layer_rbm(self, layer: int, below: LayerRBM | None = None) -> LayerRBM:
        """The machine that greedy training fits for hidden layer `layer`, counted from 1.

        It starts at the transposed weights and exchanged biases of the machine `below` where sizes and units fit, so
        that adding it changes nothing, and at random otherwise.
        """
        sizes = self.sizes[layer - 1], self.sizes[layer]
        if layer == 1 and self.units == "gaussian":
            return GaussianRBM(*sizes, learn_variance=self.log_variance is not None)
        if layer == 1 and self.units == "multinomial":
            return ReplicatedSoftmax(*sizes)
        top: Any = {"hidden_units": self.top_units} if layer == self.num_hidden_layers else {}
        rbm = RBM(*sizes, **top)
        if below is not None and below.weight.shape == rbm.weight.mT.shape and _exchangeable(below, rbm):
            rbm.weight.copy_(below.weight.mT)
            rbm.visible_bias.copy_(below.hidden_bias)
            rbm.hidden_bias.copy_(_visible_bias(below))
            rbm.has_given_weights = True
        return rbm

    @torch.no_grad()
    def compose(self, rbms: Sequence[LayerRBM]) -> None:
        """Take over the weights of machines trained layer by layer, one for each hidden layer from the bottom up."""
        *directed, top = rbms
        for rbm, (decoder, encoder) in zip(directed, self.linear_maps(), strict=True):
            decoder.weight.copy_(rbm.weight)
            decoder.bias.copy_(_visible_bias(rbm))
            encoder.weight.copy_(rbm.weight.mT)
            encoder.bias.copy_(rbm.hidden_bias)
        if isinstance(rbms[0], GaussianRBM):
            self.linear_maps()[0][1].weight.copy_(rbms[0].recognition_layers()[0][0].mT)
        self._take_visible(rbms[0])
        self.top_weight.copy_(top.weight)
        self.top_bias.copy_(_visible_bias(top))
        self.top_hidden_bias.copy_(top.hidden_bias)
        self.data_mean.copy_(top.data_mean)

    def _take_visible(self, rbm: LayerRBM) -> None:
        """Biases of the visible units of the lowest machine, and what only their kind has."""
        visible: Any = self.decoders[0]
        visible.linear.bias.copy_(_visible_bias(rbm))
        if isinstance(rbm, ReplicatedSoftmax):
            visible.mean_length.copy_(rbm.data_mean.sum())
        if isinstance(rbm, GaussianRBM) and rbm.log_variance is not None:
            visible.log_variance.copy_(rbm.log_variance)

    @property
    def log_variance(self) -> Tensor | None:
        """Logarithm of the variance of each visible unit, (visible,), where they are learned."""
        return getattr(self.decoders[0], "log_variance", None)

    def stacked(self, rbms: Sequence[LayerRBM]) -> "LayerRBM | DBN | None":
        """The model of the lowest layers alone: the one machine, or the network that the machines make.

        None for the one machine of documents, each of which has a normaliser of its own: it has no one bound.
        """
        if len(rbms) == 1:
            return None if self.units == "multinomial" else rbms[0]
        top: Any = self.top_units if len(rbms) == self.num_hidden_layers else "bernoulli"
        units: Any = self.units
        part = DBN(self.sizes[0], self.sizes[1 : len(rbms) + 1], units, top, self.log_variance is not None)
        part.to(self.top_weight)
        part.compose(rbms)
        return part

    @torch.no_grad()
    def recognition_layers(self) -> list[tuple[Tensor, Tensor]]:
        """Weights (below, above) and biases (above,) of the sigmoid layers upwards, the uppermost hidden one too.

        Raises:
            ValueError: If the code at the top is linear, or the biases count once for each word.
        """
        if self.top_units != "bernoulli" or self.units == "multinomial":
            why = (
                "its uppermost units are real" if self.units != "multinomial" else "its biases count once for each word"
            )
            raise ValueError(
                f"This DBN is no stack of sigmoid layers: {why}. Unroll it, training.unroll(dbn), and start from that."
            )
        layers = [(encoder.weight.mT, encoder.bias) for _, encoder in self.linear_maps()]
        return [*layers, (self.top_weight, self.top_hidden_bias)]

    def unrolled(self, likelihood: str | None = None) -> Autoencoder:
        """The deterministic autoencoder of means: recognition up, generation down, as `training.unroll` says.

        Args:
            likelihood: Law of the data; that of the visible units by default.

        Raises:
            ValueError: If the visible units have another law.
        """
        return unrolled(self, likelihood)

    def linear_maps(self) -> list[tuple[nn.Linear, nn.Linear]]:
        """Linear maps of each directed layer, downwards and upwards."""
        modules: Any = zip(self.decoders, self.encoders, strict=True)
        return [(decoder.linear, encoder.linear) for decoder, encoder in modules]


def _visible_bias(rbm: LayerRBM) -> Tensor:
    return rbm.visible_mean if isinstance(rbm, GaussianRBM) else rbm.visible_bias


def _exchangeable(below: LayerRBM, rbm: RBM) -> bool:
    """Whether the visible units of a machine may be the hidden ones of that above it: of one kind, of variance 1."""
    if isinstance(below, GaussianRBM):
        return below.log_variance is None and rbm.hidden_units == "gaussian"
    return isinstance(below, RBM) and rbm.hidden_units == "bernoulli"
