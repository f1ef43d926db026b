"""Units that are Gaussian on the positive half of the line and nothing below."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from ppgen.checks.arguments import check_tensors
from ppgen.distributions.units.units import Units

_LOG_2PI = math.log(2 * math.pi)
_ROOT_2_OVER_PI = math.sqrt(2 / math.pi)


class RectifiedGaussian(Units):
    r"""Non-negative units: a Gaussian density cut off at zero.

    .. math:: E(x) = \sum_j \frac{\lambda_j x_j^2}{2} - b_j x_j, \quad x_j \ge 0, \quad
              p(x_j \mid \text{input}) \propto N\Big(x_j; \frac{b_j + \text{input}_j}{\lambda_j},
              \frac{1}{\lambda_j}\Big)

    The energy is that of Gaussian units and the values are what is cut, so that nothing stands at zero itself (a noisy
    rectified linear unit, whose Gaussian values below zero all become zero, is another law). Inverse temperatures
    leave the precision as it is, so that there is a law at temperature infinity.

    References:
        | The Rectified Gaussian Distribution (Socci, Lee and Seung, 1998)

    Args:
        bias: Biases b, shape (size,).
        log_precision: log lambda, shape (size,); zero by default.

    Raises:
        ValueError: If the shapes are not one and the same, of one dimension.

    Example:
        >>> from ppgen.distributions import RectifiedGaussian
        >>> import torch
        >>> units = RectifiedGaussian(torch.tensor([0.0, 5.0]))
        >>> units.mean(torch.zeros(2))
        tensor([0.7979, 5.0000])
    """

    support = constraints.nonnegative

    def __init__(self, bias: Tensor, log_precision: Tensor | None = None) -> None:
        check_tensors(bias=bias, **({} if log_precision is None else {"log_precision": log_precision}))
        if bias.dim() != 1 or (log_precision is not None and log_precision.shape != bias.shape):
            given = "" if log_precision is None else f" and {tuple(log_precision.shape)}"
            raise ValueError(f"bias and log_precision must have shape (units,), got {tuple(bias.shape)}{given}.")
        self.bias, self.log_precision = bias, log_precision

    @property
    def size(self) -> int:
        """Number of units."""
        return len(self.bias)

    @property
    def num_states(self) -> float:
        """Number of joint states of the layer: infinite, as the units are continuous."""
        return math.inf

    def parameters(self) -> list[Tensor]:
        """Tensors that the energy depends on: the biases and, if it is given, log lambda."""
        return [self.bias] if self.log_precision is None else [self.bias, self.log_precision]

    @property
    def precision(self) -> Tensor:
        """Precision lambda of each unit, (size,)."""
        return torch.ones_like(self.bias) if self.log_precision is None else self.log_precision.exp()

    def _standard(self, input: Tensor) -> Tensor:
        """Mean of the whole Gaussian in its standard deviations: (..., size)."""
        return (self.bias + input) * self.precision.rsqrt()

    def energy_terms(self, value: Tensor) -> Tensor:
        """Energy of each unit, lambda x^2 / 2 - b x, nats: (..., size)."""
        return value.square() * self.precision / 2 - self.bias * value

    def log_partition_terms(self, input: Tensor) -> Tensor:
        """log(Phi(t) sqrt(2 pi / lambda)) + t^2 / 2 of each unit, t = (b + input) / sqrt(lambda), nats: (..., size)."""
        standard = self._standard(input)
        return _log_mass(standard) + (_LOG_2PI - self.precision.log()) / 2

    def mean(self, input: Tensor) -> Tensor:
        """Mean (t + phi(t) / Phi(t)) / sqrt(lambda) with t = (b + input) / sqrt(lambda): (..., size)."""
        return _mean(self._standard(input)) * self.precision.rsqrt()

    def mode(self, input: Tensor) -> Tensor:
        """Most probable value given the input, (b + input) / lambda where it is positive, else 0: (..., size)."""
        return ((self.bias + input) / self.precision).clamp(min=0)

    def variance(self, input: Tensor) -> Tensor:
        """Variance (1 - r (t + r)) / lambda with t = (b + input) / sqrt(lambda), r = phi(t) / Phi(t): (..., size)."""
        standard = self._standard(input)
        edge, near, inverse = _tail(standard)
        square = inverse.square()
        tail = square * (1 - square * (6 - square * (50 - square * (518 - square * 6354))))
        ratio = _ratio(near)
        return torch.where(standard < edge, tail, 1 - ratio * (near + ratio)) / self.precision

    def sample(self, input: Tensor, uniform: Tensor) -> Tensor:
        """The value above which a fraction u of the law lies, for the uniform u."""
        standard = self._standard(input).double()
        step = torch.finfo(uniform.dtype).eps / 2
        share = uniform.double().clamp(step, 1 - step)
        # Above -5 the quantile of the Gaussian itself; below, where its mass is almost nothing, Newton's method on the
        # logarithm of the mass above x, which is concave: from the exponential tail it falls to the root.
        near = standard.clamp(min=-5)
        above = near - torch.special.ndtri(share * torch.special.ndtr(near))
        below = standard.clamp(max=-5)
        target = torch.special.log_ndtr(below) + share.log()
        tail = share.log() / below
        for _ in range(4):
            tail = tail + (torch.special.log_ndtr(below - tail) - target) / _ratio(below - tail)
        drawn = torch.where(standard > -5, above, tail).clamp(min=0)
        return (drawn * self.precision.double().rsqrt()).to(input.dtype)

    def states(self, index: Tensor) -> Tensor:
        """States by their index, of which continuous units have none.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            "RectifiedGaussian units have no states to enumerate; enumerate the other side of the machine."
        )

    def base_rate(self, mean: Tensor | None) -> "RectifiedGaussian":
        """Units whose mean at input zero is the given one, 1e-3 standard deviations at least, their precision kept."""
        held = None if self.log_precision is None else self.log_precision.detach()
        if mean is None:
            return RectifiedGaussian(self.bias.detach(), held)
        root = self.precision.detach().sqrt()
        return RectifiedGaussian(_natural((mean.to(self.bias) * root).clamp(min=1e-3)) * root, held)

    def scaled(self, factor: float | Tensor) -> "RectifiedGaussian":
        """Units with bias factor * b and the precision as it is."""
        return RectifiedGaussian(factor * self.bias, self.log_precision)

    def interpolated(self, base: "RectifiedGaussian", beta: float | Tensor) -> "RectifiedGaussian":
        """Units with bias (1 - beta) b_base + beta b, and their precisions mixed alike.

        Raises:
            TypeError: If the base is of another type.
        """
        if not isinstance(base, RectifiedGaussian):
            raise TypeError(f"base must be RectifiedGaussian units, got {type(base).__name__}.")
        bias = (1 - beta) * base.bias + beta * self.bias
        if base.log_precision is None and self.log_precision is None:
            return RectifiedGaussian(bias)
        return RectifiedGaussian(bias, ((1 - beta) * base.precision + beta * self.precision).log())

    def dispersed(self) -> "RectifiedGaussian":
        """Units of a wider law, where chains may start: of three times the scale."""
        wider = torch.zeros_like(self.bias) if self.log_precision is None else self.log_precision
        return RectifiedGaussian(self.bias / 3, wider - 2 * math.log(3))

    def to(self, *args: Any) -> "RectifiedGaussian":
        """The units with their tensors on another device or in another dtype."""
        precision = None if self.log_precision is None else self.log_precision.to(*args)
        return RectifiedGaussian(self.bias.to(*args), precision)


def _ratio(standard: Tensor) -> Tensor:
    """phi(t) / Phi(t); below zero from erfcx, as both go under there."""
    low = _ROOT_2_OVER_PI / torch.special.erfcx(-standard.clamp(max=0) / math.sqrt(2))
    high = standard.clamp(min=0)
    return torch.where(standard < 0, low, torch.exp(-(high.square() + _LOG_2PI) / 2) / torch.special.ndtr(high))


def _log_mass(standard: Tensor) -> Tensor:
    """t^2 / 2 + log Phi(t): log(erfcx(-t / sqrt 2) / 2) below zero, and its series far below, for the gradient's sake.

    What a branch is not for is held at a constant, because at the edge `clamp` has no gradient.
    """
    edge = _edge(standard)
    below, negative = standard < edge, standard < 0
    inverse = 1 / torch.where(below, standard, edge)
    square = inverse.square()
    tail = torch.log1p(-square * (1 - square * (3 - square * (15 - square * 105)))) + torch.log(-inverse)
    low = torch.log(torch.special.erfcx(-torch.where(negative & ~below, standard, -1.0) / math.sqrt(2)) / 2)
    high = torch.where(negative, 1.0, standard)
    above = high.square() / 2 + torch.special.log_ndtr(high)
    return torch.where(below, tail - _LOG_2PI / 2, torch.where(negative, low, above))


def _edge(standard: Tensor) -> float:
    """Where the series of the tail begins to lose fewer digits than the formulas."""
    return -30.0 if standard.dtype == torch.float64 else -8.0


def _mean(standard: Tensor) -> Tensor:
    """t + phi(t) / Phi(t), by its series far below zero, where the two cancel."""
    edge, near, inverse = _tail(standard)
    square = inverse.square()
    tail = inverse * (1 - square * (2 - square * (10 - square * (74 - square * 706))))
    return torch.where(standard < edge, tail, near + _ratio(near))


def _tail(standard: Tensor) -> tuple[float, Tensor, Tensor]:
    """Edge of the tail; t above it, and -1 / t below."""
    edge = _edge(standard)
    return edge, standard.clamp(min=edge), -1 / standard.clamp(max=edge)


def _natural(mean: Tensor) -> Tensor:
    """Natural parameter in standard deviations of a mean, by bisection on a function that rises."""
    wide = mean.double()
    low, high = torch.full_like(wide, -2000.0), wide.clone()  # the mean is above t
    for _ in range(70):
        middle = (low + high) / 2
        above = _mean(middle) > wide
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return ((low + high) / 2).to(mean.dtype)
