"""One directed layer of a convolutional belief network: feature maps in blocks, their pooling units, an image below."""

import math
from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppgen.distributions import Categorical, Convolutional
from ppgen.distributions.units.bernoulli import ThresholdBernoulli
from ppgen.distributions.units.units import UnitsLaw, at_positions
from ppgen.models.parts.arguments import positive_size


class MapLayer(nn.Module):
    r"""Pooling units p, the units h of their blocks, and the image below, downwards and upwards.

    .. math:: p(h_k = 1 \mid p = 1) = \mathrm{softmax}_k(d), \quad h = 0 \text{ where } p = 0, \qquad
              q(p = 1 \mid v) = 1 - \frac{1}{1 + \sum_k e^{I_k}}, \quad q(h_k = 1 \mid p = 1, v) = \mathrm{softmax}_k(I)

    for the units k of each block. Downwards the place of the unit that is on has logits d of its map, the same in all
    blocks, which start at zero; upwards its input I = a + W * v, so that q(p, h | v) is the law of blocks with
    probabilistic max-pooling. Both directions have filters and biases of their own.

    Args:
        image_shape: Channels, rows and columns of the image.
        filters: Maps.
        size: Rows and columns of a filter.
        pool: Rows and columns of a block; 1 for units that are their own pooling units.

    Example:
        >>> layer = MapLayer((1, 5, 5), filters=3, size=2, pool=2)
        >>> pooled = layer.pooling(torch.zeros(4, 25)).sample()
        >>> layer.image(layer.places(pooled).sample()).shape, layer.pooled_shape
        (torch.Size([4, 25]), (3, 2, 2))
    """

    def __init__(self, image_shape: tuple[int, int, int], filters: int, size: int, pool: int) -> None:
        super().__init__()
        self.image_shape, self.pool = image_shape, pool
        self.weight = nn.Parameter(random_filters(filters, image_shape[0], size))
        self.bias = nn.Parameter(torch.zeros(image_shape[0]))
        self.place = nn.Parameter(torch.zeros(filters, pool**2)) if pool > 1 else None
        self.up_weight = nn.Parameter(self.weight.detach().clone())
        self.up_bias = nn.Parameter(torch.zeros(filters))
        self.map_shape = self._coupling(self.weight).map_shape
        self.pooled_shape = (filters, self.map_shape[1] // pool, self.map_shape[2] // pool)

    def _coupling(self, weight: Tensor) -> Convolutional:
        return Convolutional(weight, self.image_shape[1:], pool=self.pool)

    def input(self, image: Tensor) -> Tensor:
        """What the units of each block hear from below: (..., pixels) -> (..., blocks, units of a block)."""
        heard = self._coupling(self.up_weight).forward(image) + at_positions(
            self.up_bias, math.prod(self.map_shape[1:])
        )
        return heard.unflatten(-1, (-1, self.pool**2))

    def pooling(self, image: Tensor) -> dist.TorchDistribution:
        """q(p | v): independent pooling units, event shape (blocks,)."""
        return ThresholdBernoulli(logits=self.input(image).logsumexp(-1)).to_event(1)

    def recognised(self, image: Tensor, pooled: Tensor) -> dist.TorchDistribution:
        """q(h | p, v): the unit of each block that is on, given image and pooling units; event shape (units,)."""
        return self._blocks(self.input(image), pooled)

    def places(self, pooled: Tensor) -> dist.TorchDistribution:
        """p(h | p): the unit of each block that is on, given the pooling units above; event shape (units,)."""
        if self.place is None:
            raise ValueError("Units without blocks are their own pooling units; they have no law given them.")
        blocks = self.pooled_shape[1] * self.pooled_shape[2]
        return self._blocks(self.place.repeat_interleave(blocks, 0), pooled)

    def _blocks(self, logits: Tensor, pooled: Tensor) -> dist.TorchDistribution:
        groups = math.prod(self.pooled_shape)
        units = Categorical(logits.new_zeros(groups, self.pool**2), present=pooled > 0.5)
        return UnitsLaw(units, logits.flatten(-2))

    def image(self, hidden: Tensor) -> Tensor:
        """What each pixel hears from above, bias included: (..., units) -> (..., pixels)."""
        heard = self._coupling(self.weight).backward(hidden)
        return heard + at_positions(self.bias, self.image_shape[1] * self.image_shape[2])

    def seen(self, images: Tensor) -> Tensor:
        """Pictures in the image below of pictures in pooling units, whose blocks are evenly filled, without the bias.

        Args:
            images: (pictures, filters, rows, columns).

        Returns:
            (pictures, channels, rows, columns).
        """
        filled = images.repeat_interleave(self.pool, -2).repeat_interleave(self.pool, -1) / self.pool**2
        return nn.functional.conv_transpose2d(filled, self.weight)


def image_shape(visible: int, channels: int, shape: Sequence[int] | None) -> tuple[int, int, int]:
    """Channels, rows and columns of images of so many pixels.

    Raises:
        ValueError: If they do not fit.
        TypeError: If `shape` is no pair of whole numbers.

    Example:
        >>> image_shape(64, 1, None)
        (1, 8, 8)
    """
    visible, channels = positive_size("visible", visible), positive_size("channels", channels)
    if shape is None:
        side = math.isqrt(visible // channels)
        if channels * side * side != visible:
            raise ValueError(
                f"{visible} pixels are no square image of {channels} channel{'s' if channels > 1 else ''}; "
                "give shape=(rows, columns)."
            )
        return channels, side, side
    if isinstance(shape, str) or not isinstance(shape, Sequence):
        raise TypeError(f"shape must be (rows, columns), such as (28, 28), got {shape!r}.")
    if len(shape) != 2 or channels * math.prod(shape) != visible:
        raise ValueError(
            f"shape must be (rows, columns) of images of {channels} x rows x columns = {visible} pixels, got {shape!r}."
        )
    return channels, positive_size("each number in shape", shape[0]), positive_size("each number in shape", shape[1])


def random_filters(filters: int, channels: int, size: int) -> Tensor:
    """Filters from N(0, 1 / ((channels + filters) x size^2)): (filters, channels, size, size)."""
    return torch.randn(filters, channels, size, size) / ((channels + filters) * size * size) ** 0.5
