"""Blocks of binary units of which at most one is on: probabilistic max-pooling."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from ppgen.checks.arguments import check_count, check_tensors
from ppgen.distributions.units.supports import AtMostOne
from ppgen.distributions.units.units import Units, at_positions


class MaxPooled(Units):
    r"""Detection units in blocks, at most one of each block on; above a block stands a pooling unit that is on with it.

    .. math:: E(x) = -b \cdot x, \quad p(x_{gk} = 1 \mid \text{input}) =
              \frac{\exp(b_{gk} + \text{input}_{gk})}{1 + \sum_{k'} \exp(b_{gk'} + \text{input}_{gk'})}

    A block of C x C detection units so has C x C + 1 states, the last with all of them off. Its pooling unit is on with
    probability 1 - 1 / (1 + sum exp). A value is the blocks after one another, (..., blocks x units of a block).

    References:
        | Convolutional Deep Belief Networks for Scalable Unsupervised Learning of Hierarchical Representations (Lee,
          Grosse, Ranganath and Ng, 2009)

    Args:
        bias: Biases b, shape (blocks, units of a block), or (maps,), one for each map of `positions` blocks.
        block: Units of a block, where the bias has shape (maps,).
        positions: Blocks next to each other that share a bias.

    Raises:
        ValueError: If a shape does not fit.

    Example:
        >>> import torch
        >>> from ppgen.distributions import MaxPooled
        >>> units = MaxPooled(torch.zeros(3), block=4, positions=2)
        >>> units.size, units.num_states, units.pooled(units.mean(torch.zeros(24)))
        (24, 15625, tensor([0.8000, 0.8000, 0.8000, 0.8000, 0.8000, 0.8000]))
    """

    def __init__(self, bias: Tensor, block: int | None = None, positions: int = 1) -> None:
        check_tensors(bias=bias)
        check_count("block", block, optional=True)
        check_count("positions", positions)
        if block is None and (bias.dim() != 2 or positions != 1):
            raise ValueError(f"bias must have shape (blocks, units of a block), got {tuple(bias.shape)}.")
        if block is not None and (bias.dim() != 1 or block < 1 or positions < 1):
            raise ValueError(
                f"bias must have shape (maps,) where block and positions, whole numbers of at least 1, say how many "
                f"units share each; got {tuple(bias.shape)}, {block} and {positions}."
            )
        self.shared, self.block, self.positions = bias, block, positions

    @property
    def bias(self) -> Tensor:
        """Bias of every unit, (blocks, units of a block)."""
        if self.block is None:
            return self.shared
        return at_positions(self.shared, self.positions).unsqueeze(-1).expand(-1, self.block)

    @property
    def _shape(self) -> tuple[int, int]:
        """Blocks and units of a block."""
        if self.block is None:
            return self.shared.shape[0], self.shared.shape[1]
        return len(self.shared) * self.positions, self.block

    @property
    def event_support(self) -> constraints.Constraint:
        """Values that the layer can have: blocks of bits of which at most one is on."""
        return AtMostOne(*self._shape)

    @property
    def size(self) -> int:
        """Number of units: blocks times units of a block."""
        return math.prod(self._shape)

    @property
    def num_states(self) -> int:
        """Number of joint states: one more than the units of a block, to the number of blocks."""
        blocks, block = self._shape
        return int((block + 1) ** blocks)

    @property
    def num_uniforms(self) -> int:
        """Uniforms that one draw of the layer takes: one for each block."""
        return self._shape[0]

    def parameters(self) -> list[Tensor]:
        """Tensors that the energy depends on: the biases, each once."""
        return [self.shared]

    def pooled(self, value: Tensor) -> Tensor:
        """Pooling units: whether, or with what probability, a unit of the block is on: (..., size) -> (..., blocks)."""
        return self._blocks(value).sum(-1)

    def _blocks(self, value: Tensor) -> Tensor:
        return value.unflatten(-1, self._shape)

    def _full(self, input: Tensor) -> Tensor:
        """b + input with the state of no unit on as the last of each block: (..., blocks, units of a block + 1)."""
        total = self.bias + self._blocks(input)
        return torch.nn.functional.pad(total, (0, 1))

    def energy_terms(self, value: Tensor) -> Tensor:
        """Energy of each block, -b.x, nats: (..., blocks)."""
        return -(self._blocks(value) * self.bias).sum(-1)

    def log_partition_terms(self, input: Tensor) -> Tensor:
        """Log-partition of each block given the input, log(1 + sum exp(b + input)), nats: (..., blocks)."""
        return self._full(input).logsumexp(-1)

    def mean(self, input: Tensor) -> Tensor:
        """Probability of each unit: (..., size)."""
        # Over the first dimension: over a last one of so few states torch takes 14 times as long on the CPU.
        law = self._full(input).movedim(-1, 0).contiguous().softmax(0)
        return law[:-1].movedim(0, -1).flatten(-2)

    def mode(self, input: Tensor) -> Tensor:
        """In each block the unit of largest b + input, if that is above zero: (..., size)."""
        full = self._full(input)
        chosen = torch.nn.functional.one_hot(full.argmax(-1), full.shape[-1])
        return chosen[..., :-1].flatten(-2).to(input.dtype)

    def variance(self, input: Tensor) -> Tensor:
        """Variance given the input, p (1 - p) at mean p: (..., size)."""
        mean = self.mean(input)
        return mean * (1 - mean)

    def sample(self, input: Tensor, uniform: Tensor) -> Tensor:
        """In each block, the unit at which the cumulative probability passes the uniform; none if it never does."""
        passed = uniform.unsqueeze(-1) < self._blocks(self.mean(input)).cumsum(-1)
        first = passed & ~torch.cat([torch.zeros_like(passed[..., :1]), passed[..., :-1]], -1)
        return first.to(input.dtype).flatten(-2)

    def states(self, index: Tensor) -> Tensor:
        """Digits of the index, most significant block first, the largest digit for no unit on: (n,) -> (n, size)."""
        blocks, block = self._shape
        powers = (block + 1) ** torch.arange(blocks - 1, -1, -1, device=index.device)
        digits = (index.unsqueeze(-1) // powers) % (block + 1)
        return torch.nn.functional.one_hot(digits, block + 1)[..., :-1].flatten(1).to(self.bias.dtype)

    def base_rate(self, mean: Tensor | None) -> "MaxPooled":
        """Units whose biases reproduce the mean, that of each unit and of none in its block held above 1e-4."""
        if mean is None:
            return MaxPooled(self.bias.detach())
        held = self._blocks(mean.to(self.bias))
        none = (1 - held.sum(-1, keepdim=True)).clamp(min=1e-4)
        return MaxPooled(held.clamp(min=1e-4).log() - none.log())

    def scaled(self, factor: float | Tensor) -> "MaxPooled":
        """Units with bias factor * b."""
        return MaxPooled(factor * self.bias)

    def interpolated(self, base: "MaxPooled", beta: float | Tensor) -> "MaxPooled":
        """Units with bias (1 - beta) b_base + beta b."""
        return MaxPooled((1 - beta) * base.bias + beta * self.bias)

    def to(self, *args: Any) -> "MaxPooled":
        """The units with their tensors on another device or in another dtype."""
        return MaxPooled(self.shared.to(*args), self.block, self.positions)
