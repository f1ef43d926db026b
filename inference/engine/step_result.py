"""What a step gives, and the evaluation of a batch that it is made of."""

from dataclasses import dataclass, field

from torch import Tensor

from ppgen.distributions import UndirectedDistribution


@dataclass(frozen=True)
class StepResult:
    """Result of one step.

    Attributes:
        value: Objective per datum, in nats if the inference is normalised: a detached scalar.
        gradients: Gradient of minus the objective per datum, by name of the parameter; of an upper bound, its own.
        moved: Whether the parameters were moved already, by an optimiser that is part of a compiled step; then there
            are no gradients.
    """

    value: Tensor
    gradients: dict[str, Tensor]
    moved: bool = False


@dataclass(frozen=True)
class Evaluation:
    """Objective per datum of one batch, the scalar that is raised, and the undirected laws that were met."""

    value: Tensor
    num_data: int
    surrogate: Tensor
    laws: dict[str, tuple[UndirectedDistribution, Tensor]] = field(default_factory=dict)
