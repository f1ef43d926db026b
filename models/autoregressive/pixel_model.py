"""What autoregressive models of images share: the law of a pixel, the order of pixels, where biases start."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ppgen.checks.switches import check_switches
from ppgen.distributions import Autoregressive, BernoulliOutput, CategoricalOutput, LogisticMixtureOutput
from ppgen.models.autoregressive.autoregressive_model import AutoregressiveModel
from ppgen.models.parts.arguments import check_images, one_of, positive_size, positive_sizes
from ppgen.nn import Causal
from ppgen.nn.autoregressive.pixel_grid import PixelGrid

OUTPUTS = ("bernoulli", "categorical", "logistic")
LOOKED_AT = 5000  # training rows from which biases start


class PixelImages:
    """Images as an autoregressive law over their pixels; what models of images, and of images given a class, share."""

    grid: PixelGrid
    output: Any
    network: Causal
    order: Tensor | None

    def _images(
        self,
        shape: Sequence[int],
        image_channels: int,
        levels: int,
        outputs: str | None,
        components: int,
        **switches: Any,
    ) -> tuple[int, int]:
        """Settle shape, law of a pixel and order; rows and columns are returned."""
        check_switches(optional=(), **switches)
        rows_columns = positive_sizes("shape", shape)
        if len(rows_columns) != 2:
            raise ValueError(
                f"shape must be (rows, columns), and channels stand in image_channels; got {rows_columns}."
            )
        self.grid = PixelGrid(*rows_columns, positive_size("image_channels", image_channels))
        self.output = pixel_output(levels, outputs, components)
        order = self.grid.order if self.grid.channels > 1 else None
        self.register_buffer("order", order, persistent=False)  # type: ignore[attr-defined]
        return self.grid.rows, self.grid.columns

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, rows and columns of an image."""
        return self.grid.channels, self.grid.rows, self.grid.columns

    def _law(self, given: Tensor | None = None) -> Autoregressive:
        return Autoregressive(self.network, self.output, self.order, given)

    def inspect_data(self, data: Any) -> None:
        """Raise unless the images of a data set have the model's shape, and as many levels.

        Raises:
            ValueError: If the shape or the number of levels differs.
        """
        check_images(data, self.image_shape)
        found, levels = getattr(data, "num_values", None), len(self.output.values)
        if found is not None and found > levels:
            raise ValueError(f"levels must be {found}, as many values as the data have, got {levels}.")

    def initialise(self, data: Any) -> None:
        """Start the output's bias at the law of the training images' pixels, all places together."""
        train = data.train[:LOOKED_AT].to(next(self.network.parameters()))
        channels, pixels = self.grid.channels, self.grid.pixels
        bias = self.output.start(train.reshape(-1, channels, pixels).transpose(1, 2).reshape(-1, channels))
        if bias is not None:
            self.network.initialise(bias.repeat(pixels, 1))


class PixelModel(PixelImages, AutoregressiveModel):
    """Base of models of images, whose positions are pixels in raster order and the channels of a pixel in turn.

    A subclass calls `_images` and makes its `network`. Data are rows of images, (channels, rows, columns) flattened.
    """

    @property
    def num_features(self) -> int:
        """Number of observed variables: rows x columns x channels."""
        return self.grid.positions

    def law(self) -> Autoregressive:
        """Law of an image, with events of shape (features,)."""
        return self._law()


def pixel_output(levels: int, outputs: str | None, components: int) -> Any:
    """Law of one number of a pixel.

    Args:
        levels: Values of it, whole numbers from 0 on.
        outputs: `"bernoulli"`, `"categorical"` or `"logistic"`; None for the first where there are two levels, and else
            the second.
        components: Components under `"logistic"`.

    Raises:
        ValueError: If there are fewer than two levels, or the name is unknown or not for so many.

    Example:
        >>> pixel_output(2, None, 5), pixel_output(17, None, 5)
        (BernoulliOutput(), CategoricalOutput(levels=17))
    """
    if positive_size("levels", levels) < 2:
        raise ValueError(f"levels must be at least 2, got {levels}.")
    components = positive_size("components", components)  # whatever the law: a wrong number is never meant
    name = one_of(
        "outputs", outputs if outputs is not None else ("bernoulli" if levels == 2 else "categorical"), OUTPUTS
    )
    if name == "bernoulli":
        if levels != 2:
            raise ValueError(f'outputs="bernoulli" is for 2 levels, got levels={levels}: use "categorical".')
        return BernoulliOutput()
    if name == "categorical":
        return CategoricalOutput(levels)
    return LogisticMixtureOutput(components, levels)


def example_images(*shape: int) -> Tensor:
    """Six images of bits."""
    return torch.bernoulli(torch.full((6, *shape), 0.5)).flatten(1)
