"""Deep convolutional generators and discriminators."""

import math
from collections.abc import Sequence
from typing import Any

import pyro
import torch
from pyro.nn.module import pyro_method
from torch import Tensor, nn

from ppgen.models.parts.arguments import one_of, positive_size, positive_sizes
from ppgen.models.parts.noise import OUTPUTS, noise_law, start_at
from ppgen.models.parts.programs import rows
from ppgen.pair import GenerativeModel

_SD = 0.02  # of the weights before training
_LEAK = 0.2


class ConvolutionalGenerator(GenerativeModel):
    r"""A deep convolutional network of noise without a density: the generator of a DCGAN.

    .. math:: z \sim U(-1, 1), \quad x = G_\theta(z)

    Sites: `z`, shape (latent,), and the computed `x`, shape (channels x rows x columns,), in the plate `data`.

    The rules of the paper: a linear map of the noise to a small grid of many maps; transposed convolutions of stride 2,
    each with half as many maps; batch normalisation after each layer but the last, and rectified units; no pooling and
    no hidden fully connected layer; weights from N(0, 0.02^2). The grid has `width * 2^(halvings - 1)` maps. The
    paper's network is `shape=(3, 64, 64), width=128, halvings=4, output="tanh"`; the default is that of 28 x 28 pixels
    in [0, 1].

    It is trained by `inference.Adversarial` with a `models.ConvolutionalDiscriminator`, best with the paper's Adam:
    `optimizer={"name": "adam", "betas": (0.5, 0.999)}, lr=2e-4`. Draws, and densities by `models.with_noise`, are taken
    in evaluation mode, where a draw does not depend on others.

    References:
        | Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks
          (Radford, Metz and Chintala, 2016), https://arxiv.org/abs/1511.06434

    Args:
        shape: Channels, rows and columns of the images; the last two are multiples of 2^halvings.
        latent: Variables of the noise.
        width: Maps before the last layer.
        halvings: How often rows and columns are doubled.
        output: What the last layer goes through: `"sigmoid"` for data in [0, 1], `"tanh"` for [-1, 1], `"linear"`.
        prior: Law of the noise: `"uniform"` in [-1, 1], or `"normal"`.

    Raises:
        ValueError: If a size is not positive, rows or columns cannot be halved so often, or a name is unknown.

    Example:
        >>> import torch
        >>> from ppgen import models
        >>> generator = models.ConvolutionalGenerator(shape=(1, 8, 8), latent=3, width=4)
        >>> generator.num_features
        64
    """

    has_likelihood = False
    default_inference = "Adversarial"

    def __init__(
        self,
        shape: Sequence[int] = (1, 28, 28),
        latent: int = 100,
        width: int = 64,
        halvings: int = 2,
        output: str = "sigmoid",
        prior: str = "uniform",
    ) -> None:
        super().__init__()
        self.image_shape = halved_shape(shape, halvings)
        channels, height, breadth = self.image_shape
        self.latent, width = positive_size("latent", latent), positive_size("width", width)
        self.noise = noise_law(prior)
        self.output = one_of("output", output, list(OUTPUTS))
        self.squash = OUTPUTS[output]
        maps = width << (halvings - 1)
        self.grid = (maps, height >> halvings, breadth >> halvings)
        self.project = nn.Linear(self.latent, math.prod(self.grid), bias=False)
        layers: list[nn.Module] = [nn.BatchNorm2d(maps), nn.ReLU()]
        for _ in range(halvings - 1):
            layers += [nn.ConvTranspose2d(maps, maps // 2, 4, 2, 1, bias=False), nn.BatchNorm2d(maps // 2), nn.ReLU()]
            maps //= 2
        self.last = nn.ConvTranspose2d(maps, channels, 4, 2, 1)
        self.network = nn.Sequential(*layers, self.last)
        self.apply(_start)

    @classmethod
    def example(cls) -> tuple["ConvolutionalGenerator", Tensor]:
        """A small instance with six images, to try things on."""
        return cls(shape=(1, 4, 4), latent=2, width=2, halvings=2), torch.rand(6, 16)

    @property
    def num_features(self) -> int:
        """Number of observed variables: channels x rows x columns."""
        return math.prod(self.image_shape)

    @pyro_method
    def model(self, x: Tensor | None = None, num_rows: int | None = None) -> Tensor:
        """Draws of noise and images.

        Args:
            x: Data, which say how many rows are drawn; they are not looked at.
            num_rows: Rows to draw when there are no data; 1 by default.
        """
        with pyro.plate(self.plate, rows(x, num_rows)):
            z = pyro.sample("z", self.noise(self.latent, self))
            return pyro.deterministic("x", self.images(z), event_dim=1)

    def images(self, z: Tensor) -> Tensor:
        """Images of noise as rows of a table: (..., latent) -> (..., features)."""
        grids = self.project(z.reshape(-1, self.latent)).reshape(-1, *self.grid)
        return self.squash(self.network(grids)).reshape(*z.shape[:-1], self.num_features)

    def initialise(self, data: Any) -> None:
        """Start the bias of each channel where the outputs are the training mean."""
        start_at(self.last, self.output, data.mean)


class ConvolutionalDiscriminator(nn.Module):
    """A deep convolutional discriminator of images, for `inference.Adversarial(discriminator=...)`: a logit for each.

    The rules of the DCGAN paper: convolutions of stride 2, each with twice as many maps; batch normalisation after each
    layer but the first and the last; leaky rectified units; weights from N(0, 0.02^2).

    References:
        | Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks
          (Radford, Metz and Chintala, 2016), https://arxiv.org/abs/1511.06434

    Args:
        shape: Channels, rows and columns of the images; the last two are multiples of 2^halvings.
        width: Maps of the first layer.
        halvings: How often rows and columns are halved.
        normalise: Whether there is batch normalisation; not under `"wasserstein-gp"`, whose penalty is of each row.

    Raises:
        ValueError: If a size is not positive, or rows or columns cannot be halved so often.

    Example:
        >>> import torch
        >>> from ppgen import models
        >>> models.ConvolutionalDiscriminator(shape=(1, 8, 8), width=4)(torch.zeros(5, 64)).shape
        torch.Size([5, 1])
    """

    def __init__(
        self, shape: Sequence[int] = (1, 28, 28), width: int = 64, halvings: int = 2, normalise: bool = True
    ) -> None:
        super().__init__()
        self.image_shape = halved_shape(shape, halvings)
        channels, height, breadth = self.image_shape
        maps = positive_size("width", width)
        layers: list[nn.Module] = [nn.Conv2d(channels, maps, 4, 2, 1), nn.LeakyReLU(_LEAK)]
        for _ in range(halvings - 1):
            layers.append(nn.Conv2d(maps, 2 * maps, 4, 2, 1, bias=not normalise))
            layers += [*([nn.BatchNorm2d(2 * maps)] if normalise else []), nn.LeakyReLU(_LEAK)]
            maps *= 2
        size = maps * (height >> halvings) * (breadth >> halvings)
        self.network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(size, 1))
        self.apply(_start)

    def forward(self, rows: Tensor) -> Tensor:
        """Logits of rows: (n, features) -> (n, 1)."""
        found: Tensor = self.network(rows.reshape(-1, *self.image_shape))
        return found


def halved_shape(shape: Sequence[int], halvings: int) -> tuple[int, int, int]:
    """The shape of images whose rows and columns can be halved so often.

    Raises:
        ValueError: If they cannot.

    Example:
        >>> halved_shape((1, 28, 28), 2)
        (1, 28, 28)
    """
    sizes = positive_sizes("shape", shape)
    if len(sizes) != 3:
        raise ValueError(f"shape must be channels, rows and columns, such as (1, 28, 28), got {tuple(sizes)}.")
    channels, height, breadth = sizes
    halvings = positive_size("halvings", halvings)
    if height % 2**halvings or breadth % 2**halvings:
        raise ValueError(
            f"rows and columns of shape must be multiples of 2^halvings = {2**halvings}, got {height} x {breadth}."
        )
    return channels, height, breadth


def _start(module: nn.Module) -> None:
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
        nn.init.normal_(module.weight, 0.0, _SD)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    if isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, _SD)
