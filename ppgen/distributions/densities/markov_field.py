"""A Gaussian Markov random field on the pixels of an image: a prior of filters whose neighbouring weights are alike."""

import math
import operator
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Size, Tensor
from torch.distributions import constraints
from torch.distributions.utils import broadcast_all

from ppgen.checks.arguments import check_number, check_tensors
from ppgen.checks.shapes import broadcast_shapes

_LOG_2PI = math.log(2 * math.pi)


class GaussianMarkovField(TorchDistribution):
    r"""Gaussian law of an image, flattened, in which pixels next to each other are alike.

    .. math:: \log p(w) = -\frac{\kappa}{2} \sum_{i \sim j} (w_i - w_j)^2 - \frac{\tau}{2} \sum_i w_i^2
              + \frac{1}{2} \sum_k \log(\tau + \kappa \lambda_k) - \frac{n}{2} \log 2 \pi

    The first sum goes over pairs of pixels that share an edge; :math:`\lambda_k = \sum_d 2 - 2 \cos(\pi k_d / n_d)` are
    the eigenvalues of the grid's Laplacian, whose eigenvectors are products of cosines. So a density costs no more
    than differences of neighbours, and a draw one product with a matrix of cosines for each dimension.

    References:
        | Gaussian Markov Random Fields: Theory and Applications (Rue and Held, 2005)

    Args:
        shape: Pixels in each dimension, such as (28, 28); a value is flattened, (..., n).
        smoothness: kappa, by which two neighbours are held together: a number of at least 0, or (...) of them.
        precision: tau, by which each pixel is held at 0, which makes the law proper: positive.

    Raises:
        ValueError: If a size, or tau, is not positive, or kappa negative.
        TypeError: If `shape` does not hold whole numbers.

    Example:
        >>> from ppgen.distributions import GaussianMarkovField
        >>> import torch
        >>> field = GaussianMarkovField((2, 2), smoothness=3.0)
        >>> flat, rough = torch.ones(4), torch.tensor([1.0, -1.0, -1.0, 1.0])
        >>> field.log_prob(flat) - field.log_prob(rough)  # four edges with a difference of 2
        tensor(24.)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "smoothness": constraints.nonnegative,
        "precision": constraints.positive,
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        shape: Sequence[int],
        smoothness: Tensor | float,
        precision: Tensor | float = 1.0,
        validate_args: bool | None = None,
    ) -> None:
        try:
            given = tuple(shape)
            if any(isinstance(size, bool) for size in given):
                raise TypeError("True and False are no sizes")
            self.image_shape = tuple(map(operator.index, given))
        except TypeError as error:
            raise TypeError(f"shape must hold the numbers of pixels, such as (28, 28), got {shape!r}.") from error
        for name, value in (("smoothness", smoothness), ("precision", precision)):
            if isinstance(value, Tensor):
                check_tensors(**{name: value})
            else:
                check_number(name, value, "be at least 0", lambda number: number >= 0)
        if not self.image_shape or min(self.image_shape) < 1 or any(isinstance(size, bool) for size in shape):
            raise ValueError(f"shape must hold the positive numbers of pixels, such as (28, 28), got {shape!r}.")
        self.smoothness, self.precision = broadcast_all(smoothness, precision)
        super().__init__(self.smoothness.shape, Size([math.prod(self.image_shape)]), validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> "GaussianMarkovField":
        """Independent fields, as many as a larger batch shape says; what they share is computed once."""
        smoothness, precision = self.smoothness, self.precision
        expanded = GaussianMarkovField(self.image_shape, smoothness, precision, validate_args=False)
        expanded._batch_shape = broadcast_shapes(Size(batch_shape), self.batch_shape)
        return expanded

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of images, (..., n) -> (...), nats."""
        if self._validate_args:
            self._validate_sample(value)
        image, pixels = value.unflatten(-1, self.image_shape), list(range(-len(self.image_shape), 0))
        differences = torch.stack([image.diff(dim=each).square().sum(pixels) for each in pixels]).sum(0)
        quadratic = self.smoothness * differences + self.precision * value.square().sum(-1)
        log_precision = self._precisions().log().flatten(-len(pixels)).sum(-1)
        found = 0.5 * (log_precision - value.shape[-1] * _LOG_2PI - quadratic)
        return found.expand(broadcast_shapes(found.shape, self.batch_shape))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draws: sample shape, batch shape, then n."""
        noise = self.precision.new_empty(self._extended_shape(Size(sample_shape))).normal_()
        waves = noise.unflatten(-1, self.image_shape) * self._precisions().rsqrt()
        return self._transformed(waves, [self._cosines(size) for size in self.image_shape]).flatten(-self._dimensions)

    @property
    def mean(self) -> Tensor:
        """Mean of each pixel: zeros."""
        return self.precision.new_zeros(()).expand(self._extended_shape())

    @property
    def variance(self) -> Tensor:
        """Variance of each pixel, largest at the corners, which have the fewest neighbours."""
        squares = [self._cosines(size).square() for size in self.image_shape]
        found = self._transformed(1 / self._precisions(), squares).flatten(-self._dimensions)
        return found.expand(self._extended_shape())

    @property
    def _dimensions(self) -> int:
        return len(self.image_shape)

    def _precisions(self) -> Tensor:
        """Precision along each product of cosines: batch shape, then that of the image."""
        found = torch.zeros(self.image_shape, dtype=self.precision.dtype, device=self.precision.device)
        for place, size in enumerate(self.image_shape):
            steps = torch.arange(size, dtype=found.dtype, device=found.device)
            eigenvalues = 4 * (steps * (math.pi / (2 * size))).sin().square()
            found = found + eigenvalues.reshape([-1 if each == place else 1 for each in range(self._dimensions)])
        ones = (...,) + (None,) * self._dimensions
        return self.precision[ones] + self.smoothness[ones] * found

    def _cosines(self, size: int) -> Tensor:
        """Eigenvectors of the Laplacian of a path, orthonormal: (waves, pixels)."""
        steps = torch.arange(size, dtype=self.precision.dtype, device=self.precision.device)
        waves = (steps.unsqueeze(1) * (steps + 0.5) * (math.pi / size)).cos() * math.sqrt(2 / size)
        return torch.cat([torch.full_like(waves[:1], size**-0.5), waves[1:]])

    def _transformed(self, values: Tensor, matrices: Sequence[Tensor]) -> Tensor:
        """Values times a matrix along each dimension of the image."""
        for dimension, matrix in zip(range(-self._dimensions, 0), matrices, strict=True):
            values = torch.movedim(torch.movedim(values, dimension, -1) @ matrix, -1, dimension)
        return values
