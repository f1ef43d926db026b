"""Gated PixelCNN: a stack of rows above and a stack of the row itself."""

from collections.abc import Sequence

from torch import Tensor

from ppgen.models.autoregressive.pixel_model import PixelModel, example_images
from ppgen.nn import GatedCausalConvolutions


class GatedPixelCNN(PixelModel):
    r"""Gated PixelCNN: each pixel given those before it in raster order, by two stacks of gated convolutions.

    .. math:: p(x) = \prod_{i} p\big(x_i \mid \theta_i(x_1, \dots, x_{i-1})\big)

    with the parameters of `nn.GatedCausalConvolutions`: one stack sees all rows above, the other adds the pixels to the
    left, so that no earlier pixel within reach stays unseen. `ClassConditionalPixelCNN` is the same given a class.
    Arguments, values of pixels and the cost of draws are as of `PixelCNN`. Site: `x`, in the plate `data`.

    References:
        | Conditional Image Generation with PixelCNN Decoders (van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves and
          Kavukcuoglu, 2016)
        | https://arxiv.org/abs/1606.05328

    Args:
        shape: Rows and columns of the images.
        channels: Maps of each stack, of each channel of the image.
        layers: Gated layers.
        levels: Values of a pixel, whole numbers from 0 on.
        outputs: Law of a pixel, `"bernoulli"`, `"categorical"` or `"logistic"`, as of `PixelCNN`.
        components: Logistic laws of a mixture.
        image_channels: Numbers of a pixel, 3 of colours.
        first_size: Rows and columns of the first layer's square, which larger than the image is cut to it.
        size: Rows and columns of the square of the other layers.
        coordinates: Whether the network is told where in the image a pixel stands.
        dropout: Probability with which a number that a layer reads is left out while training.

    Raises:
        ValueError: If a number is not positive, there are fewer than two levels, or `outputs` is unknown or not for so
            many levels.
        TypeError: If an argument has the wrong type.

    Example:
        >>> import torch
        >>> from ppgen import evaluation, models
        >>> model = models.GatedPixelCNN(shape=(4, 4), channels=4, layers=2)
        >>> evaluation.log_likelihood(model, torch.ones(2, 16), method="exact").num_data
        2
    """

    default_training = {"lr": 0.004, "lr_schedule": "cosine"}  # noqa: RUF012

    def __init__(
        self,
        shape: Sequence[int],
        channels: int = 32,
        layers: int = 6,
        levels: int = 2,
        outputs: str | None = None,
        components: int = 5,
        image_channels: int = 1,
        first_size: int = 7,
        size: int = 3,
        coordinates: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        found = self._images(shape, image_channels, levels, outputs, components, coordinates=coordinates)
        parameters = self.output.num_parameters
        self.network = GatedCausalConvolutions(
            found, parameters, channels, layers, image_channels, 0, first_size, size, coordinates, dropout
        )

    @classmethod
    def example(cls) -> tuple["GatedPixelCNN", Tensor]:
        """A small instance with six images, to try things on."""
        return cls((3, 3), channels=2, layers=2, first_size=3), example_images(3, 3)
