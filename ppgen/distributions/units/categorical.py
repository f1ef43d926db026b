"""Groups of one-hot units of a Boltzmann machine, of which some may be missing."""

import math
from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import constraints

from ppgen.checks.arguments import check_tensors
from ppgen.distributions.units.supports import OneHotGroups
from ppgen.distributions.units.units import Units


class Categorical(Units):
    r"""Groups of K units of which one is on: ratings, or any variable of K values.

    .. math:: E(x) = -b \cdot x, \quad p(x_{gk} = 1 \mid \text{input}) = \mathrm{softmax}_k(b_g + \text{input}_g)

    A value is the one-hot vectors of all groups after one another, (..., groups x K). Groups that are missing from a
    datum are zeros; they have no energy, send nothing, and one state.

    References:
        | Restricted Boltzmann Machines for Collaborative Filtering (Salakhutdinov, Mnih and Hinton, 2007)

    Args:
        bias: Biases b, shape (groups, K).
        present: Which groups there are: (groups,), or (rows, groups) if each datum has its own; all by default.

    Raises:
        ValueError: If a shape does not fit.

    Example:
        >>> import torch
        >>> from ppgen.distributions import Categorical
        >>> units = Categorical(torch.zeros(2, 4), present=torch.tensor([True, False]))
        >>> units.mean(torch.zeros(8)).reshape(2, 4).sum(-1)
        tensor([1., 0.])
    """

    def __init__(self, bias: Tensor, present: Tensor | None = None) -> None:
        check_tensors(bias=bias, **({} if present is None else {"present": present}))
        if bias.dim() != 2 or bias.shape[1] < 2:
            raise ValueError(f"bias must have shape (groups, 2 or more values), got {tuple(bias.shape)}.")
        if present is not None and (present.dim() < 1 or present.shape[-1] != len(bias)):
            raise ValueError(
                f"present must say of each of the {len(bias)} groups whether it is there, (..., {len(bias)}), got "
                f"shape {tuple(present.shape)}."
            )
        self.bias, self.present = bias, present

    @property
    def size(self) -> int:
        """Number of variables: groups times values."""
        return self.bias.numel()

    @property
    def batch_shape(self) -> Size:
        """Shape of the data, where each has groups of its own."""
        return Size() if self.present is None else self.present.shape[:-1]

    def conditions(self) -> list[Tensor]:
        """Which groups there are, if some are missing."""
        return [] if self.present is None else [self.present]

    def rows(self, index: Tensor) -> "Categorical":
        """The groups that are there in the data of given index."""
        return Categorical(self.bias, self.present[index]) if self.present is not None and self.batch_shape else self

    @property
    def num_states(self) -> float:
        """Number of joint states: K to the number of groups there are; infinite if each datum has groups of its own."""
        return math.inf if self.batch_shape else self.bias.shape[1] ** len(self._there())

    def _there(self) -> list[int]:
        """Indices of the groups that are there.

        Raises:
            ValueError: If each datum has its own.
        """
        if self.batch_shape:
            raise ValueError(
                "Each row has missing groups of its own, so the states of the groups cannot be enumerated together. "
                "Enumerate the other side of the machine, or use annealing."
            )
        present = [True] * len(self.bias) if self.present is None else self.present.tolist()
        return [group for group, there in enumerate(present) if there]

    @property
    def event_support(self) -> constraints.Constraint:
        """Values that the layer can have: one value of each group; zeros at missing groups, but not at all."""
        return OneHotGroups(*self.bias.shape, missing=self.present is not None)

    @property
    def num_uniforms(self) -> int:
        """Uniforms that one draw of the layer takes: one for each group."""
        return self.bias.shape[0]

    def parameters(self) -> list[Tensor]:
        """Tensors that the energy depends on: the biases."""
        return [self.bias]

    def _groups(self, value: Tensor) -> Tensor:
        return value.unflatten(-1, self.bias.shape)

    def kept(self, terms: Tensor) -> Tensor:
        """Terms (..., groups) of the groups that are there, zero elsewhere."""
        return terms if self.present is None else terms.masked_fill(~self.present, 0.0)

    def _flat(self, groups: Tensor) -> Tensor:
        kept = groups if self.present is None else groups.masked_fill(~self.present.unsqueeze(-1), 0.0)
        return kept.flatten(-2)

    def statistic(self, value: Tensor) -> Tensor:
        """Sufficient statistics, the value without missing groups: (..., size) -> (..., size)."""
        return value if self.present is None else self._flat(self._groups(value))

    def energy_terms(self, value: Tensor) -> Tensor:
        """Energy of each group, -b_g.x_g, nats: (..., groups)."""
        return self.kept(-(self._groups(value) * self.bias).sum(-1))

    def log_partition_terms(self, input: Tensor) -> Tensor:
        """Log-partition of each group given the input, logsumexp(b_g + input_g), nats: (..., groups)."""
        return self.kept((self.bias + self._groups(input)).logsumexp(-1))

    def mean(self, input: Tensor) -> Tensor:
        """Mean given the input, softmax(b_g + input_g) in each group: (..., size)."""
        return self._flat((self.bias + self._groups(input)).softmax(-1))

    def mode(self, input: Tensor) -> Tensor:
        """The value of largest b_g + input_g in each group that is there: (..., size)."""
        values = (self.bias + self._groups(input)).argmax(-1)
        return self._flat(torch.nn.functional.one_hot(values, self.bias.shape[1]).to(input.dtype))

    def variance(self, input: Tensor) -> Tensor:
        """Variance given the input, p (1 - p) at mean p: (..., size)."""
        mean = self.mean(input)
        return mean * (1 - mean)

    def sample(self, input: Tensor, uniform: Tensor) -> Tensor:
        """In each group, the value at which the cumulative probability passes the uniform."""
        cumulative = (self.bias + self._groups(input)).softmax(-1).cumsum(-1)
        # The last value takes what rounding leaves, so that one is always on.
        passed = torch.cat(
            [uniform.unsqueeze(-1) < cumulative[..., :-1], torch.ones_like(uniform.unsqueeze(-1)) > 0], -1
        )
        first = passed & ~torch.cat([torch.zeros_like(passed[..., :1]), passed[..., :-1]], -1)
        return self._flat(first.to(input.dtype))

    def states(self, index: Tensor) -> Tensor:
        """One-hot digits of the index to the base K, most significant group first, zeros at missing groups."""
        there, values = self._there(), self.bias.shape[1]
        powers = values ** torch.arange(len(there) - 1, -1, -1, device=index.device)
        digits = (index.unsqueeze(-1) // powers) % values
        states = self.bias.new_zeros(len(index), *self.bias.shape)
        states[:, there] = torch.nn.functional.one_hot(digits, values).to(states.dtype)
        return states.flatten(1)

    def base_rate(self, mean: Tensor | None) -> "Categorical":
        """Units with the logarithm of the mean as bias, the mean held above 1e-4."""
        if mean is None:
            return Categorical(self.bias.detach(), self.present)
        return Categorical(self._groups(mean.to(self.bias)).clamp(min=1e-4).log(), self.present)

    def scaled(self, factor: float | Tensor) -> "Categorical":
        """Units with bias factor * b."""
        return Categorical(factor * self.bias, self.present)

    def interpolated(self, base: "Categorical", beta: float | Tensor) -> "Categorical":
        """Units with bias (1 - beta) b_base + beta b."""
        return Categorical((1 - beta) * base.bias + beta * self.bias, self.present)

    def to(self, *args: Any) -> "Categorical":
        """The units with their tensors on another device or in another dtype; what is missing stays a mask."""
        devices = [each for each in args if not isinstance(each, torch.dtype)]
        present = self.present.to(*devices) if self.present is not None and devices else self.present
        return Categorical(self.bias.to(*args), present)
