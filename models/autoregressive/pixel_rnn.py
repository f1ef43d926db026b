"""PixelRNN: LSTMs over the pixels before."""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from ppgen.models.autoregressive.pixel_model import PixelModel, example_images
from ppgen.models.parts.arguments import one_of
from ppgen.nn import RecurrentPixels


class PixelRNN(PixelModel):
    r"""PixelRNN: each pixel given those before it in raster order, by layers of LSTMs over the image.

    .. math:: p(x) = \prod_{i} p\big(x_i \mid \theta_i(x_1, \dots, x_{i-1})\big)

    with the parameters of `nn.RecurrentPixels`. The row LSTM computes a row at once and sees a triangle above the
    pixel; the diagonal LSTMs compute a diagonal at once and see all pixels before (`network.field`). A draw computes
    each pixel once, from rows that it keeps. Two levels are bits; images of more are whole numbers from 0 on
    (`datasets.load(..., integers="levels")`). Site: `x`, in the plate `data`.

    References:
        | Pixel Recurrent Neural Networks (van den Oord, Kalchbrenner and Kavukcuoglu, 2016)
        | https://arxiv.org/abs/1601.06759

    Args:
        shape: Rows and columns of the images, of one channel.
        kind: `"row"` or `"diagonal"`.
        channels: Hidden maps h of a layer; 2 h stand between layers.
        layers: Layers of LSTMs.
        levels: Values of a pixel, whole numbers from 0 on.
        outputs: Law of a pixel: `"bernoulli"` for 2 levels, `"categorical"` with a probability for each, or
            `"logistic"`, a discretised mixture of logistic laws, which knows that levels are in order; None for the
            first of them that will do.
        components: Logistic laws of a mixture.
        first_size: Rows and columns of the first filter's square, which larger than the image is cut to it.
        coordinates: Whether the network is told where in the image a pixel stands.
        dropout: Probability with which a number that a layer reads is left out while training.

    Raises:
        ValueError: If a number is not positive, there are fewer than two levels, or `kind` or `outputs` is unknown, or
            not for so many levels.
        TypeError: If an argument has the wrong type.

    Example:
        >>> import torch
        >>> from ppgen import evaluation, models
        >>> model = models.PixelRNN(shape=(4, 4), kind="diagonal", channels=4, layers=1)
        >>> evaluation.log_likelihood(model, torch.ones(2, 16), method="exact").num_data
        2
    """

    default_training = {"lr": 0.004, "lr_schedule": "cosine"}  # noqa: RUF012

    def __init__(
        self,
        shape: Sequence[int],
        kind: Literal["row", "diagonal"] = "row",
        channels: int = 16,
        layers: int = 3,
        levels: int = 2,
        outputs: str | None = None,
        components: int = 5,
        first_size: int = 7,
        coordinates: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        one_of("kind", kind, ("row", "diagonal"))
        found = self._images(shape, 1, levels, outputs, components, coordinates=coordinates)
        self.network = RecurrentPixels(
            found, self.output.num_parameters, kind, channels, layers, 0, first_size, coordinates, dropout
        )

    @classmethod
    def example(cls) -> tuple["PixelRNN", Tensor]:
        """A small instance with six images, to try things on."""
        return cls((2, 3), channels=2, layers=1, first_size=3), example_images(2, 3)
