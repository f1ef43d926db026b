"""Convolutional deep belief network."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import pyro
import pyro.distributions as dist
import torch
from pyro.nn.module import pyro_method
from torch import Tensor, nn

from ppgen.distributions import Bernoulli, BoltzmannMachine, Convolutional
from ppgen.distributions.units.units import at_positions
from ppgen.models.boltzmann.convolutional_rbm import ConvolutionalRBM, check_units, map_units
from ppgen.models.parts.arguments import check_images, positive_sizes
from ppgen.models.parts.convolutional_layers import MapLayer, image_shape, random_filters
from ppgen.models.parts.pooled_features import PooledFeatures, PooledMaps
from ppgen.models.parts.programs import rows
from ppgen.models.parts.sigmoid_layers import sigmoid_law
from ppgen.pair import GenerativeModel


class ConvolutionalDBN(GenerativeModel):
    r"""Deep belief network of feature maps: a convolutional machine at the top, directed layers of filters below.

    .. math:: p(x, p_1, h_1, \dots, p_{L-1}, h_{L-1}) = p(x \mid h_1) \, p(h_1 \mid p_1)
              \prod_{l=2}^{L-1} p(p_{l-1} \mid h_l) \, p(h_l \mid p_l) \;
              \frac{1}{Z} \sum_{h_L} \exp(-E(p_{L-1}, h_L))

    Layer l has units h_l in blocks of C x C of which at most one is on, and a pooling unit p_l for each block, on with
    it. Every layer sees the pooling units of the layer below as its image. Downwards, the pooling units that are on
    each choose the place of their unit, p(h_l | p_l), and the units that are on lay down their filters, p(p_{l-1} = 1 |
    h_l) = sigmoid(b + sum of filters), or for x with `units="gaussian"` normal about that sum. In a convolutional
    machine the place would depend on the whole image; here it is drawn by itself, so that the program is normalised.
    The guide goes upwards by probabilistic max-pooling, with filters of its own: pooling units first, then the places
    in their blocks. Of the top layer L the units are summed out.

    Sites: `z1`, ..., `z{L-1}` (pooling units, the last undirected), `h1`, ... (units of blocks, where a layer has any),
    and `x`, in the plate `data`. `training.pretrain` trains it greedily, `ppgen.fit` all layers at once.

    References:
        | Convolutional Deep Belief Networks for Scalable Unsupervised Learning of Hierarchical Representations (Lee,
          Grosse, Ranganath and Ng, 2009)

    Args:
        visible: Pixels of an image, all channels together.
        filters: Filters of each layer, two layers or more, from the bottom up.
        filter_sizes: Rows and columns of the filters of each layer.
        pools: Rows and columns of the blocks of each layer; 1 for all, units that are their own pooling units, by
            default.
        shape: Rows and columns of the image; a square by default.
        channels: Channels of the image.
        units: Visible units, `"bernoulli"` or `"gaussian"`.
        learn_variance: Whether the variances of Gaussian units are parameters, one for each channel.

    Raises:
        ValueError: If a size is not positive, there is one layer only, or images, filters and blocks do not fit.
        TypeError: If `learn_variance` is no truth value, or `shape` no pair of whole numbers.

    Example:
        >>> from ppgen import models
        >>> dbn = models.ConvolutionalDBN(visible=64, filters=(6, 4), filter_sizes=(3, 2), pools=(2, 2))
        >>> dbn.latent_sites, dbn.machine()
        (('z1', 'h1'), BoltzmannMachine(lower=54, upper=16))
    """

    default_inference = "pcd"
    default_training = {"optimizer": "adam", "lr": 0.003, "lr_schedule": "linear"}  # noqa: RUF012

    def __init__(
        self,
        visible: int,
        filters: Sequence[int],
        filter_sizes: Sequence[int],
        pools: Sequence[int] | None = None,
        shape: Sequence[int] | None = None,
        channels: int = 1,
        units: Literal["bernoulli", "gaussian"] = "bernoulli",
        learn_variance: bool = False,
    ) -> None:
        super().__init__()
        image = image_shape(visible, channels, shape)
        check_units(units, learn_variance)
        maps, sizes = positive_sizes("filters", filters), positive_sizes("filter_sizes", filter_sizes)
        blocks = positive_sizes("pools", [1] * len(maps) if pools is None else pools)
        if len(maps) < 2 or not len(maps) == len(sizes) == len(blocks):
            raise ValueError(
                "filters, filter_sizes and pools must name two layers or more, and as many each; got "
                f"{len(maps)}, {len(sizes)} and {len(blocks)}. models.ConvolutionalRBM has one."
            )
        self.units, self.specification = units, tuple(zip(maps, sizes, blocks, strict=True))
        self.layers = nn.ModuleList()
        for each in self.specification[:-1]:
            layer = MapLayer(image, *each)
            self.layers.append(layer)
            image = layer.pooled_shape
        count, size, pool = self.specification[-1]
        self.log_variance = nn.Parameter(torch.zeros(channels)) if learn_variance else None
        self.lower_shape, self.top_pool = image, pool
        self.top_weight = nn.Parameter(random_filters(count, image[0], size))
        self.top_bias = nn.Parameter(torch.zeros(image[0]))
        self.top_hidden_bias = nn.Parameter(torch.zeros(count))
        self.top_shape = self._coupling().map_shape
        named = [(f"z{n}", f"h{n}") if each[2] > 1 else (f"z{n}",) for n, each in enumerate(self.specification[:-1], 1)]
        self.latent_sites = tuple(name for names in named for name in names)
        # Of the machine's lower layer, as greedy training saw it: annealing of its log Z starts there.
        self.data_mean: Tensor
        self.register_buffer("data_mean", torch.full((math.prod(image),), float("nan")))

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, rows and columns of the data."""
        return self._layer(0).image_shape

    @property
    def num_features(self) -> int:
        """Number of observed variables: the pixels."""
        return math.prod(self.image_shape)

    @property
    def num_hidden_layers(self) -> int:
        """Number of hidden layers, that of the machine among them."""
        return len(self.specification)

    def _layer(self, index: int) -> MapLayer:
        layer: Any = self.layers[index]
        return layer

    def _coupling(self) -> Convolutional:
        return Convolutional(self.top_weight, self.lower_shape[1:], pool=self.top_pool)

    def machine(self) -> BoltzmannMachine:
        """The Boltzmann machine at the top with its present weights: layers `lower` and `upper`."""
        lower = Bernoulli(self.top_bias, self.lower_shape[1] * self.lower_shape[2])
        upper = map_units(self.top_hidden_bias, self.top_shape, self.top_pool)
        return BoltzmannMachine({"lower": lower, "upper": upper}, [self._coupling()])

    @pyro_method
    def model(self, x: Tensor | None = None, num_rows: int | None = None) -> Tensor:
        """Joint density of the hidden layers but the uppermost, and of the data.

        Args:
            x: Images, shape (rows, pixels); None draws them, which needs a sampler (`inference.attach`).
            num_rows: Rows to draw when there are no data; 1 by default.
        """
        machine, layers = self.machine(), self.layers
        with pyro.plate(self.plate, rows(x, num_rows)):
            z = pyro.sample(f"z{len(layers)}", machine.marginal("lower"))
            for number in range(len(layers), 0, -1):
                layer = self._layer(number - 1)
                if layer.place is not None:
                    z = pyro.sample(f"h{number}", layer.places(z))
                if number > 1:
                    z = pyro.sample(f"z{number - 1}", sigmoid_law(layer.image(z)))
            return pyro.sample("x", self._visible(self._layer(0).image(z)), obs=x)

    def _visible(self, input: Tensor) -> dist.TorchDistribution:
        if self.units == "bernoulli":
            return sigmoid_law(input)
        pixels = self.image_shape[1] * self.image_shape[2]
        half = input.new_zeros(()) if self.log_variance is None else at_positions(self.log_variance, pixels) / 2
        return dist.Normal(input, half.exp().expand(input.shape)).to_event(1)

    @pyro_method
    def guide(self, x: Tensor) -> Tensor:
        """Recognition network: pooling units and places in their blocks upwards, given images (rows, pixels)."""
        z = x
        with pyro.plate(self.plate, len(x)):
            for number in range(1, len(self.layers) + 1):
                layer, image = self._layer(number - 1), z
                z = pyro.sample(f"z{number}", layer.pooling(image))
                if layer.place is not None:
                    pyro.sample(f"h{number}", layer.recognised(image, z))
        return z

    @torch.no_grad()
    def initialise(self, data: Any) -> None:
        """Start the bias of the pixels, if it is still zero, and a learned variance as `ConvolutionalRBM` does.

        Raises:
            ValueError: If the data are images of another shape.
        """
        check_images(data, self.image_shape)
        first = self._layer(0)
        if first.bias.any():
            return
        machine = self.layer_rbm(1).to(first.bias)
        machine.initialise(data)
        first.bias.copy_(machine.visible_bias)
        if self.log_variance is not None and machine.log_variance is not None:
            self.log_variance.copy_(machine.log_variance)

    @torch.no_grad()
    def recognition_network(self) -> PooledFeatures:
        """Probabilities of the uppermost pooling units, each layer given those below: the guide, and the machine."""
        upwards = [self._layer(index) for index in range(len(self.layers))]
        maps = [PooledMaps(each.up_weight, each.up_bias, each.image_shape[1:], each.pool) for each in upwards]
        return PooledFeatures(
            *maps, PooledMaps(self.top_weight, self.top_hidden_bias, self.lower_shape[1:], self.top_pool)
        )

    def check_data(self, data: Any) -> None:
        """Raise if the images of a data set have another shape than the model's.

        Raises:
            ValueError: If the shape is another one.
        """
        check_images(data, self.image_shape)

    def filters(self, layer: int = 1) -> Tensor:
        """Filters as they look in the image, (filters, channels, rows, columns).

        Those of the first layer as they are; above, the weighted sum of the filters below, each where its weight says,
        blocks evenly filled.

        Args:
            layer: Number of the hidden layer, from 1.

        Raises:
            ValueError: If there is no such layer.
        """
        if layer not in range(1, self.num_hidden_layers + 1):
            raise ValueError(f"layer must be a number from 1 to {self.num_hidden_layers}, got {layer!r}.")
        top = layer == self.num_hidden_layers
        pictures = (self.top_weight if top else self._layer(layer - 1).weight).detach()
        for below in range(layer - 2, -1, -1):
            pictures = self._layer(below).seen(pictures).detach()
        return pictures

    @torch.no_grad()
    def layer_rbm(self, layer: int, below: ConvolutionalRBM | None = None) -> ConvolutionalRBM:
        """The machine that greedy training fits for hidden layer `layer`, counted from 1."""
        image = self.image_shape if layer == 1 else self._layer(layer - 2).pooled_shape
        units, learned = (self.units, self.log_variance is not None) if layer == 1 else ("bernoulli", False)
        sizes = self.specification[layer - 1]
        return ConvolutionalRBM(math.prod(image), *sizes, image[1:], image[0], units, learned)

    @torch.no_grad()
    def compose(self, rbms: Sequence[ConvolutionalRBM]) -> None:
        """Take over the weights of machines trained layer by layer, one for each hidden layer from the bottom up."""
        *directed, top = rbms
        for index, rbm in enumerate(directed):
            layer = self._layer(index)
            layer.weight.copy_(rbm.weight)
            layer.bias.copy_(rbm.visible_bias)
            layer.up_weight.copy_(rbm.weight)
            layer.up_bias.copy_(rbm.hidden_bias)
            if layer.place is not None:
                layer.place.zero_()
            if rbm.log_variance is not None and self.log_variance is not None:
                self.log_variance.copy_(rbm.log_variance)
                layer.up_weight.mul_((-rbm.log_variance).exp().reshape(1, -1, 1, 1))  # machines hear v / sigma^2
        self.top_weight.copy_(top.weight)
        self.top_bias.copy_(top.visible_bias)
        self.top_hidden_bias.copy_(top.hidden_bias)
        self.data_mean.copy_(top.data_mean)

    def stacked(self, rbms: Sequence[ConvolutionalRBM]) -> "ConvolutionalRBM | ConvolutionalDBN":
        """The model of the lowest layers alone: the one machine, or the network that the machines make."""
        if len(rbms) == 1:
            return rbms[0]
        maps, sizes, pools = zip(*self.specification[: len(rbms)], strict=True)
        channels, *shape = self.image_shape
        learned = self.log_variance is not None
        part = ConvolutionalDBN(self.num_features, maps, sizes, pools, shape, channels, self.units, learned)
        part.to(self.top_weight)
        part.compose(rbms)
        return part
