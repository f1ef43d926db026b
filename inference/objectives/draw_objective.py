"""Objectives that compare draws of the model with rows of data: there is no guide, and there are no log-weights."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from ppgen.inference.objectives.objective import Objective
from ppgen.inference.particles.log_weights import LogWeights
from ppgen.inference.particles.model_alone import COMPARED
from ppgen.inference.state_roles import Roles
from ppgen.inference.structure.layout import Layout

State = dict[str, Tensor]

WITHOUT_GUIDE = (
    "Use no such part: draws of the model are compared with data, and no guide is run. Or use inference.ELBO() or "
    "inference.IWELBO()."
)
NOT_DRAWN = "Use an objective of log-weights, such as inference.ELBO() or inference.IWELBO()."


@dataclass(frozen=True)
class Compared:
    """What a step of such an objective gives.

    Attributes:
        value: What is reported, a scalar.
        loss: A scalar whose gradient the model descends.
        state: The state after the step.
    """

    value: Tensor
    loss: Tensor
    state: State


@dataclass(frozen=True)
class DrawObjective(Objective):
    """An objective of as many draws of the model as the batch has rows.

    The guide is not run. Its value is no bound of log p(x), and `value_name` says what it is. State, such as a
    discriminator and what its optimiser keeps, is a mapping of tensors that a step takes and gives back, as that of
    baselines is: it is traced, saved and resumed with the run.

    Attributes:
        least_rows: Rows that a batch must have.
        value_name: What its value is, with the unit and how large it can be.
    """

    sense: ClassVar[str] = "estimate"
    own_gradient: ClassVar[bool] = True
    compares_draws: ClassVar[bool] = True
    least_rows: ClassVar[int] = 1

    num_particles: int = field(default=1, init=False, repr=False)
    vectorize_particles: bool = field(default=True, init=False, repr=False)
    plate: str | None = field(default=None, init=False, repr=False)
    compared: str = field(default="sample", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.compared not in COMPARED:
            known = " or ".join(map(repr, COMPARED))
            raise ValueError(f"compared must be {known}, got {self.compared!r}.")

    @property
    @abstractmethod
    def value_name(self) -> str:
        """What its value is, in a few words."""

    @property
    def descended(self) -> bool:
        """Training makes a distance less."""
        return True

    @property
    def roles(self) -> Roles:
        """What each tensor of its state is to many processes."""
        return {}

    def init(self, data: Tensor) -> State:
        """State before the first step, for rows like these: (rows, features)."""
        return {}

    def check_rows(self, data: Tensor) -> None:
        """Raise ValueError, before the first step, unless it can be taken of rows like these."""

    @abstractmethod
    def distance(self, drawn: Tensor, data: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        """The value of draws and rows, (rows, features) each, a scalar; nothing moves."""

    @abstractmethod
    def followed(self, draw: Callable[[], Tensor], data: Tensor, state: State) -> Compared:
        """Value, loss and next state of a step.

        Args:
            draw: Runs the model: rows with their path to its parameters, (rows, features).
            data: Rows of the batch, (rows, features).
            state: State that the last step left.
        """

    def value(self, weights: LogWeights, num_data: int) -> Tensor:
        """There are no log-weights to take the value of.

        Raises:
            TypeError: Always.
        """
        raise TypeError(f"{type(self).__name__} compares draws of the model with data and has no log-weights.")

    def check(self, layout: Layout, num_rows: int, num_data: int) -> None:
        """Raise where a batch has fewer rows than the comparison needs."""
        if num_rows < self.least_rows:
            raise ValueError(
                f"{type(self).__name__} compares rows with each other and needs batches of at least {self.least_rows} "
                f"rows, got {num_rows}. Give a larger batch_size, or drop_last=True where the last batch is smaller."
            )


def flat(rows: Any) -> Tensor:
    """Rows as a table: (rows, features)."""
    table: Tensor = rows.reshape(len(rows), -1)
    return table
