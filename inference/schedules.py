"""Numbers that change in the course of training, as functions of a tensor that counts the steps."""

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ppgen.arguments import check_count


@dataclass(frozen=True)
class Schedule:
    """A number as a function of the steps taken; a value without state."""

    @abstractmethod
    def value(self, steps: Tensor) -> Tensor:
        """The number at a step, a tensor, so that a traced step does not freeze it.

        Args:
            steps: Steps taken so far, a scalar.
        """


@dataclass(frozen=True)
class Linear(Schedule):
    """From one number to another in equal steps, and constant from then on.

    References:
        | Ladder Variational Autoencoders (Sonderby et al., 2016), https://arxiv.org/abs/1602.02282

    Args:
        steps: Steps of the way.
        start: Number at the first step.
        end: Number from step `steps` on.

    Raises:
        ValueError: If there is no step, or a number is negative.

    Example:
        >>> import torch
        >>> Linear(steps=4).value(torch.tensor([0.0, 1.0, 9.0]))
        tensor([0.0000, 0.2500, 1.0000])
    """

    steps: int
    start: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        ends = [each for each in (self.start, self.end) if isinstance(each, (int, float)) and each is not True]
        if len(ends) < 2 or not 0 <= self.start < math.inf or not 0 <= self.end < math.inf:
            raise ValueError(
                f"Linear takes numbers for start and end finite and at least 0, got {self.start!r}, {self.end!r}."
            )

    def value(self, steps: Tensor) -> Tensor:
        """The number after some steps."""
        return self.start + (self.end - self.start) * (steps / self.steps).clamp(max=1)


@dataclass(frozen=True, repr=False)
class Stages(Schedule):
    """A number that is constant for a while and then another one: Gibbs sweeps that grow in the course of training.

    References:
        | On the Quantitative Analysis of Deep Belief Networks (Salakhutdinov and Murray, 2008)

    Args:
        table: Number from each step on, `{0: 1, 1000: 5}`, or pairs of the two; begins with step 0.

    Raises:
        ValueError: If the table does not begin with step 0, a step is no whole number or a number is negative.

    Example:
        >>> Stages({0: 1, 1000: 5}).at(999), Stages({0: 1, 1000: 5}).at(1000)
        (1, 5)
    """

    table: Any

    def __post_init__(self) -> None:
        try:
            pairs = [(_whole(step), number) for step, number in _pairs(self.table)]
        except (TypeError, ValueError):
            raise ValueError(
                f"Stages take a number from each step on, such as {{0: 1, 1000: 5}}, got {self.table!r}."
            ) from None
        steps = [step for step, _ in pairs]
        if not steps or steps[0] != 0 or sorted(set(steps)) != steps:
            raise ValueError(f"Steps of Stages must begin with 0 and rise, as in {{0: 1, 1000: 5}}, got {steps}.")
        for _, number in pairs:
            if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 <= number < math.inf:
                raise ValueError(f"Numbers of Stages must be finite and at least 0, got {number!r}.")
        object.__setattr__(self, "table", tuple(pairs))  # what can be hashed

    def __repr__(self) -> str:
        return f"Stages({dict(self.table)!r})"

    def at(self, steps: int) -> float:
        """The number after some steps, in Python: what a traced step freezes."""
        return next(number for step, number in reversed(self.table) if steps >= step)

    def until_change(self, steps: int) -> float:
        """Steps from that one up to the next stage; infinite in the last."""
        return next((step - steps for step, _ in self.table if step > steps), math.inf)

    def value(self, steps: Tensor) -> Tensor:
        """The number after some steps."""
        (_, first), *others = self.table
        value = steps * 0.0 + first
        for step, number in others:
            value = value.where(steps < step, number)
        return value


def _pairs(table: Any) -> list[tuple[Any, Any]]:
    return [(step, number) for step, number in (table.items() if isinstance(table, Mapping) else table)]


def _whole(step: Any) -> int:
    """A step as a whole number; JSON and YAML write the keys of a table as text."""
    if isinstance(step, bool) or not isinstance(step, (int, str)):
        raise TypeError("no whole number")
    return int(step)
