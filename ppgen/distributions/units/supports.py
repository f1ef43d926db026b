"""Values that spins, and layers of one-hot groups and of word counts, can have."""

from torch import Tensor
from torch.distributions import constraints


class OneHotGroups(constraints.Constraint):
    """One-hot vectors of several groups after one another.

    Args:
        groups: Number of groups.
        values: Values of each.
        missing: Whether groups can be missing, which are zeros; one at least must be there.

    Example:
        >>> import torch
        >>> OneHotGroups(2, 3, missing=True).check(torch.tensor([[0.0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]]))
        tensor([ True, False])
    """

    is_discrete = True
    event_dim = 1

    def __init__(self, groups: int, values: int, *, missing: bool) -> None:
        self.groups, self.values, self.missing = groups, values, missing

    def check(self, value: Tensor) -> Tensor:
        """Whether each row lies in the support: (..., groups x values) -> (...,)."""
        bits = ((value == 0) | (value == 1)).all(-1)
        counts = value.unflatten(-1, (self.groups, self.values)).sum(-1)
        return bits & (((counts <= 1).all(-1) & (counts > 0).any(-1)) if self.missing else (counts == 1).all(-1))

    def __repr__(self) -> str:
        rest = "zeros where it is missing, one at least not" if self.missing else "none missing"
        return f"one of {self.values} values in each of {self.groups} groups, {rest}"


class _Documents(constraints.Constraint):
    """Counts of the words of a document that is not empty."""

    is_discrete = True
    event_dim = 1

    def check(self, value: Tensor) -> Tensor:
        """Whether each row is a document: (..., vocabulary) -> (...,)."""
        return ((value >= 0) & (value == value.round())).all(-1) & (value > 0).any(-1)

    def __repr__(self) -> str:
        return "whole counts of words, of one word or more"


documents = _Documents()


class _Spins(constraints.Constraint):
    """One of -1 and 1."""

    is_discrete = True

    def check(self, value: Tensor) -> Tensor:
        """Whether each value is a spin."""
        return value.abs() == 1

    def __repr__(self) -> str:
        return "-1 or 1"


spins = _Spins()


class AtMostOne(constraints.Constraint):
    """Bits in groups after one another, at most one of each group on.

    Args:
        groups: Number of groups.
        values: Bits of each.

    Example:
        >>> import torch
        >>> AtMostOne(2, 2).check(torch.tensor([[0.0, 1, 0, 0], [1, 1, 0, 1]]))
        tensor([ True, False])
    """

    is_discrete = True
    event_dim = 1

    def __init__(self, groups: int, values: int) -> None:
        self.groups, self.values = groups, values

    def check(self, value: Tensor) -> Tensor:
        """Whether each row lies in the support: (..., groups x values) -> (...,)."""
        bits = ((value == 0) | (value == 1)).all(-1)
        return bits & (value.unflatten(-1, (self.groups, self.values)).sum(-1) <= 1).all(-1)

    def __repr__(self) -> str:
        return f"at most one of {self.values} bits in each of {self.groups} groups"
