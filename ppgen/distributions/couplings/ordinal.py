"""A coupling of groups of one-hot units that stand for ordered numbers."""

import torch
from torch import Tensor

from ppgen.checks.arguments import check_tensors


class Ordinal:
    r"""Groups of K values joined to every upper unit by one weight times the value's score, and by one for being there.

    .. math:: \sum_i \big(s_i(v_i) \, a_i + d_i\big) \cdot h

    over the groups that are there. In the place of K weights for each group and upper unit, which learn nothing of one
    value from another, there are two: a says how much more of the unit goes with a higher value, d what it tells the
    unit that the group is there at all, whatever its value.

    Args:
        scores: Scores s of the values, shape (groups, K); they are given and not learned.
        loading: Weights a, shape (groups, upper units).
        offset: Weights d, shape (groups, upper units).

    Raises:
        ValueError: If a shape does not fit.

    Example:
        >>> import torch
        >>> from ppgen.distributions import Ordinal
        >>> coupling = Ordinal(torch.tensor([[-1.0, 0.0, 1.0]]), torch.tensor([[2.0]]), torch.tensor([[0.5]]))
        >>> coupling.forward(torch.eye(3)).flatten()
        tensor([-1.5000,  0.5000,  2.5000])
    """

    def __init__(self, scores: Tensor, loading: Tensor, offset: Tensor) -> None:
        check_tensors(scores=scores, loading=loading, offset=offset)
        if scores.dim() != 2 or loading.dim() != 2 or len(scores) != len(loading) or offset.shape != loading.shape:
            raise ValueError(
                "scores must have shape (groups, values), loading and offset (groups, upper units), got "
                f"{tuple(scores.shape)}, {tuple(loading.shape)} and {tuple(offset.shape)}."
            )
        self.scores, self.loading, self.offset = scores, loading, offset

    def parameters(self) -> list[Tensor]:
        """Tensors that the term depends on: the weights a and d."""
        return [self.loading, self.offset]

    def matrix(self) -> Tensor:
        """Weights between every value of a group and every upper unit: (groups x values, upper units)."""
        return (self.scores.unsqueeze(-1) * self.loading.unsqueeze(1) + self.offset.unsqueeze(1)).flatten(0, 1)

    def forward(self, lower: Tensor) -> Tensor:
        """Sum over groups of score times a, and d: (..., groups x values) -> (..., upper units)."""
        groups = lower.unflatten(-1, self.scores.shape)
        return (groups * self.scores).sum(-1) @ self.loading + groups.sum(-1) @ self.offset

    def backward(self, upper: Tensor) -> Tensor:
        """s (a.upper) + d.upper of every value: (..., upper units) -> (..., groups x values)."""
        slope, level = upper @ self.loading.mT, upper @ self.offset.mT
        return (self.scores * slope.unsqueeze(-1) + level.unsqueeze(-1)).flatten(-2)

    def check(self, lower_size: int, upper_size: int, names: tuple[str, str]) -> None:
        """Raise ValueError unless the coupling joins layers of these sizes."""
        if (self.scores.numel(), self.loading.shape[1]) != (lower_size, upper_size):
            raise ValueError(
                f"The coupling of layers {names[0]!r} and {names[1]!r} joins {self.scores.numel()} values to "
                f"{self.loading.shape[1]} units, but the layers have {lower_size} and {upper_size}."
            )

    def to(self, *args: torch.device | torch.dtype) -> "Ordinal":
        """The coupling with its tensors on another device or in another dtype."""
        moved = [each.to(*args) for each in (self.scores, self.loading, self.offset)]  # type: ignore[call-overload]
        return Ordinal(*moved)

    def __repr__(self) -> str:
        return f"Ordinal({self.scores.numel()}, {self.loading.shape[1]})"
