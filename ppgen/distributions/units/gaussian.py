"""Real-valued units of a Boltzmann machine."""

import math
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from ppgen.checks.arguments import check_count, check_tensors
from ppgen.distributions.units.units import Units, at_positions

_LOG_2PI = math.log(2 * math.pi)


class Gaussian(Units):
    r"""Real units with a variance of their own, fixed or learned.

    .. math:: E(x) = \sum_i \frac{(x_i - a_i)^2}{2 \sigma_i^2}, \quad s(x) = \frac{x}{\sigma^2}, \quad
              x_i \mid \text{input} \sim N(a_i + \text{input}_i, \sigma_i^2)

    Neighbours see x / sigma^2, so that an input moves the mean by itself and the variance is that of the noise alone.
    Inverse temperatures and base rates leave the variance as it is.

    References:
        | Improved Learning of Gaussian-Bernoulli Restricted Boltzmann Machines (Cho, Ilin and Raiko, 2011)

    Args:
        mean: Means a at input zero, shape (size,).
        log_variance: log sigma^2, shape (size,); zero by default.
        positions: Units next to each other that share a mean and a variance, as the positions of an image do; then
            both have shape (size / positions,).

    Raises:
        ValueError: If the shapes are not one and the same, of one dimension.

    Example:
        >>> import torch
        >>> from ppgen.distributions import Gaussian
        >>> Gaussian(torch.tensor([1.0, 2.0])).mean(torch.tensor([0.5, 0.0]))
        tensor([1.5000, 2.0000])
    """

    support = constraints.real

    def __init__(self, mean: Tensor, log_variance: Tensor | None = None, positions: int = 1) -> None:
        check_tensors(mean=mean, **({} if log_variance is None else {"log_variance": log_variance}))
        check_count("positions", positions)
        if mean.dim() != 1:
            raise ValueError(f"mean must have shape (units,), got {tuple(mean.shape)}.")
        if log_variance is not None and log_variance.shape != mean.shape:
            raise ValueError(
                f"log_variance must have the shape of mean, {tuple(mean.shape)}, got {tuple(log_variance.shape)}."
            )
        self.shared = [mean] if log_variance is None else [mean, log_variance]
        self.positions = positions
        self._offset: Tensor | float = 0.0  # energy that every value of a unit has beside

    @property
    def bias(self) -> Tensor:
        """Mean of every unit at input zero, (size,)."""
        return at_positions(self.shared[0], self.positions)

    @property
    def log_variance(self) -> Tensor | None:
        """log sigma^2 of every unit, (size,), if it is given."""
        return at_positions(self.shared[1], self.positions) if len(self.shared) > 1 else None

    @property
    def size(self) -> int:
        """Number of units."""
        return len(self.shared[0]) * self.positions

    @property
    def num_states(self) -> float:
        """Number of joint states of the layer: infinite, as the units are continuous."""
        return math.inf

    def parameters(self) -> list[Tensor]:
        """Tensors that the energy depends on: the means and, if it is given, log sigma^2, each once."""
        return self.shared

    def _precision(self) -> Tensor | float:
        return 1.0 if self.log_variance is None else (-self.log_variance).exp()

    def _scale(self) -> Tensor | float:
        return 1.0 if self.log_variance is None else (self.log_variance / 2).exp()

    def statistic(self, value: Tensor) -> Tensor:
        """Sufficient statistics x / sigma^2: (..., size) -> (..., size)."""
        return value if self.log_variance is None else value * self._precision()

    def energy_terms(self, value: Tensor) -> Tensor:
        """Energy of each unit, (x - a)^2 / (2 sigma^2), nats: (..., size)."""
        return (value - self.bias).square() / 2 * self._precision() + self._offset

    def log_partition_terms(self, input: Tensor) -> Tensor:
        """Log-partition of each unit, (a input + input^2 / 2) / sigma^2 + log(2 pi sigma^2) / 2, nats: (..., size)."""
        grown = (self.bias + input / 2) * input * self._precision()
        return grown + (_LOG_2PI if self.log_variance is None else _LOG_2PI + self.log_variance) / 2 - self._offset

    @property
    def curvature(self) -> Tensor:
        """Second derivative of each unit's log-partition, 1 / sigma^2: (size,)."""
        return torch.ones_like(self.bias) * self._precision()

    def mean(self, input: Tensor) -> Tensor:
        """Mean given the input, a + input: (..., size)."""
        return self.bias + input

    def mode(self, input: Tensor) -> Tensor:
        """Most probable value given the input, which is the mean: (..., size)."""
        return self.mean(input)

    def variance(self, input: Tensor) -> Tensor:
        """Variance given the input, sigma^2: (..., size)."""
        return torch.ones_like(input) if self.log_variance is None else self.log_variance.exp().expand_as(input)

    def sample(self, input: Tensor, uniform: Tensor) -> Tensor:
        """a + input + sigma times the normal quantile of the uniform."""
        # Half a step away from 0 and 1, where the quantile is infinite.
        step = torch.finfo(uniform.dtype).eps / 2
        return self.mean(input) + self._scale() * torch.special.ndtri(uniform.clamp(step, 1 - step)).to(input.dtype)

    def distribution(self, input: Tensor) -> dist.TorchDistribution:
        """Independent Normal law of mean a + input."""
        mean = self.mean(input)
        scale = torch.ones_like(mean) * self._scale()
        return dist.Normal(mean, scale, validate_args=False).to_event(1)

    def states(self, index: Tensor) -> Tensor:
        """States by their index, of which continuous units have none.

        Raises:
            ValueError: Always.
        """
        raise ValueError("Gaussian units have no states to enumerate; enumerate the other side of the machine.")

    def base_rate(self, mean: Tensor | None) -> "Gaussian":
        """Units whose mean at input zero is the given one, their variance kept."""
        bias = self.bias.detach() if mean is None else mean.to(self.bias)
        return Gaussian(bias, None if self.log_variance is None else self.log_variance.detach())

    def scaled(self, factor: float | Tensor) -> "Gaussian":
        """Units with scaled energy, which are refused: at inverse temperature 0 there is no law.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            "Gaussian units cannot be heated up: at inverse temperature 0 they have no law. Let them be the visible "
            "(even) layers of a machine, which annealing leads to their base rates instead."
        )

    def dispersed(self) -> "Gaussian":
        """Units of a wider law, where chains may start: of three times the standard deviation."""
        wider = 2 * math.log(3)
        return Gaussian(
            self.bias, torch.full_like(self.bias, wider) if self.log_variance is None else self.log_variance + wider
        )

    def interpolated(self, base: "Gaussian", beta: float | Tensor) -> "Gaussian":
        """Units of mean (1 - beta) a_base + beta a; what the squares differ by is kept, so that the energy is exact."""
        mixed = Gaussian((1 - beta) * base.bias + beta * self.bias, self.log_variance)
        apart = (self.bias - base.bias).square() / 2 * self._precision()
        mixed._offset = beta * (1 - beta) * apart + (1 - beta) * base._offset + beta * self._offset
        return mixed

    def to(self, *args: Any) -> "Gaussian":
        """The units with their tensors on another device or in another dtype."""
        shared = [each.to(*args) for each in self.shared]
        moved = Gaussian(shared[0], shared[1] if len(shared) > 1 else None, self.positions)
        moved._offset = self._offset.to(*args) if isinstance(self._offset, Tensor) else self._offset
        return moved
