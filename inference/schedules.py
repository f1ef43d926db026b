"""Numbers that change in the course of training, as functions of a tensor that counts the steps."""

import math
from abc import abstractmethod
from dataclasses import dataclass

from torch import Tensor


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
        if self.steps < 1 or not 0 <= self.start < math.inf or not 0 <= self.end < math.inf:
            raise ValueError(
                "steps must be at least 1 and start and end finite and at least 0, got "
                f"{self.steps}, {self.start}, {self.end}."
            )

    def value(self, steps: Tensor) -> Tensor:
        """The number after some steps."""
        return self.start + (self.end - self.start) * (steps / self.steps).clamp(max=1)
