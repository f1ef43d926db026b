"""Updates that are no gradient: how the statistics of batches are put together, from which parameters are set."""

from abc import abstractmethod
from dataclasses import dataclass, field

from torch import Tensor

from ppgen.checks.arguments import check_count

UPDATE, STATISTICS, CANDIDATES = "update", "statistics", "candidates"  # parts of the state of an inference


@dataclass(frozen=True)
class ParameterUpdate:
    r"""How statistics of batches are averaged, from which a pair's parameters are set in closed form.

    A value without state; the averages are made when it is bound to a pair (a `ppgen.closed_form.ClosedFormPair`).

    .. math:: \hat s_t = (1 - \gamma_t) \, \hat s_{t-1} + \gamma_t \, s_t, \qquad \theta_t = \bar\theta(\hat s_t)

    The first batch has :math:`\gamma_1 = 1`. A batch that is the whole data set has 1 always: then it is the EM
    algorithm, or exact alternation.

    Args:
        warmup_steps: Batches whose statistics are gathered before parameters are set from them, where one batch alone
            says too little: fewer rows than a covariance has dimensions, a component that no row is from.

    Raises:
        ValueError: If there are fewer than 0 of them.
    """

    warmup_steps: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        check_count("warmup_steps", self.warmup_steps, 0, room=False)

    @abstractmethod
    def step_size(self, step: Tensor) -> Tensor:
        """Weight of a batch's statistics beside the average of those before it, in (0, 1]: a scalar.

        Args:
            step: Number of the batch, from 2 on: a scalar float.
        """
