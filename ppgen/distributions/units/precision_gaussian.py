"""Real units of a Boltzmann machine whose precision grows with what is known of the datum."""

import math
from typing import Any

import pyro.distributions as dist
import torch
from torch import Size, Tensor
from torch.distributions import constraints

from ppgen.checks.arguments import check_tensors
from ppgen.checks.shapes import broadcast_shapes
from ppgen.distributions.units.units import Units

_LOG_2PI = math.log(2 * math.pi)


class PrecisionGaussian(Units):
    r"""Real hidden units of a precision of their own, to which each datum adds a count.

    .. math:: E(x) = \sum_j \frac{(\lambda_j + n) x_j^2}{2} - b_j x_j, \quad
              x_j \mid \text{input} \sim N\Big(\frac{b_j + \text{input}_j}{\lambda_j + n}, \frac{1}{\lambda_j + n}\Big)

    Neighbours see x itself, so that the input moves the mean by less, the more precise the unit is: with n the number
    of things that were observed, the mean is an average of what they say, shrunk towards b / lambda. Inverse
    temperatures leave the precision as it is, so that there is a law at temperature infinity.

    References:
        | Exponential Family Harmoniums with an Application to Information Retrieval (Welling, Rosen-Zvi and Hinton,
          2005)

    Args:
        bias: Biases b, shape (size,), or (rows, size).
        log_precision: log lambda, shape (size,); zero by default.
        count: n of each datum, (rows,), or of all, (); 0 by default.

    Raises:
        ValueError: If a shape does not fit.

    Example:
        >>> import torch
        >>> from ppgen.distributions import PrecisionGaussian
        >>> units = PrecisionGaussian(torch.zeros(2), torch.zeros(2), count=torch.tensor([0.0, 3.0]))
        >>> units.mean(torch.ones(2, 2))
        tensor([[1.0000, 1.0000],
                [0.2500, 0.2500]])
    """

    support = constraints.real

    def __init__(self, bias: Tensor, log_precision: Tensor | None = None, count: Tensor | None = None) -> None:
        given = {"log_precision": log_precision, "count": count}
        check_tensors(bias=bias, **{name: value for name, value in given.items() if value is not None})
        if log_precision is None:
            if bias.dim() not in (1, 2):
                raise ValueError(f"bias must have shape (units,) or (rows, units), got {tuple(bias.shape)}.")
        elif log_precision.dim() != 1 or bias.shape[-1:] != log_precision.shape:
            raise ValueError(
                "log_precision must have shape (units,) and bias as many entries in its last dimension, got "
                f"{tuple(log_precision.shape)} and {tuple(bias.shape)}."
            )
        self.bias, self.log_precision, self.count = bias, log_precision, count

    @property
    def size(self) -> int:
        """Number of units."""
        return self.bias.shape[-1]

    @property
    def batch_shape(self) -> Size:
        """Shape of the data, where each has a count of its own."""
        return Size() if self.count is None else self.count.shape

    def conditions(self) -> list[Tensor]:
        """Tensors of the data that the law depends on: the counts, if each datum has its own."""
        return [self.count.unsqueeze(-1)] if self.count is not None and self.batch_shape else []

    def rows(self, index: Tensor) -> "PrecisionGaussian":
        """The units of the data of given index."""
        if self.count is None or not self.batch_shape:
            return self
        bias = self.bias[index] if self.bias.dim() > 1 else self.bias
        return PrecisionGaussian(bias, self.log_precision, self.count[index])

    @property
    def num_states(self) -> float:
        """Number of joint states of the layer: infinite, as the units are continuous."""
        return math.inf

    def parameters(self) -> list[Tensor]:
        """Tensors that the energy depends on: the biases and, if it is given, log lambda."""
        return [self.bias] if self.log_precision is None else [self.bias, self.log_precision]

    @property
    def precision(self) -> Tensor:
        """Precision lambda + n of each unit: (size,), or (rows, size)."""
        log_precision = self.log_precision
        own = self.bias.new_ones(self.size) if log_precision is None else log_precision.exp()
        return own if self.count is None else own + self.count.to(own).unsqueeze(-1)

    @property
    def curvature(self) -> Tensor:
        """Second derivative of each unit's log-partition, 1 / (lambda + n): (size,), or (rows, size)."""
        return self.precision.reciprocal()

    def energy_terms(self, value: Tensor) -> Tensor:
        """Energy of each unit, (lambda + n) x^2 / 2 - b x, nats: (..., size)."""
        return value.square() * self.precision / 2 - self.bias * value

    def log_partition_terms(self, input: Tensor) -> Tensor:
        """Log-partition ((b + input)^2 / (lambda + n) + log(2 pi / (lambda + n))) / 2, nats: (..., size)."""
        precision = self.precision
        return ((self.bias + input).square() / precision + _LOG_2PI - precision.log()) / 2

    def mean(self, input: Tensor) -> Tensor:
        """Mean given the input, (b + input) / (lambda + n): (..., size)."""
        return (self.bias + input) / self.precision

    def mode(self, input: Tensor) -> Tensor:
        """Most probable value given the input, which is the mean: (..., size)."""
        return self.mean(input)

    def variance(self, input: Tensor) -> Tensor:
        """Variance given the input, 1 / (lambda + n): (..., size)."""
        return self.curvature.expand(broadcast_shapes(self.curvature.shape, input.shape))

    def sample(self, input: Tensor, uniform: Tensor) -> Tensor:
        """The mean and the normal quantile of the uniform over the root of the precision."""
        step = torch.finfo(uniform.dtype).eps / 2  # away from 0 and 1, where the quantile is infinite
        normal = torch.special.ndtri(uniform.clamp(step, 1 - step)).to(input.dtype)
        return self.mean(input) + normal / self.precision.sqrt()

    def distribution(self, input: Tensor) -> dist.TorchDistribution:
        """Law given the input: independent Normal variables with one event dimension."""
        mean = self.mean(input)
        return dist.Normal(mean, self.curvature.sqrt().expand_as(mean), validate_args=False).to_event(1)

    def states(self, index: Tensor) -> Tensor:
        """States by their index, of which continuous units have none.

        Raises:
            ValueError: Always.
        """
        raise ValueError("Real units have no states to enumerate; enumerate the other side of the machine.")

    def base_rate(self, mean: Tensor | None) -> "PrecisionGaussian":
        """Units whose mean at input zero is the given one, their precision kept."""
        bias = self.bias.detach() if mean is None else mean.to(self.bias) * self.precision.detach()
        log_precision = None if self.log_precision is None else self.log_precision.detach()
        return PrecisionGaussian(bias, log_precision, self.count)

    def scaled(self, factor: float | Tensor) -> "PrecisionGaussian":
        """Units with bias factor * b, their precision kept."""
        return PrecisionGaussian(factor * self.bias, self.log_precision, self.count)

    def interpolated(self, base: "PrecisionGaussian", beta: float | Tensor) -> "PrecisionGaussian":
        """Units with bias (1 - beta) b_base + beta b, their precision kept."""
        return PrecisionGaussian((1 - beta) * base.bias + beta * self.bias, self.log_precision, self.count)

    def dispersed(self) -> "PrecisionGaussian":
        """Units of a wider law, where chains may start: three times the standard deviation, the mean kept."""
        count = None if self.count is None else self.count / 9
        log_precision = self.bias.new_zeros(self.size) if self.log_precision is None else self.log_precision
        return PrecisionGaussian(self.bias / 9, log_precision - math.log(9), count)

    def to(self, *args: Any) -> "PrecisionGaussian":
        """The units with their tensors on another device or in another dtype."""
        count = None if self.count is None else self.count.to(*args)
        log_precision = None if self.log_precision is None else self.log_precision.to(*args)
        return PrecisionGaussian(self.bias.to(*args), log_precision, count)
