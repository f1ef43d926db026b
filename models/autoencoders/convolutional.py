"""Convolutional autoencoder with pooling."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ppgen.models.autoencoders.point_coded import PointCoded
from ppgen.models.parts.arguments import check_images, positive_size, positive_sizes
from ppgen.models.parts.flat import Flat
from ppgen.models.parts.observation import Observation, refuse_words
from ppgen.nn.activations import activation_named
from ppgen.nn.convolution import Convolution
from ppgen.nn.pooling import max_pool, switch_bits
from ppgen.nn.transposed_convolution import TransposedConvolution
from ppgen.nn.unpooling import unpool_by_repetition, unpool_by_switches
from ppgen.nn.upward_maps import UpwardMaps

UNPOOLINGS = ("switches", "repetition", "transposed")


class ConvolutionalAutoencoder(PointCoded):
    r"""Autoencoder of images: convolutions with max-pooling up, unpooling with transposed convolutions down.

    Each layer up is a convolution, a non-linearity and max-pooling of blocks that do not overlap; each layer down an
    unpooling and a transposed convolution, with a non-linearity but at the image. With `unpooling="switches"` each
    number returns to the place of its block at which it was the largest: these places are a part of the code, `encode`
    gives them behind the numbers, and they carry `switch_bits` bits beside them, so that errors of reconstruction do
    not compare with those of other codes. As of every autoencoder the code has a flat prior and values are no bound of
    log p(x). Sites: `code` and `x`, in the plate `data`.

    References:
        | Stacked Convolutional Auto-Encoders for Hierarchical Feature Extraction (Masci, Meier, Ciresan and
          Schmidhuber, 2011)
        | https://doi.org/10.1007/978-3-642-21735-7_7
        | Adaptive Deconvolutional Networks for Mid and High Level Feature Learning (Zeiler, Taylor and Fergus, 2011)
        | https://doi.org/10.1109/ICCV.2011.6126474

    Args:
        shape: Rows and columns of the images, or channels, rows and columns; the rows and columns are multiples of
            `pool` at every layer.
        channels: Maps of each layer, from the image up.
        filter_size: Rows and columns of the filters.
        pool: Rows and columns of a block.
        unpooling: `"switches"`; `"repetition"`, each number at all places of its block; or `"transposed"`, a
            transposed convolution with a stride of `pool`, which learns it.
        activation: Non-linearity of the layers: `"relu"`, `"tanh"`, `"sigmoid"`, `"softplus"` or `"linear"`.
        likelihood: Law of the data given the code, as of `Autoencoder`.
        scale: Standard deviation under `"gaussian"`; None learns it.

    Raises:
        ValueError: If images cannot be divided into blocks, a size is not positive, filters are smaller than the blocks
            under `"transposed"`, or a name is unknown.
        TypeError: If an argument has the wrong type.

    Example:
        >>> import torch
        >>> from ppgen import models
        >>> model = models.ConvolutionalAutoencoder(shape=(8, 8), channels=(8,), unpooling="switches")
        >>> codes = model.encode(torch.zeros(5, 64))
        >>> codes.shape, model.decode(codes).shape, model.switch_bits
        (torch.Size([5, 256]), torch.Size([5, 64]), 256.0)
    """

    def __init__(
        self,
        shape: Sequence[int],
        channels: Sequence[int] = (8,),
        filter_size: int = 3,
        pool: int = 2,
        unpooling: str = "switches",
        activation: str = "relu",
        likelihood: str = "gaussian",
        scale: float | None = None,
    ) -> None:
        super().__init__()
        refuse_words(likelihood, "convolutional one")
        found, maps = positive_sizes("shape", shape), positive_sizes("channels", channels)
        size, block = positive_size("filter_size", filter_size), positive_size("pool", pool)
        if len(found) not in (2, 3):
            raise ValueError(f"shape must be (rows, columns) or (channels, rows, columns), got {found}.")
        if not maps:
            raise ValueError("channels must hold the maps of one layer or more, got ().")
        if unpooling not in UNPOOLINGS:
            raise ValueError(f"unpooling must be one of {', '.join(map(repr, UNPOOLINGS))}, got {unpooling!r}.")
        self.image_shape = found if len(found) == 3 else (1, *found)
        whole = block ** len(maps)
        if any(number % whole for number in self.image_shape[1:]):
            raise ValueError(
                f"shape: rows and columns must be multiples of {whole} = pool^layers, so that blocks of {block} x "
                f"{block} fill the maps of each of {len(maps)} layers; got {found}."
            )
        if unpooling == "transposed" and size < block:
            raise ValueError(f"filter_size must be at least pool={block} under unpooling='transposed', got {size}.")
        self.network = PooledNetwork(self.image_shape, maps, size, block, unpooling, activation)
        self.observation = Observation(likelihood, scale)

    @property
    def num_features(self) -> int:
        """Number of observed variables: channels x rows x columns."""
        return math.prod(self.image_shape)

    @property
    def num_codes(self) -> int:
        """Numbers of a code, switches among them."""
        return self.network.num_codes

    def _prior(self) -> Any:
        return Flat(self.num_codes, self.network.num_switches)

    @property
    def switch_bits(self) -> float:
        """Bits that the switches carry beside the numbers of the code, at most; 0 where they are not passed on."""
        return self.network.switch_bits

    def recognition_network(self) -> UpwardMaps:
        """The encoder as a network of its own, with copies of its filters; it gives codes without switches."""
        layers = [(each.get_parameter("weight"), each.get_parameter("bias")) for each in self.network.up]
        return UpwardMaps(layers, self.network.activation, self.image_shape, self.network.pool)

    def check_data(self, data: Any) -> None:
        """Raise unless a `ppgen.datasets.Dataset` holds images of the model's shape.

        Raises:
            ValueError: If the data say that their images have another shape.
        """
        check_images(data, self.image_shape)

    def filters(self, layer: int = 1) -> Tensor:
        """Filters of the first layer, (filters, channels, rows, columns).

        Raises:
            ValueError: If another layer is asked for, whose filters are no pictures of the data.
        """
        if layer != 1:
            raise ValueError(f"layer must be 1, whose filters lie on the image; got {layer!r}.")
        weight: Tensor = self.network.up[0].get_parameter("weight")
        return weight.detach()

    def initialise(self, data: Any) -> None:
        """Start the output's bias at the training mean of each channel, and the standard deviation at that of the data.

        Raises:
            ValueError: If the data say that their images have another shape.
        """
        self.check_data(data)
        mean = data.mean.to(self.device).reshape(self.image_shape).mean((1, 2))
        self.observation.initialise(self.network.output_bias, mean, data)


class PooledNetwork(nn.Module):
    """Layers of convolution and pooling up to a code, and of unpooling and transposed convolution down again.

    Args:
        image_shape: Channels, rows and columns.
        maps: Maps of each layer.
        size: Rows and columns of a filter.
        pool: Rows and columns of a block.
        unpooling: One of `UNPOOLINGS`.
        activation: Name of the non-linearity.
    """

    def __init__(
        self, image_shape: tuple[int, ...], maps: tuple[int, ...], size: int, pool: int, unpooling: str, activation: str
    ) -> None:
        super().__init__()
        self.image_shape, self.pool, self.unpooling = image_shape, pool, unpooling
        self.activation = activation_named(activation)
        gain, depth = self.activation.gain, len(maps)
        below = (image_shape[0], *maps)
        self.up = nn.ModuleList(Convolution(below[layer], maps[layer], size, gain) for layer in range(depth))
        stride = pool if unpooling == "transposed" else 1
        self.down = nn.ModuleList(
            TransposedConvolution(maps[layer], below[layer], size, stride, gain if layer else 1.0)
            for layer in range(depth)
        )
        _, rows, columns = image_shape
        self.shapes = [(number, rows // pool**layer, columns // pool**layer) for layer, number in enumerate(maps)]
        self.pooled = [(number, high // pool, wide // pool) for number, high, wide in self.shapes]
        self.num_values = math.prod(self.pooled[-1])
        self.num_codes = self.num_values + self.num_switches
        self.switch_bits = sum(switch_bits(each, pool) for each in self.shapes) if self.num_switches else 0.0

    @property
    def output_bias(self) -> Tensor:
        """Bias of the image, (channels,)."""
        return self.down[0].get_parameter("bias")

    def encode(self, x: Tensor) -> Tensor:
        """Code: (..., pixels) -> (..., codes); the numbers, then the switches of each layer from the image up."""
        maps, switches = x.unflatten(-1, self.image_shape), []
        for layer in self.up:
            maps, places = max_pool(self.activation.apply(layer(maps)), self.pool)
            switches.append(places.flatten(-3).to(x.dtype))
        values = maps.flatten(-3)
        return torch.cat([values, *switches], -1) if self.num_switches else values

    def decode(self, code: Tensor) -> Tensor:
        """Image: (..., codes) -> (..., pixels)."""
        sizes = [math.prod(shape) for shape in self.pooled] if self.num_switches else []
        values, *switches = code.split([self.num_values, *sizes], -1)
        maps = values.unflatten(-1, self.pooled[-1])
        for layer in reversed(range(len(self.down))):
            if switches:
                places = switches[layer].unflatten(-1, self.pooled[layer])
                maps = unpool_by_switches(maps, places, self.pool)
            elif self.unpooling == "repetition":
                maps = unpool_by_repetition(maps, self.pool)
            maps = self.down[layer](maps)
            if layer:
                maps = self.activation.apply(maps)
        return maps.flatten(-3)

    @property
    def num_switches(self) -> int:
        """Whole numbers at the end of a code that say where the maxima lay; 0 where they are not passed on."""
        return sum(math.prod(shape) for shape in self.pooled) if self.unpooling == "switches" else 0
