"""Convolutional restricted Boltzmann machine with probabilistic max-pooling."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ppgen.distributions import Bernoulli, BoltzmannMachine, Convolutional, Gaussian, MaxPooled, Units
from ppgen.distributions.couplings.convolutional import in_maps
from ppgen.models.boltzmann.restricted import RestrictedMachine
from ppgen.models.parts.arguments import check_images, positive_size
from ppgen.models.parts.convolutional_layers import image_shape, random_filters
from ppgen.models.parts.fixed_variance import LOOKED_AT, warn_unless_near_one
from ppgen.models.parts.pooled_features import PooledFeatures, PooledMaps


class ConvolutionalRBM(RestrictedMachine):
    r"""Restricted Boltzmann machine of an image and of feature maps, with filters that every position shares.

    .. math:: p(v, h) = \frac{1}{Z} \exp\Big(\sum_c b_c \sum_{ij} v^c_{ij} + \sum_k a_k \sum_{ij} h^k_{ij} +
              \sum_k \sum_{ij} h^k_{ij} \sum_c \sum_{rs} W^k_{c,rs} \, v^c_{i + r, j + s}\Big)

    Filters stay within the image. With `pool` C above 1 the units of a map stand in blocks of C x C, of which at most
    one unit is on (probabilistic max-pooling); above each block is a pooling unit that is on with it,

    .. math:: p(h^k_{ij} = 1 \mid v) = \frac{e^{I_{ij}}}{1 + \sum_{\text{block}} e^{I}}, \quad
              p(p^k = 1 \mid v) = 1 - \frac{1}{1 + \sum_{\text{block}} e^{I}}, \quad
              I_{ij} = a_k + \sum_c \sum_{rs} W^k_{c,rs} \, v^c_{i + r, j + s}

    With `units="gaussian"` the image is real, v given h normal about b_c plus the sum of the filters that are on, at
    variance 1 or one that is learned for each channel. The guide is the exact posterior p(h | v). Such a machine has
    many more hidden units than pixels; `inference.ELBO(sparsity_target=...)` keeps most of them off. Sites: `hidden`
    (map by map, block by block) and `visible` (channel by channel, row by row), in the plate `data`. Filters start at
    N(0, 1 / ((channels + filters) x filter_size^2)); biases and learned variances at the mean of each channel and half
    its variance, at the first `fit`.

    References:
        | Convolutional Deep Belief Networks for Scalable Unsupervised Learning of Hierarchical Representations (Lee,
          Grosse, Ranganath and Ng, 2009)

    Args:
        visible: Pixels of an image, all channels together.
        filters: Filters, each with a map of hidden units.
        filter_size: Rows and columns of a filter.
        pool: Rows and columns of a block of hidden units, which must fill the maps; 1 for units that are free.
        shape: Rows and columns of the image; a square by default.
        channels: Channels of the image.
        units: Visible units, `"bernoulli"` or `"gaussian"`.
        learn_variance: Whether the variances of Gaussian units are parameters, one for each channel.

    Raises:
        ValueError: If a size is not positive, or image, filters and blocks do not fit each other.
        TypeError: If `learn_variance` is no truth value, or `shape` no pair of whole numbers.

    Example:
        >>> from ppgen import models
        >>> machine = models.ConvolutionalRBM(visible=64, filters=6, filter_size=3, pool=2)
        >>> machine.machine(), machine.map_shape, machine.pooled_shape
        (BoltzmannMachine(visible=64, hidden=216), (6, 6, 6), (6, 3, 3))
    """

    default_inference = "pcd"
    # Adam: the gradient of a filter is summed over all positions, that of a bias over those of a whole map.
    default_training = {"optimizer": "adam", "lr": 0.003, "lr_schedule": "linear"}  # noqa: RUF012

    def __init__(
        self,
        visible: int,
        filters: int,
        filter_size: int,
        pool: int = 1,
        shape: Sequence[int] | None = None,
        channels: int = 1,
        units: Literal["bernoulli", "gaussian"] = "bernoulli",
        learn_variance: bool = False,
    ) -> None:
        super().__init__()
        filters, size = positive_size("filters", filters), positive_size("filter_size", filter_size)
        self.image_shape = image_shape(visible, channels, shape)
        check_units(units, learn_variance)
        self.units, self.pool = units, positive_size("pool", pool)
        channels = self.image_shape[0]
        self.weight = nn.Parameter(random_filters(filters, channels, size))
        self.visible_bias = nn.Parameter(torch.zeros(channels))
        self.hidden_bias = nn.Parameter(torch.zeros(filters))
        self.log_variance = nn.Parameter(torch.zeros(channels)) if learn_variance else None
        self.map_shape = self.coupling().map_shape
        self.pooled_shape = (filters, self.map_shape[1] // self.pool, self.map_shape[2] // self.pool)
        self.data_mean: Tensor
        self.register_buffer("data_mean", torch.full((math.prod(self.image_shape),), float("nan")))

    @property
    def num_features(self) -> int:
        """Number of observed variables: the pixels."""
        return math.prod(self.image_shape)

    def coupling(self) -> Convolutional:
        """The filters between the image and the maps."""
        return Convolutional(self.weight, self.image_shape[1:], pool=self.pool)

    def machine(self) -> BoltzmannMachine:
        """The Boltzmann machine of the present weights."""
        pixels = self.image_shape[1] * self.image_shape[2]
        visible: Units = (
            Bernoulli(self.visible_bias, pixels)
            if self.units == "bernoulli"
            else Gaussian(self.visible_bias, self.log_variance, pixels)
        )
        layers = {"visible": visible, "hidden": map_units(self.hidden_bias, self.map_shape, self.pool)}
        return BoltzmannMachine(layers, [self.coupling()])

    @torch.no_grad()
    def hidden_means(self, x: Tensor) -> Tensor:
        """P(p = 1 | v) of each pooling unit, what a layer above sees: (rows, pixels) -> (rows, filters x blocks)."""
        energy = self.machine().base_energy
        on = energy.mean_opposite(x, 0).unflatten(-1, (-1, self.pool**2)).sum(-1)
        return on.clamp(max=1.0)  # rounding may leave a sum of probabilities above 1, from which no bits are drawn

    @torch.no_grad()
    def recognition_network(self) -> PooledFeatures:
        """P(p = 1 | v) of each pooling unit as a network of its own, with copies of filters and biases."""
        # Machines hear v / sigma^2.
        hears = 1.0 if self.log_variance is None else (-self.log_variance).exp().reshape(1, -1, 1, 1)
        return PooledFeatures(PooledMaps(hears * self.weight, self.hidden_bias, self.image_shape[1:], self.pool))

    def check_data(self, data: Any) -> None:
        """Raise if the images of a data set have another shape than the model's.

        Raises:
            ValueError: If the shape is another one.
        """
        check_images(data, self.image_shape)

    def filters(self, layer: int = 1) -> Tensor:
        """Filters, (filters, channels, rows, columns).

        Args:
            layer: Number of the hidden layer, of which there is one.

        Raises:
            ValueError: If it is not 1.
        """
        if layer != 1:
            raise ValueError(f"layer must be 1, the only one of a ConvolutionalRBM, got {layer!r}.")
        return self.weight.detach()

    def maps(self, hidden: Tensor) -> Tensor:
        """Hidden units as images: (..., hidden) -> (..., filters, rows, columns)."""
        filters, rows, columns = self.map_shape
        return in_maps(hidden.unflatten(-1, (filters, rows * columns)), (rows, columns), self.pool)

    def inspect_data(self, data: Any) -> None:
        """Warn where the variances are fixed at 1 and those of the training data are far from it."""
        if self.units == "gaussian" and self.log_variance is None:
            warn_unless_near_one(data, type(self).__name__, "take learn_variance=True")

    @torch.no_grad()
    def initialise(self, data: Any) -> None:
        """Note the training mean, and start the visible biases, and variances that are learned, from each channel's.

        What is not zero any more because it was loaded or trained stays.

        Raises:
            ValueError: If the data are images of another shape.
        """
        check_images(data, self.image_shape)
        self.data_mean.copy_(data.mean)
        channels = self.image_shape[0]
        if not self.visible_bias.any():
            mean = self.data_mean.reshape(channels, -1).mean(1)
            self.visible_bias.copy_(mean if self.units == "gaussian" else torch.logit(mean.clamp(1e-4, 1 - 1e-4)))
        if self.log_variance is not None and not self.log_variance.any():
            rows = data.batch("train", torch.arange(min(data.num_train, LOOKED_AT))).double()
            variance = rows.reshape(len(rows), channels, -1).var((0, 2), correction=0)
            if bool((variance > 0).all()):
                self.log_variance.copy_((variance / 2).log())
                self.weight.mul_((self.log_variance / 2).exp().reshape(1, -1, 1, 1))


def check_units(units: str, learn_variance: bool) -> None:
    """Raise unless these are visible units, and a variance is learned where there is one.

    Raises:
        ValueError: If there are no such units, or they have no variance.
        TypeError: If `learn_variance` is no truth value.
    """
    if units not in ("bernoulli", "gaussian"):
        raise ValueError(f'units must be "bernoulli" or "gaussian", got {units!r}.')
    if not isinstance(learn_variance, bool):
        raise TypeError(f"learn_variance must be True or False, got {learn_variance!r}.")
    if learn_variance and units != "gaussian":
        raise ValueError('learn_variance needs units="gaussian": bits have no variance of their own.')


def map_units(bias: Tensor, shape: tuple[int, int, int], pool: int) -> Units:
    """Hidden units of feature maps, each map with one bias: free ones, or blocks of pool x pool.

    Example:
        >>> map_units(torch.zeros(2), (2, 4, 4), 2).num_states
        390625
    """
    positions = shape[1] * shape[2]
    return Bernoulli(bias, positions) if pool == 1 else MaxPooled(bias, pool**2, positions // pool**2)
