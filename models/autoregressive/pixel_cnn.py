"""PixelCNN: masked convolutions over the pixels before."""

from collections.abc import Sequence

from torch import Tensor

from ppgen.models.autoregressive.pixel_model import PixelModel, example_images
from ppgen.nn import CausalConvolutions


class PixelCNN(PixelModel):
    r"""PixelCNN: each pixel given those before it in raster order, by masked convolutions in residual blocks.

    .. math:: p(x) = \prod_{i} p\big(x_i \mid \theta_i(x_1, \dots, x_{i-1})\big)

    with the parameters of `nn.CausalConvolutions`, which all pixels compute at once; a draw computes each pixel once,
    from rows that it keeps, and costs a few passes. Above and to the right of a pixel there are earlier pixels that it
    does not see (`network.field`); `GatedPixelCNN` sees them. Two levels are bits; images of more are whole numbers
    from 0 on (`datasets.load(..., integers="levels")`). Of colours green is given red, and blue both. Site: `x`, in the
    plate `data`.

    References:
        | Pixel Recurrent Neural Networks (van den Oord, Kalchbrenner and Kavukcuoglu, 2016)
        | https://arxiv.org/abs/1601.06759
        | PixelCNN++: Improving the PixelCNN with Discretized Logistic Mixture Likelihood and Other Modifications
          (Salimans, Karpathy, Chen and Kingma, 2017)
        | https://arxiv.org/abs/1701.05517

    Args:
        shape: Rows and columns of the images.
        channels: Maps h inside a block, of each channel of the image; 2 h stand between blocks.
        layers: Residual blocks.
        levels: Values of a pixel, whole numbers from 0 on.
        outputs: Law of a pixel: `"bernoulli"` for 2 levels, `"categorical"` with a probability for each, or
            `"logistic"`, a discretised mixture of logistic laws, which knows that levels are in order; None for the
            first of them that will do.
        components: Logistic laws of a mixture.
        image_channels: Numbers of a pixel, 3 of colours.
        first_size: Rows and columns of the first filter's square, which larger than the image is cut to it.
        size: Rows and columns of the square of the filters in blocks.
        coordinates: Whether the network is told where in the image a pixel stands.
        dropout: Probability with which a number inside a block is left out while training.

    Raises:
        ValueError: If a number is not positive, there are fewer than two levels, or `outputs` is unknown or not for so
            many levels.
        TypeError: If an argument has the wrong type.

    Example:
        >>> import torch
        >>> from ppgen import evaluation, models
        >>> model = models.PixelCNN(shape=(4, 4), channels=4, layers=1)
        >>> evaluation.log_likelihood(model, torch.ones(2, 16), method="exact").num_data
        2
    """

    default_training = {"lr": 0.004, "lr_schedule": "cosine"}  # noqa: RUF012

    def __init__(
        self,
        shape: Sequence[int],
        channels: int = 16,
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
        self.network = CausalConvolutions(
            found, parameters, channels, layers, image_channels, 0, first_size, size, coordinates, dropout
        )

    @classmethod
    def example(cls) -> tuple["PixelCNN", Tensor]:
        """A small instance with six images, to try things on."""
        return cls((3, 3), channels=2, layers=1, first_size=3), example_images(3, 3)
