"""The law of a layer of units given its input, as a Pyro distribution."""

from typing import Any

import pyro.distributions as dist
import torch
from torch import Size, Tensor
from torch.distributions import constraints

from ppgen.distributions.units.units import Units


class UnitsLaw(dist.TorchDistribution):
    r"""What units say of a value given their input, for units that Pyro has no distribution for.

    .. math:: \log p(x) = s(x) \cdot \text{input} - E(x) - A(\text{input})

    Args:
        units: The layer.
        input: Its input, (..., size).

    Example:
        >>> from ppgen.distributions import Categorical
        >>> law = UnitsLaw(Categorical(torch.zeros(2, 4)), torch.zeros(5, 8))
        >>> law.log_prob(law.sample()).exp()
        tensor([0.0625, 0.0625, 0.0625, 0.0625, 0.0625])
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012 - torch reads it as a class attribute

    def __init__(self, units: Units, input: Tensor) -> None:
        batch_shape = torch.broadcast_shapes(input.shape[:-1], units.batch_shape)
        self.units, self.input = units, input.expand(*batch_shape, -1)
        super().__init__(batch_shape, Size((units.size,)), validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """That of the units."""
        return self.units.event_support

    @property
    def mean(self) -> Tensor:
        """Mean of each variable: (..., size)."""
        return self.units.mean(self.input)

    @property
    def mode(self) -> Tensor:
        """The most probable value: (..., size)."""
        return self.units.mode(self.input)

    @property
    def variance(self) -> Tensor:
        """Variance of each variable: (..., size)."""
        return self.units.variance(self.input)

    def log_prob(self, value: Tensor) -> Tensor:
        """log p of a value, nats: (..., size) -> (...,)."""
        joined = (self.units.statistic(value) * self.input).sum(-1)
        return joined - self.units.energy(value) - self.units.log_partition(self.input)

    @torch.no_grad()
    def sample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008 - torch's own signature
        """Draws: `sample_shape + batch_shape + (size,)`."""
        input = self.input.expand(Size(sample_shape) + self.input.shape)
        shape = (*input.shape[:-1], self.units.num_uniforms)
        return self.units.sample(input, torch.rand(shape, dtype=input.dtype, device=input.device))

    def expand(self, batch_shape: Any, _instance: Any = None) -> "UnitsLaw":
        """The same law for independent copies of shape `batch_shape`."""
        return UnitsLaw(self.units, self.input.expand(*batch_shape, -1))
