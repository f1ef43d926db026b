"""Score-function gradients with control variates, for sites whose values carry no gradient."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

from torch import Tensor

from ppgen.inference.baselines.moving_average import Baseline, MovingAverage, State
from ppgen.inference.estimators.estimator import Estimator, ScoreInputs
from ppgen.inference.particles.signal_plates import centred_by_row
from ppgen.inference.structure.layout import DISCRETE, REPARAMETERISED

_ANY = frozenset({DISCRETE, REPARAMETERISED})


@dataclass(frozen=True)
class ScoreFunction(Estimator):
    r"""Score-function (REINFORCE) gradient with a baseline.

    .. math:: \nabla_\phi E_q[f(z)] = E_q[(f(z) - b) \nabla_\phi \log q(z \mid x)]

    Unbiased for any baseline b that does not depend on z. Under a mean of log-weights (the ELBO) f holds the costs
    downstream of the site alone: the log-densities of model and guide that were computed from its draw, each element of
    a plate by itself, so that ten thousand draws in a datum are no noisier than one. What depends on what is followed
    while a step runs. A plate whose elements read each other's draws is taken as a whole, and so is a datum after
    Python has read a draw (`if z > 0`, `z.item()`).

    A guide may make draws without `pyro.sample` and say their log-density by `pyro.factor(..., has_rsample=False)`. All
    such factors together are one log-density: they have the same costs, none of them left out, and the same baseline.

    References:
        | Gradient Estimation Using Stochastic Computation Graphs (Schulman, Heess, Weber and Abbeel, 2015),
          https://arxiv.org/abs/1506.05254
        | Black Box Variational Inference (Ranganath, Gerrish and Blei, 2014), https://arxiv.org/abs/1401.0118
        | Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning (Williams, 1992)
        | Neural Variational Inference and Learning in Belief Networks (Mnih and Gregor, 2014),
          https://arxiv.org/abs/1402.0030

    Args:
        baseline: `MovingAverage()`, `InputDependent()` or None.

    Example:
        >>> from ppgen import inference
        >>> inference.ScoreFunction(inference.MovingAverage(decay=0.9)).baseline.decay
        0.9
    """

    kinds: ClassVar[frozenset[str]] = _ANY
    needs: ClassVar[str] = "a log-density in the guide"
    scores: ClassVar[bool] = True
    baseline: Baseline | None = field(default_factory=MovingAverage)

    def __post_init__(self) -> None:
        if self.baseline is not None and not isinstance(self.baseline, Baseline):
            raise TypeError(f"baseline must be a baseline such as MovingAverage() or None, got {self.baseline!r}.")

    def check_rows(self, site: str, rows: Callable[[], Tensor]) -> None:
        """Raise unless the baseline can look at a batch."""
        if self.baseline is not None:
            self.baseline.check(site, rows)

    def centred(self, signal: Tensor, inputs: ScoreInputs) -> tuple[Tensor, State | None]:
        """Signal less the baseline."""
        if self.baseline is None:
            return signal, None
        table = inputs.rows()
        state = inputs.state or self.baseline.init(table)
        centre = partial(self.baseline.centred, rows=table, state=state)
        return centred_by_row(centre, signal, inputs.frames, inputs.weights.plate)


@dataclass(frozen=True)
class LeaveOneOut(Estimator):
    r"""Score-function gradient whose baseline for one particle is made of the others.

    .. math:: \sum_k (L(w_{1:K}) - L(w_{-k})) \nabla_\phi \log q(z_k \mid x)

    For the importance-weighted bound the weight of particle k is replaced by the geometric mean of the others (VIMCO);
    for the ELBO the baseline is the mean log-weight of the others (RLOO); of both, the costs downstream of the site, as
    under `ScoreFunction`. Unbiased.

    References:
        | Variational Inference for Monte Carlo Objectives (Mnih and Rezende, 2016), https://arxiv.org/abs/1602.06725
        | Buy 4 REINFORCE Samples, Get a Baseline for Free! (Kool, van Hoof and Welling, 2019)

    Raises:
        ValueError: Before training, if there is one particle only.

    Example:
        >>> from ppgen import inference
        >>> inference.Inference(inference.IWELBO(5), inference.LeaveOneOut()).estimator
        LeaveOneOut()
    """

    kinds: ClassVar[frozenset[str]] = _ANY
    needs: ClassVar[str] = "a log-density in the guide"
    scores: ClassVar[bool] = True
    compares: ClassVar[bool] = True

    def check(self, site: str, fn: Any, num_particles: int) -> None:
        """Raise unless there are two particles or more, so that one can be left out."""
        if num_particles < 2:
            raise ValueError(
                f"LeaveOneOut at site {site!r} needs num_particles of at least 2, got {num_particles}. Give the "
                "objective more particles, or use inference.ScoreFunction()."
            )

    def centred(self, signal: Tensor, inputs: ScoreInputs) -> tuple[Tensor, State | None]:
        """Signal less what it would be without the particle."""
        return signal - inputs.objective.control(inputs.columns), None
