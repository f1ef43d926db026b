"""Numbers that change in the course of training, as functions of a tensor that counts the steps."""

import math
import warnings
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from ppgen.checks.arguments import check_count


@dataclass(frozen=True)
class Schedule:
    """A number as a function of the steps taken; a value without state."""

    @abstractmethod
    def value(self, steps: Tensor) -> Tensor:
        """The number at a step, a tensor, so that a traced step does not freeze it.

        Args:
            steps: Steps taken so far, a scalar.
        """

    @property
    def duration(self) -> int:
        """Steps after which the number stays what it is; 0 if that is not known, as in schedules of your own."""
        return 0


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
        >>> from ppgen.inference import Linear
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

    @property
    def duration(self) -> int:
        """Steps after which the number is `end`."""
        return self.steps if self.start != self.end else 0

    def value(self, steps: Tensor) -> Tensor:
        """The number after some steps, a tensor."""
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
        >>> from ppgen.inference import Stages
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

    @property
    def duration(self) -> int:
        """Steps after which the last stage has begun."""
        return int(self.table[-1][0]) + 1 if len(self.table) > 1 else 0

    def at(self, steps: int) -> float:
        """The number after some steps, in Python: what a traced step freezes."""
        return next(number for step, number in reversed(self.table) if steps >= step)

    def until_change(self, steps: int) -> float:
        """Steps from that one up to the next stage; infinite in the last."""
        return next((step - steps for step, _ in self.table if step > steps), math.inf)

    def value(self, steps: Tensor) -> Tensor:
        """The number after some steps, a tensor."""
        (_, first), *others = self.table
        value = steps * 0.0 + first
        for step, number in others:
            value = value.where(steps < step, number)
        return value


def schedules(value: Any, name: str = "") -> Iterator[tuple[str, Schedule]]:
    """Schedules in a specification, whatever they stand in, each with the words that lead to it.

    Example:
        >>> from ppgen import inference
        >>> [name for name, _ in schedules(inference.ELBO(kl_weight=inference.Linear(1000)))]
        ['ELBO(kl_weight=...)']
    """
    if isinstance(value, Schedule):
        yield name, value
    elif is_dataclass(value) and not isinstance(value, type):
        for each in fields(value):
            yield from schedules(getattr(value, each.name), f"{type(value).__name__}({each.name}=...)")
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from schedules(part, name)
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from schedules(part, name)


def warn_of_unfinished(specification: Any, taken: int, total: int) -> None:
    """Warn of schedules that have not come to their end when training ends: a warm-up that is longer than training.

    Args:
        specification: An inference.
        taken: Steps of its schedules that earlier training has taken.
        total: Steps of this training.
    """
    for name, schedule in schedules(specification):
        end = taken + total
        if schedule.duration > end:
            last = float(schedule.value(torch.tensor(float(end - 1), dtype=torch.float64)))
            warnings.warn(
                f"{name} follows {schedule!r}, which ends after {schedule.duration} steps, and training ends after "
                f"{end}, where it is {last:.3g}. Give it fewer steps, or train longer.",
                stacklevel=3,
            )


def _pairs(table: Any) -> list[tuple[Any, Any]]:
    return [(step, number) for step, number in (table.items() if isinstance(table, Mapping) else table)]


def _whole(step: Any) -> int:
    """A step as a whole number; JSON and YAML write the keys of a table as text."""
    if isinstance(step, bool) or not isinstance(step, (int, str)):
        raise TypeError("no whole number")
    return int(step)
