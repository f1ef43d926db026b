"""Units with values between 0 and 1 and an exponential density, as grey levels have."""

import math

import torch
from torch import Tensor
from torch.distributions import constraints

from ppgen.distributions.units.biased import Biased

_SMALL = 0.3  # natural parameters below it are taken from the series, which loses no digits there
_CLOSE = 1e-3  # growth below it is the slope in its middle, right to 1e-10 of itself


class TruncatedExponential(Biased):
    r"""Real units with values in [0, 1], whose density rises or falls exponentially.

    .. math:: E(x) = -b \cdot x, \quad p(x_i \mid \text{input}) = \frac{a_i e^{a_i x_i}}{e^{a_i} - 1}, \quad
              a_i = b_i + \text{input}_i

    At a = 0 the law is uniform. An input of 0 to 1 data that are intensities, not probabilities of bits, has a density
    here, and so a likelihood; the law of one unit has a single slope, so values in the middle are never its mode.

    References:
        | Greedy Layer-Wise Training of Deep Networks (Bengio, Lamblin, Popovici and Larochelle, 2007)

    Args:
        bias: Biases b, shape (size / positions,).
        positions: Units next to each other that share a bias, as the positions of an image do.

    Raises:
        ValueError: If the bias is not one-dimensional.

    Example:
        >>> units = TruncatedExponential(torch.tensor([0.0, 2.0]))
        >>> units.mean(torch.zeros(2))
        tensor([0.5000, 0.6565])
    """

    support = constraints.unit_interval

    @classmethod
    def example(cls) -> "TruncatedExponential":
        """Two units that rise and fall, to try things on."""
        return cls(torch.tensor([0.8, -1.5]))

    @property
    def num_states(self) -> float:
        """Number of joint states of the layer: infinite, as the units are continuous."""
        return math.inf

    def log_partition_terms(self, input: Tensor) -> Tensor:
        """Log-partition of each unit given the input, log((exp(a) - 1) / a) with a = b + input, nats: (..., size)."""
        return _log_partition(self.bias + input)

    def log_partition_ratio_terms(self, input: Tensor, before: Tensor, after: Tensor) -> Tensor:
        """Growth of log((exp(beta a) - 1) / (beta a)) from `before` to `after`, of each unit: (..., size), nats."""
        full = (self.bias + input).double()
        start, growth = before * full, (after - before) * full
        near = growth * _mean(start + growth / 2)
        return torch.where(growth.abs() < _CLOSE, near, _log_partition(start + growth) - _log_partition(start))

    def mean(self, input: Tensor) -> Tensor:
        """Mean given the input, 1 / (1 - exp(-a)) - 1 / a with a = b + input: (..., size)."""
        return _mean(self.bias + input)

    def mode(self, input: Tensor) -> Tensor:
        """Most probable value given the input, 1 where b + input is above zero, else 0: (..., size)."""
        return (self.bias + input > 0).to(input.dtype)

    def variance(self, input: Tensor) -> Tensor:
        """Variance given the input, 1 / a^2 - 1 / (2 sinh(a / 2))^2 with a = b + input: (..., size)."""
        full = self.bias + input
        square = full.square()
        series = 1 / 12 - square / 240 + square**2 / 6048 - square**3 / 172_800
        far = torch.where(full.abs() < _SMALL, torch.ones_like(full), full)
        # Of |a| above 80 the second term is less than any digit of the first, and sinh is still finite.
        exact = 1 / far.square() - 1 / (2 * torch.sinh(far.clamp(-80, 80) / 2)).square()
        return torch.where(full.abs() < _SMALL, series, exact)

    def sample(self, input: Tensor, uniform: Tensor) -> Tensor:
        """The quantile log(1 + u (exp(a) - 1)) / a of the uniform u, with a = b + input."""
        full = self.bias + input
        # By symmetry x at a is 1 - x at -a; the form for a < 0 never overflows.
        size = full.abs().clamp(min=1e-3)
        below = -torch.log1p(uniform * torch.expm1(-size)) / size  # density falls from 0
        drawn = torch.where(full < 0, below, 1 - below)
        # Where the slope is less than that, the quantile to second order in it.
        flat = uniform * (1 - full * (1 - uniform) / 2)
        return torch.where(full.abs() < 1e-3, flat, drawn).clamp(0, 1).to(input.dtype)

    def states(self, index: Tensor) -> Tensor:
        """States by their index, of which continuous units have none.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            "TruncatedExponential units have no states to enumerate; enumerate the other side of the machine."
        )

    def base_rate(self, mean: Tensor | None) -> "TruncatedExponential":
        """Units whose mean at input zero is the given one, held within 1e-3 of 0 and 1 so that none is a point."""
        if mean is None:
            return type(self)(self.bias.detach())
        return type(self)(_natural(mean.to(self.bias).clamp(1e-3, 1 - 1e-3)))


def _log_partition(full: Tensor) -> Tensor:
    square = full.square()
    series = full / 2 + square / 24 - square**2 / 2880 + square**3 / 181_440 - square**4 / 9_676_800
    small = full.abs() < _SMALL
    far = torch.where(small, torch.ones_like(full), full)  # the branch that is not taken must have a finite gradient
    exact = torch.relu(far) + torch.log(-torch.expm1(-far.abs())) - far.abs().log()
    return torch.where(small, series, exact)


def _mean(full: Tensor) -> Tensor:
    square = full.square()
    series = 0.5 + full * (1 / 12 - square / 720 + square**2 / 30_240 - square**3 / 1_209_600)
    small = full.abs() < _SMALL
    far = torch.where(small, torch.ones_like(full), full)
    return torch.where(small, series, -1 / torch.expm1(-far) - 1 / far)


def _natural(mean: Tensor) -> Tensor:
    """The natural parameter of a mean, by bisection on a function that rises from -1000 to 1000."""
    wide = mean.double()
    low, high = torch.full_like(wide, -2000.0), torch.full_like(wide, 2000.0)
    for _ in range(60):
        middle = (low + high) / 2
        above = _mean(middle) > wide
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return ((low + high) / 2).to(mean.dtype)
