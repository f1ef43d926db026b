"""Gradient estimators: how the gradient of an objective is estimated at the sites that the guide draws."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from ppgen.inference.baselines.moving_average import State
from ppgen.inference.particles.log_weights import LogWeights
from ppgen.inference.particles.signal_plates import Frames, by_row, score_density
from ppgen.inference.structure.layout import DISCRETE, EXACT_POSTERIOR, MEAN_FIELD, REPARAMETERISED, Layout


@dataclass(frozen=True)
class ScoreInputs:
    """What the gradient through draws at one site, which carry none themselves, is made of.

    Attributes:
        objective: What is estimated.
        weights: Log-weights with the terms of each site.
        columns: Log-weights that a draw at the site changes: (runs, rows), (runs, 1) for all rows, or (runs, *plates of
            the site) where they are the costs downstream of each of its elements.
        layout: Structure of the pair.
        plan: Estimator by site.
        rows: Gives the batch as (rows, features), for baselines.
        state: What the last step left for this site; None before the first one.
        frames: Plates of the site that the dimensions of the columns after the first are; None where they are rows.
    """

    objective: Any
    weights: LogWeights
    columns: Tensor
    layout: Layout
    plan: Mapping[str, "Estimator | None"]
    rows: Callable[[], Tensor]
    state: State | None
    frames: Frames | None = None


@dataclass(frozen=True)
class Estimator:
    """A way to estimate the gradient, sound at some kinds of sites and for some objectives.

    Attributes:
        kinds: Kinds of sites at which it is sound.
        needs: What it asks of a site, for the error message.
        scores: Whether values at its sites are drawn without a gradient and scored by their log-density.
        stops: Whether the guide's log-density there is differentiated through the values only.
        compares: Whether it compares particles with each other, which must be independent.
        paired: Whether runs are drawn in antithetic pairs at its sites.
        sums: Whether its sites are summed over instead of drawn.
        alone: Whether it is sound only where every site that needs an estimator has it, and none of them is masked.
    """

    kinds: ClassVar[frozenset[str]] = frozenset()
    needs: ClassVar[str] = ""
    scores: ClassVar[bool] = False
    stops: ClassVar[bool] = False
    compares: ClassVar[bool] = False
    paired: ClassVar[bool] = False
    sums: ClassVar[bool] = False
    alone: ClassVar[bool] = False

    @classmethod
    def supports(cls, kind: str) -> bool:
        """Whether the estimator is sound at a site of a kind; an exact posterior needs no estimator at all.

        A mean-field site is a discrete one too: its means can be drawn from.
        """
        return kind == EXACT_POSTERIOR or kind in cls.kinds or (kind == MEAN_FIELD and DISCRETE in cls.kinds)

    @classmethod
    def preferred(cls, kind: str, marked: bool) -> bool:
        """Whether `"auto"` picks it, where it is sound, before what serves every site of a kind; by default not.

        Args:
            kind: Kind of the site.
            marked: Whether the program gives the site `infer={"enumerate": "parallel"}`.
        """
        return False

    @classmethod
    def serves(cls, objective: type[Any]) -> bool:
        """Whether it is sound for a class of objectives; by default for all that have no gradient of their own.

        An estimator that scores is sound for those alone which say what of their value a draw changes.
        """
        return not objective.own_gradient and (objective.has_signal() or not cls.scores)

    def check(self, site: str, fn: Any, num_particles: int) -> None:
        """Raise ValueError, before the first step, if the estimator cannot serve a site; by default it can."""

    @property
    def scheduled(self) -> bool:
        """Whether one of its numbers follows a schedule, so that the estimator needs the steps taken."""
        return False

    def law(self, fn: Any) -> Any:
        """Law whose log-density stands, in training, for that of a site in the guide and in the model."""
        return fn

    def draw(self, name: str, fn: Any, steps: Tensor | None) -> Tensor | None:
        """Value at a site of the guide; None leaves the draw to the site's own law.

        Args:
            name: The site.
            fn: Its law.
            steps: Steps taken, where an estimator is scheduled.
        """
        return None

    def check_plan(self, site: str, plan: Mapping[str, "Estimator | None"], layout: Layout, objective: Any) -> None:
        """Raise ValueError, before the first step, if it cannot serve a site of this pair beside the other estimators.

        Args:
            site: The site.
            plan: Estimator by site.
            layout: Structure of the pair.
            objective: What is estimated.
        """

    def check_program(self, site: str, pair: Any, batch: Any, layout: Layout) -> None:
        """Raise ValueError, before the first step, if the programs, run on a batch, are not what it has a form of."""

    def check_rows(self, site: str, rows: Callable[[], Tensor]) -> None:
        """Raise ValueError, before the first step, if it cannot look at a batch, which `rows` gives as a table."""

    def log_weights(self, site: str, weights: LogWeights, layout: Layout) -> LogWeights:
        """Log-weights with what it knows of a site in closed form; as they are, by default."""
        return weights

    def centred(self, signal: Tensor, inputs: ScoreInputs) -> tuple[Tensor, State | None]:
        """Learning signal less a control variate, of the shape of the columns, and the state after the step, if any."""
        return signal, None

    def term(self, site: str, inputs: ScoreInputs) -> tuple[Tensor, State | None]:
        r"""Scalar whose gradient is that of the objective per datum through draws at a site; its value means nothing.

        .. math:: \sum_k \log q(z_k) \, \mathrm{stop}(\text{signal}_k - \text{control}_k)

        Asked of estimators that score; with the state after the step, where there is one.
        """
        objective, weights = inputs.objective, inputs.weights
        signal, after = self.centred(objective.signal(inputs.columns), inputs)
        density = score_density(weights, site, signal, inputs.frames)
        term = by_row((density * signal.detach()).sum(0), inputs.frames, weights.plate)
        return objective.signal_weight(len(inputs.columns)) * objective.over_rows(term, weights), after


class BySite(Mapping[str, Estimator]):
    """Estimators by the name of the site: a mapping that can be hashed and compared, as values can."""

    def __init__(self, estimators: Mapping[str, Estimator]) -> None:
        self._estimators = dict(estimators)

    def __getitem__(self, site: str) -> Estimator:
        return self._estimators[site]

    def __iter__(self) -> Iterator[str]:
        return iter(self._estimators)

    def __len__(self) -> int:
        return len(self._estimators)

    def __hash__(self) -> int:
        return hash(frozenset(self._estimators.items()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mapping) and dict(self) == dict(other)

    def __repr__(self) -> str:
        return repr(self._estimators)


def check_order(layout: Layout) -> None:
    """Raise unless sites drawn from their exact posterior are drawn last.

    Raises:
        ValueError: Names the two sites.
    """
    exact = [name for name, kind in layout.latent.items() if kind == EXACT_POSTERIOR]
    order = list(layout.latent)
    for name, kind in layout.latent.items():
        if exact and kind != EXACT_POSTERIOR and order.index(name) > order.index(exact[0]):
            raise ValueError(
                f"Site {exact[0]!r} is marked as drawn from the exact posterior, but site {name!r}, drawn after it, "
                f"is not: the weight then depends on {exact[0]!r}, whose gradient would be missing. "
                f"Draw {exact[0]!r} last, given the others, or take the mark away."
            )


INSTEAD = {
    REPARAMETERISED: 'Use estimator="auto" or inference.Pathwise().',
    EXACT_POSTERIOR: 'Use estimator="auto": such a site needs none.',
    DISCRETE: (
        'Use estimator="auto", inference.LeaveOneOut() with two particles or more, or inference.ScoreFunction(); or, '
        'if the guide is the exact posterior there, mark the site infer={"posterior": "exact"}.'
    ),
}
INSTEAD[MEAN_FIELD] = 'Use estimator="auto" or inference.MeanField() under inference.ELBO().'

NOT_EXACT = {
    REPARAMETERISED: "Use inference.ELBO() or inference.IWELBO(): a continuous latent cannot be summed out.",
    EXACT_POSTERIOR: INSTEAD[EXACT_POSTERIOR],
    DISCRETE: "Use estimator=inference.Enumerate(), which sums it out, or inference.ELBO() to draw it.",
    MEAN_FIELD: "Use estimator=inference.Enumerate(), which sums it out, or inference.ELBO() with the guide's means.",
}
