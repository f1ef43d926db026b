"""Gated PixelCNN of images given their class, and the classifier that it makes by Bayes' rule."""

from collections.abc import Sequence
from typing import Any

import pyro
import torch
from pyro.nn.module import pyro_method
from torch import Tensor

from ppgen.batch import split_batch
from ppgen.conditional import ConditionalModel
from ppgen.models.autoregressive.pixel_model import PixelImages, example_images
from ppgen.models.parts.arguments import positive_size
from ppgen.nn import CausalConvolutions, GatedCausalConvolutions
from ppgen.undisturbed import evaluating

ROWS_AT_ONCE = 100  # of the images that are classified, each with every class


class ClassConditionalPixelCNN(PixelImages, ConditionalModel):
    r"""PixelCNN p(image | class), gated or plain, whose every layer hears the class; by Bayes' rule a classifier.

    .. math:: p(y \mid c) = \prod_{i} p\big(y_i \mid \theta_i(y_1, \dots, y_{i-1}; c)\big), \qquad
              p(c \mid y) = \frac{p(y \mid c) \, p(c)}{\sum_{c'} p(y \mid c') \, p(c')}

    Batches are tuples (x, y) of classes, one-hot, and images: `data.given_labels()` of a data set makes them, and
    `model.pairs(images, labels)` of tensors. To know the class raises the likelihood by the entropy of classes at most.
    Draws of each class: `ppgen.sample(model, 8, covariates=torch.eye(classes))`. Site: `y`, in the plate `data`.

    References:
        | Conditional Image Generation with PixelCNN Decoders (van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves and
          Kavukcuoglu, 2016)
        | https://arxiv.org/abs/1606.05328

    Args:
        shape: Rows and columns of the images.
        classes: Number of classes.
        channels: Maps of each stack, of each channel of the image.
        layers: Gated layers; residual blocks of the plain network.
        levels: Values of a pixel, whole numbers from 0 on.
        outputs: Law of a pixel, `"bernoulli"`, `"categorical"` or `"logistic"`, as of `PixelCNN`.
        components: Logistic laws of a mixture.
        image_channels: Numbers of a pixel, 3 of colours.
        first_size: Rows and columns of the first layer's square, which larger than the image is cut to it.
        size: Rows and columns of the square of the other layers.
        coordinates: Whether the network is told where in the image a pixel stands.
        dropout: Probability with which a number that a layer reads is left out while training.
        gated: Whether the network is that of `GatedPixelCNN`, or of `PixelCNN`.

    Raises:
        ValueError: If a number is not positive, there are fewer than two levels, or `outputs` is unknown or not for so
            many levels.
        TypeError: If an argument has the wrong type.

    Example:
        >>> import torch
        >>> from ppgen import models
        >>> model = models.ClassConditionalPixelCNN(shape=(4, 4), classes=3, channels=4, layers=2)
        >>> classes, images = model.pairs(torch.ones(2, 16), torch.tensor([0, 2]))
        >>> classes, model.predict(images).shape
        (tensor([[1., 0., 0.],
                [0., 0., 1.]]), torch.Size([2]))
    """

    inputs_are_labels = True
    default_inference = "maximum-likelihood"
    default_training = {"lr": 0.004, "lr_schedule": "cosine"}  # noqa: RUF012

    def __init__(
        self,
        shape: Sequence[int],
        classes: int = 10,
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
        gated: bool = True,
    ) -> None:
        super().__init__()
        found = self._images(shape, image_channels, levels, outputs, components, coordinates=coordinates, gated=gated)
        self.inputs, self.outputs = positive_size("classes", classes), self.grid.positions
        kind = GatedCausalConvolutions if gated else CausalConvolutions
        parameters = self.output.num_parameters
        self.network = kind(
            found, parameters, channels, layers, image_channels, self.inputs, first_size, size, coordinates, dropout
        )

    @classmethod
    def example(cls) -> tuple["ClassConditionalPixelCNN", tuple[Tensor, Tensor]]:
        """A small instance with six classes and images, to try things on."""
        model = cls((3, 3), classes=3, channels=2, layers=2, first_size=3)
        return model, model.pairs(example_images(3, 3), torch.arange(6) % 3)

    def pairs(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """A batch (classes, images) of rows of images and their labels, whole numbers from 0 on.

        Raises:
            ValueError: If a label is no class, or there are more or fewer of them than images.
        """
        if labels.shape != images.shape[:1]:
            raise ValueError(f"labels must have shape ({len(images)},), one for each image, got {tuple(labels.shape)}.")
        numbers = not labels.is_floating_point() and labels.dtype != torch.bool
        if not numbers or len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < self.inputs:
            raise ValueError(
                f"labels must be whole numbers from 0 to {self.inputs - 1}, the classes of the model; got "
                f"{labels.min().item()} to {labels.max().item()} ({labels.dtype})."
            )
        return torch.eye(self.inputs, device=labels.device)[labels], images

    def check_batch(self, batch: Any) -> None:
        """Raise unless a batch is classes, one-hot, and images, row by row.

        Raises:
            TypeError: If one is no tensor.
            ValueError: If one is missing or has another shape than the model, or a row of classes is not one-hot.
        """
        super().check_batch(batch)
        args, kwargs = split_batch(batch)
        x = args[0] if args else kwargs[self.argument_names()[0]]
        wrong = ((x != 0) & (x != 1)).any(-1) | (x.sum(-1) != 1)
        if bool(wrong.any()):
            raise ValueError(
                f"x must be classes, one-hot: a single 1 in each row and 0 elsewhere; {int(wrong.sum())} of "
                f"{wrong.numel()} rows are not." + self._how_to_give_classes()
            )

    @pyro_method
    def model(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Density of images given classes.

        Args:
            x: Classes, one-hot, shape (rows, classes).
            y: Images, shape (rows, pixels); None draws them.
        """
        self.check_arguments(x, y)
        with pyro.plate(self.plate, len(x)):
            return pyro.sample("y", self._law(x), obs=y)

    @pyro_method
    def guide(self, x: Tensor, y: Tensor) -> None:
        """Nothing: there is no latent."""
        self.check_arguments(x, y)

    def log_class_probabilities(self, y: Tensor, prior: Any = None) -> Tensor:
        """log p(class | image) by Bayes' rule: (rows, pixels) -> (rows, classes).

        Args:
            y: Images.
            prior: Probability of each class, (classes,); all the same by default.

        Raises:
            ValueError: If there are more or fewer probabilities than classes, one is negative, or `y` is of another
                shape.
        """
        like = next(self.network.parameters())
        weights = torch.ones(self.inputs) if prior is None else torch.as_tensor(prior)
        if weights.shape != (self.inputs,) or bool((weights < 0).any()) or not float(weights.sum()) > 0:
            raise ValueError(f"prior must be a probability for each of {self.inputs} classes, got {prior!r}.")
        classes = torch.eye(self.inputs, dtype=like.dtype, device=like.device)
        if y.dim() != 2 or y.shape[-1] != self.outputs:
            raise ValueError(f"y must be rows of images, (rows, {self.outputs}), got shape {tuple(y.shape)}.")
        with evaluating(self):
            law = self._law(classes)
            parts = [law.log_prob(rows.unsqueeze(-2)) for rows in y.to(like).split(ROWS_AT_ONCE)]
        return (torch.cat(parts) + weights.to(like).log()).log_softmax(-1)

    def predict(self, y: Tensor, prior: Any = None) -> Tensor:
        """Most probable class of each image by Bayes' rule: (rows, pixels) -> (rows,).

        Args:
            y: Images.
            prior: Probability of each class, (classes,); all the same by default.

        Raises:
            ValueError: If there are more or fewer probabilities than classes, one is negative, or `y` is of another
                shape.
        """
        return self.log_class_probabilities(y, prior).argmax(-1)
