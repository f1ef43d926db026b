"""Units of a Boltzmann machine as exponential families: what machines, samplers and annealing ask of a layer."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, TypeVar

import pyro.distributions as dist
import torch
from torch import Size, Tensor
from torch.distributions import constraints

from ppgen.checks.shapes import broadcast_shapes
from ppgen.graphs.threefry import uniforms

U = TypeVar("U", bound="Units")


class Units(ABC):
    r"""A layer of units whose law, given its input, is an exponential family; nothing else of its type is known.

    .. math:: p(x \mid a) = \exp(s(x) \cdot a - E(x) - A(a)), \quad A(a) = \log \sum_x \exp(s(x) \cdot a - E(x))

    for the input a that neighbouring layers send. Neighbours see a value by its sufficient statistics s(x), and
    everything is a sum over *terms*, one for each independent unit or group of units. Shapes: input, statistics and
    values are (..., size), terms are (..., terms), and what is summed over them is (...,). Layers whose law depends on
    the datum (clamped values, lengths of documents, missing ratings) have a batch shape, which comes before.
    """

    support: constraints.Constraint = constraints.boolean

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of variables, the last dimension of a value."""

    @property
    def batch_shape(self) -> Size:
        """Shape of the data that the layer's law depends on; empty for most."""
        return Size()

    @property
    def event_support(self) -> constraints.Constraint:
        """Values that the layer as a whole can have."""
        return constraints.independent(self.support, 1)

    def conditions(self) -> list[Tensor]:
        """Tensors of the data that the law depends on beside its parameters: batch shape + (n,); none for most."""
        return []

    def rows(self: U, index: Tensor) -> U:
        """The layer of the data of given index in a batch shape of one dimension; itself if it has no such shape."""
        return self

    @property
    @abstractmethod
    def num_states(self) -> float:
        """Number of joint states of the layer; infinite for continuous units."""

    @property
    def num_uniforms(self) -> int:
        """Uniforms that one draw of the layer takes."""
        return self.size

    @abstractmethod
    def parameters(self) -> list[Tensor]:
        """Tensors that the layer's own energy depends on, its biases first."""

    def statistic(self, value: Tensor) -> Tensor:
        """Sufficient statistics, which neighbouring layers see: (..., size) -> (..., size); the value, for most."""
        return value

    @abstractmethod
    def energy_terms(self, value: Tensor) -> Tensor:
        """Energy of a value by the layer's own terms, in nats: (..., size) -> (..., terms)."""

    def energy(self, value: Tensor) -> Tensor:
        """Sum of the energy's terms, in nats: (..., size) -> (...,)."""
        return self.energy_terms(value).sum(-1)

    @abstractmethod
    def log_partition_terms(self, input: Tensor) -> Tensor:
        """Logarithm of the sum over the states of each term given its input, in nats: (..., size) -> (..., terms)."""

    def log_partition(self, input: Tensor) -> Tensor:
        """Logarithm of the sum over the layer's states given its input, in nats: (..., size) -> (...,)."""
        return self.log_partition_terms(input).sum(-1)

    def log_partition_ratio_terms(self, input: Tensor, before: Tensor, after: Tensor) -> Tensor:
        """Growth of each term of the log-partition between two inverse temperatures, which scale all of it, in nats.

        Args:
            input: Input at inverse temperature 1, (..., size).
            before: First inverse temperature, a float64 scalar.
            after: Second one.

        Returns:
            (..., terms), accurate relative to itself however close the two are, so that many can be summed.
        """
        wide = input.double()
        ends = [self.scaled(beta).log_partition_terms(beta * wide) for beta in (before, after)]
        return ends[1] - ends[0]

    def log_partition_ratio(self, input: Tensor, before: Tensor, after: Tensor) -> Tensor:
        """Sum of the terms of the log-partition's growth between two inverse temperatures, in nats: (...,)."""
        return self.log_partition_ratio_terms(input, before, after).sum(-1)

    @property
    def curvature(self) -> Tensor | None:
        """Second derivative of each unit's log-partition where no input changes it: (..., size); None for most."""
        return None

    @abstractmethod
    def mean(self, input: Tensor) -> Tensor:
        """Mean value given the input: (..., size) -> (..., size)."""

    @abstractmethod
    def mode(self, input: Tensor) -> Tensor:
        """The most probable value given the input, of ties one that is always the same: (..., size) -> (..., size)."""

    @abstractmethod
    def variance(self, input: Tensor) -> Tensor:
        """Variance of each variable given the input: (..., size) -> (..., size)."""

    @abstractmethod
    def sample(self, input: Tensor, uniform: Tensor) -> Tensor:
        """Value given the input (..., size), from uniforms (..., num_uniforms), in the dtype of the input."""

    def distribution(self, input: Tensor) -> dist.TorchDistribution:
        """Law given the input as a Pyro distribution with one event dimension."""
        return UnitsLaw(self, input)

    @abstractmethod
    def states(self, index: Tensor) -> Tensor:
        """States of given index: (n,) integers -> (n, size); under a batch shape, (n, ones, size)."""

    @abstractmethod
    def base_rate(self: U, mean: Tensor | None) -> U:
        """Units whose biases alone reproduce a mean of the data; the own biases are kept where there is none."""

    @abstractmethod
    def scaled(self: U, factor: float | Tensor) -> U:
        """Units whose own energy is multiplied by a factor (an inverse temperature)."""

    @abstractmethod
    def interpolated(self: U, base: U, beta: float | Tensor) -> U:
        """Units whose own energy is (1 - beta) that of `base` plus beta times their own."""

    def dispersed(self: U) -> U:
        """Units of a wider law, where chains may start: of even odds, if there are finitely many states."""
        return self.scaled(0.0)

    @abstractmethod
    def to(self: U, *args: Any) -> U:
        """The units with their tensors on another device or in another dtype."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.size})"


def at_positions(shared: Tensor, positions: int) -> Tensor:
    """Parameters of every unit of which `positions` next to each other share one: (n,) -> (n x positions,).

    Example:
        >>> import torch
        >>> at_positions(torch.tensor([1.0, 2.0]), 3)
        tensor([1., 1., 1., 2., 2., 2.])
    """
    return shared if positions == 1 else shared.unsqueeze(-1).expand(-1, positions).reshape(-1)


def log2_states(units: list[Units]) -> float:
    """Base-2 logarithm of the number of joint states of several layers.

    Example:
        >>> import torch
        >>> from ppgen.distributions import Bernoulli
        >>> log2_states([Bernoulli(torch.zeros(3)), Bernoulli(torch.zeros(2))])
        5.0
    """
    return sum(math.log2(layer.num_states) for layer in units)


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
        batch_shape = broadcast_shapes(input.shape[:-1], units.batch_shape)
        self.units, self.input = units, input.expand(*batch_shape, -1)
        super().__init__(batch_shape, Size((units.size,)), validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """Values that the layer as a whole can have."""
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
        """Law of independent copies, as many as the larger `batch_shape` says."""
        return UnitsLaw(self.units, self.input.expand(*batch_shape, -1))


def draw_layers(
    units: Sequence[Units],
    inputs: Sequence[Tensor],
    *,
    generator: torch.Generator | None = None,
    key: Tensor | None = None,
    stream: int = 0,
) -> Tensor:
    """Values of layers given the input of each, concatenated: (..., units of all).

    Args:
        units: The layers.
        inputs: Their inputs, (..., size).
        generator: Source of the uniforms; torch's global one if None.
        key: Key of the uniforms, (2,) int32, for steps that are compiled; then no generator is used.
        stream: Number that tells draws with one key apart.

    Example:
        >>> from ppgen.distributions import Bernoulli
        >>> layers = [Bernoulli(torch.zeros(2)), Bernoulli(torch.zeros(3))]
        >>> draw_layers(layers, [torch.zeros(4, 2), torch.zeros(4, 3)]).shape
        torch.Size([4, 5])
    """
    counts = [layer.num_uniforms for layer in units]
    like = inputs[0]
    lead = broadcast_shapes(*(input.shape[:-1] for input in inputs))
    shape = Size((*lead, sum(counts)))
    if key is None:
        uniform = torch.rand(shape, dtype=like.dtype, device=like.device, generator=generator)
    else:
        uniform = uniforms(key, stream, shape, like.dtype)
    pieces = uniform.split(counts, -1)
    return join_layers([layer.sample(input, piece) for layer, input, piece in zip(units, inputs, pieces, strict=True)])


def join_layers(pieces: Sequence[Tensor]) -> Tensor:
    """Values of layers concatenated along their last dimension, the others broadcast."""
    if len(pieces) == 1:
        return pieces[0]
    shape = broadcast_shapes(*(piece.shape[:-1] for piece in pieces))
    return torch.cat([piece.expand(*shape, piece.shape[-1]) for piece in pieces], -1)
