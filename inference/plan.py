"""Which estimator serves which site: what "auto" picks, and whether a choice is sound."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from ppgen import registry
from ppgen.inference.analytic_kl import AnalyticKL, check_exact_kl
from ppgen.inference.baselines import MovingAverage
from ppgen.inference.estimator import INSTEAD, Estimator, check_order
from ppgen.inference.layout import DISCRETE, EXACT_POSTERIOR, REPARAMETERISED, Layout
from ppgen.inference.objective import MultiSampleObjective, Objective
from ppgen.inference.pathwise import Pathwise
from ppgen.inference.score_function import LeaveOneOut, ScoreFunction

Choice = Estimator | str | Mapping[str, Estimator]


def automatic(kind: str, num_particles: int) -> Estimator | None:
    """What `"auto"` picks at a site of a kind; None where no estimator is needed."""
    if kind == EXACT_POSTERIOR:
        return None
    if kind != DISCRETE:
        return Pathwise()
    return LeaveOneOut() if num_particles > 1 else ScoreFunction(MovingAverage())


@dataclass(frozen=True)
class Detached(Estimator):
    """Draws without a gradient, for objectives that say by themselves what is climbed."""

    kinds: ClassVar[frozenset[str]] = frozenset({DISCRETE, REPARAMETERISED})
    scores: ClassVar[bool] = True


def sound(objective: type[Objective], estimator: type[Estimator], kind: str) -> bool:
    """Whether an estimator is sound for an objective at a site of a kind.

    Example:
        >>> from ppgen import inference
        >>> sound(inference.IWELBO, inference.StickTheLanding, "reparameterised")
        False
    """
    if objective.own_gradient:
        return False
    named = estimator.objectives is None or registry.name_of("objective", objective) in estimator.objectives
    return named and (kind == EXACT_POSTERIOR or kind in estimator.kinds)


def planned(inference: Any, pair: Any, batch: Any, layout: Layout) -> dict[str, Any]:
    """Estimator by site for an inference and a pair; checks that each can serve there.

    Raises:
        ValueError: If the combination is not legal, naming the site and what to use instead.
    """
    plan = make_plan(inference.objective, inference.estimator, layout)
    _check_stops(inference.objective, plan, pair)
    exact = [site for site, estimator in plan.items() if isinstance(estimator, AnalyticKL)]
    check_exact_kl(exact, layout.model_laws, layout.guide_laws)
    return plan


def _check_stops(objective: Objective, plan: Mapping[str, Any], pair: Any) -> None:
    """Raise unless estimators that hold the guide's parameters constant can do so, and nothing is lost by it."""
    stopping = [site for site, estimator in plan.items() if estimator is not None and estimator.stops]
    if not stopping:
        return
    name = type(plan[stopping[0]]).__name__
    others = [site for site, estimator in plan.items() if estimator is not None and not estimator.stops]
    if others and isinstance(objective, MultiSampleObjective):
        raise ValueError(
            f"{name} at site {stopping[0]!r} needs to serve every site of the guide under {type(objective).__name__}, "
            f"whose weights join them all, and {type(plan[others[0]]).__name__} serves site {others[0]!r}. Use "
            'estimator="auto".'
        )
    if not isinstance(pair, nn.Module):
        raise ValueError(
            f"{name} at site {stopping[0]!r} runs the guide with constant parameters, which needs a pair that owns "
            "them: train with ppgen.fit, or call the loss as a module, loss(model, guide)(x).backward()."
        )
    if not objective.vectorize_particles and objective.num_particles > 1:
        raise ValueError(f"{name} at site {stopping[0]!r} needs vectorize_particles=True: particles drawn at once.")


def make_plan(objective: Objective, choice: Choice, layout: Layout) -> dict[str, Any]:
    """Estimator by site of the guide; None where none is needed.

    Args:
        objective: What is estimated.
        choice: `"auto"`, one estimator for all sites, or a mapping from sites to estimators; sites that a mapping
            does not name are left to `"auto"`.
        layout: Structure of the pair.

    Raises:
        ValueError: If a choice is not sound at a site, or a mapping names an unknown site; the message names the site
            and says what to use instead.
    """
    check_order(layout)
    if isinstance(choice, Mapping):
        unknown = sorted(set(choice) - set(layout.latent))
        if unknown:
            raise ValueError(
                f"The estimator mapping names {unknown}, but the guide draws the sites {sorted(layout.latent)}."
            )
    plan: dict[str, Any] = {}
    for site, kind in layout.latent.items():
        given = choice.get(site, "auto") if isinstance(choice, Mapping) else choice
        if not isinstance(given, Estimator):
            plan[site] = Detached() if objective.own_gradient else automatic(kind, objective.num_particles)
            continue
        if not sound(type(objective), type(given), kind):
            needs = f": it needs {given.needs}" if kind not in (*given.kinds, EXACT_POSTERIOR) else ""
            raise ValueError(
                f"{type(given).__name__} under {type(objective).__name__} is not sound at site {site!r}, which is "
                f"{kind}{needs}. {instead(type(objective), type(given), kind)}"
            )
        plan[site] = None if kind == EXACT_POSTERIOR else given
        if plan[site] is not None:
            given.check(site, layout.guide_laws[site], objective.num_particles)
    return plan


def instead(objective: type[Objective], estimator: type[Estimator], kind: str) -> str:
    """What to use in the place of an estimator that is not sound for an objective at a site of a kind."""
    if objective.own_gradient:
        return f'Leave it at estimator="auto": {objective.__name__} says by itself how its gradient is estimated.'
    if estimator.objectives is not None and registry.name_of("objective", objective) not in estimator.objectives:
        names = " and ".join(estimator.objectives)
        return f'It is an estimator for {names}: change the objective, or leave the site at estimator="auto".'
    return INSTEAD[kind]
