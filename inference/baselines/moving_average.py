"""Baselines of score-function gradients: predictions of the learning signal that do not see the draw."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ppgen.checks.arguments import check_number
from ppgen.inference.state_roles import Roles

State = dict[str, Tensor]

LEAST = 1e-6  # weight of the past before there is any


@dataclass(frozen=True)
class Baseline:
    """What is subtracted from a learning signal; a value without state.

    State is a mapping of tensors that a step takes and gives back, so that it is traced, saved and resumed.

    Attributes:
        linear: Whether a signal that is a number of times larger in all that it holds has a baseline so much larger.
    """

    linear: ClassVar[bool] = False

    def check(self, site: str, rows: Callable[[], Tensor]) -> None:
        """Raise ValueError, before the first step, unless it can serve a site for rows like these; it can by default.

        Args:
            site: The site, for the message.
            rows: Gives the rows of a batch, (B, F).
        """

    @property
    def roles(self) -> Roles:
        """What each tensor of its state is to many processes: `"chains"`, `"common"` or `"own"`; all must be named."""
        return {}

    @abstractmethod
    def init(self, rows: Tensor) -> State:
        """State before the first step, for batches like `rows`, (B, F)."""

    @abstractmethod
    def centred(self, signal: Tensor, rows: Tensor, state: State) -> tuple[Tensor, State]:
        """The signal less the baseline, and the state after having seen it.

        Args:
            signal: Learning signal, (particles, B) or (particles, 1), nats.
            rows: Rows of the batch, (B, F).
            state: State left by the last step.
        """


@dataclass(frozen=True)
class MovingAverage(Baseline):
    """Exponentially decaying average of past signals, one number for all data.

    References:
        | Neural Variational Inference and Learning in Belief Networks (Mnih and Gregor, 2014),
          https://arxiv.org/abs/1402.0030

    Args:
        decay: Weight of the past, in [0, 1).

    Raises:
        ValueError: If the decay is outside.

    Example:
        >>> from ppgen.inference import MovingAverage
        >>> import torch
        >>> state = MovingAverage().init(torch.zeros(2, 3))
        >>> MovingAverage().centred(torch.ones(1, 2), torch.zeros(2, 3), state)[0]
        tensor([[1., 1.]])
    """

    linear: ClassVar[bool] = True

    decay: float = 0.9

    def __post_init__(self) -> None:
        check_number("decay", self.decay, "lie in [0, 1)", lambda decay: 0 <= decay < 1)

    @property
    def roles(self) -> Roles:
        """Each process has an average of its own."""
        return {"mean": "own", "weight": "own"}

    def init(self, rows: Tensor) -> State:
        """State before the first step: a mean of zero, of no weight."""
        return {"mean": rows.new_zeros(()), "weight": rows.new_zeros(())}

    def centred(self, signal: Tensor, rows: Tensor, state: State) -> tuple[Tensor, State]:
        """The signal less the average of the steps before this one."""
        centred = signal - state["mean"] / state["weight"].clamp(min=LEAST)
        mean = torch.lerp(signal.mean(), state["mean"], self.decay)
        return centred, {"mean": mean, "weight": torch.lerp(torch.ones_like(mean), state["weight"], self.decay)}
