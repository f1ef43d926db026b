"""Which estimator serves which site: what "auto" picks, and whether a choice is sound."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pyro import poutine
from pyro.distributions import Delta

from ppgen import registry
from ppgen.batch import split_batch
from ppgen.inference.baselines.moving_average import MovingAverage
from ppgen.inference.estimators.enumerate import enumerated_states
from ppgen.inference.estimators.estimator import INSTEAD, NOT_EXACT, Estimator, check_order
from ppgen.inference.estimators.guide_draws import GuideDraws
from ppgen.inference.estimators.pathwise import Pathwise
from ppgen.inference.estimators.score_function import LeaveOneOut, ScoreFunction
from ppgen.inference.objectives.draw_objective import NOT_DRAWN, WITHOUT_GUIDE
from ppgen.inference.objectives.objective import Objective
from ppgen.inference.structure.guide_factors import check_guide_factors
from ppgen.inference.structure.layout import DISCRETE, EXACT_POSTERIOR, MEAN_FIELD, REPARAMETERISED, Layout, kind_of
from ppgen.inference.structure.traces import base_law, enumerable
from ppgen.pair import keeping_buffers
from ppgen.undisturbed import device_of, forked

Choice = Estimator | str | Mapping[str, Estimator]


def automatic(kind: str, num_particles: int) -> Estimator | None:
    """What `"auto"` picks at a site of a kind; None where no estimator is needed."""
    if kind == EXACT_POSTERIOR:
        return None
    if kind not in (DISCRETE, MEAN_FIELD):
        return Pathwise()
    return LeaveOneOut() if num_particles > 1 else ScoreFunction(MovingAverage())


@dataclass(frozen=True)
class Detached(Estimator):
    """Draws without a gradient, for objectives that say by themselves what model and guide follow."""

    kinds: ClassVar[frozenset[str]] = frozenset({DISCRETE, REPARAMETERISED})
    scores: ClassVar[bool] = True


def sound(objective: type[Objective], estimator: type[Estimator] | None, kind: str) -> bool:
    """Whether an estimator, None for `"auto"`, is sound for an objective at a site of a kind.

    Example:
        >>> from ppgen import inference
        >>> sound(inference.IWELBO, inference.StickTheLanding, "reparameterised")
        False
    """
    if objective.compares_draws:  # there is no guide: the same must hold of the model's own draw
        return estimator is None and kind == REPARAMETERISED
    if objective.exact:
        return kind == EXACT_POSTERIOR if estimator is None else estimator.sums and estimator.supports(kind)
    if estimator is None:
        picked = None if objective.own_gradient else automatic(kind, 2)
        return picked is None or sound(objective, type(picked), kind)
    return estimator.serves(objective) and estimator.supports(kind)


def planned(inference: Any, pair: Any, batch: Any, layout: Layout) -> dict[str, Any]:
    """Estimator by site for an inference and a pair; checks that each can serve there.

    Raises:
        ValueError: If the combination is not legal, naming the site and what to use instead.
    """
    plan = make_plan(inference.objective, inference.estimator, layout)
    check_guide_factors(plan, layout)
    _check_densities(plan, pair, batch, layout)
    for site, estimator in plan.items():
        if estimator is not None:
            estimator.check_plan(site, plan, layout, inference.objective)
            estimator.check_program(site, pair, batch, layout)
    return plan


def _check_densities(plan: Mapping[str, Any], pair: Any, batch: Any, layout: Layout) -> None:
    """Raise where the guide's density is wanted at values cut from their path, and it has none there."""
    cut = {site: each for site, each in plan.items() if each is not None and (each.stops or each.scores)}
    laws = {site: base_law(layout.guide_laws[site]) for site in cut}
    flows = [site for site, law in laws.items() if hasattr(law, "transforms")]
    points = [site for site, law in laws.items() if isinstance(law, Delta) and cut[site].scores]
    if not flows and not points:
        return
    args, kwargs = split_batch(batch)
    with (
        forked(device_of(pair, args, kwargs)),
        pair.running(),
        keeping_buffers(pair),
        GuideDraws(plan),
    ):
        trace = poutine.trace(pair.guide).get_trace(*args, **kwargs)
    for site in flows:
        drawn = trace.nodes[site]
        try:
            drawn["fn"].log_prob(drawn["value"].detach().clone())
        except (KeyError, NotImplementedError):
            names = ", ".join(type(each).__name__ for each in laws[site].transforms)
            raise ValueError(
                f"Site {site!r} needs the guide's log-density at values cut from their path, but a transform of its "
                f"flow has no inverse ({names}). Use inference.Pathwise() under inference.ELBO() or "
                "inference.IWELBO(), or a flow with an inverse."
            ) from None
    for site in points:
        if base_law(trace.nodes[site]["fn"]).v.requires_grad:
            raise ValueError(
                f"Site {site!r} is a point in the guide, whose parameters have no log-density to follow. Use "
                "inference.Pathwise() under inference.ELBO()."
            )


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
    chosen = choice.values() if isinstance(choice, Mapping) else [choice]
    paired = any(isinstance(each, Estimator) and each.paired for each in chosen)
    comparable = 1 if paired else objective.num_particles  # members of a pair are not independent
    plan: dict[str, Any] = {}
    for site, kind in layout.latent.items():
        given = choice.get(site, "auto") if isinstance(choice, Mapping) else choice
        if not isinstance(given, Estimator):
            plan[site] = _automatic(objective, site, kind, site in (*layout.marked, *layout.sampled), comparable)
            continue
        if not sound(type(objective), type(given), kind):
            raise ValueError(_why_not(objective, given, site, kind))
        plan[site] = None if kind == EXACT_POSTERIOR else given
        if plan[site] is not None:
            given.check(site, layout.guide_laws[site], objective.num_particles)
            objective.check_estimator(site, given)
    _check_alone(plan, layout)
    if enumerated_states(plan, layout, objective) is not None and paired:
        summed = next(site for site, estimator in plan.items() if estimator is not None and estimator.sums)
        coupled = next(site for site, estimator in plan.items() if estimator is not None and estimator.paired)
        raise ValueError(
            f"Site {summed!r} is summed over and site {coupled!r} is drawn in antithetic pairs, which cannot both "
            f"decide what a particle is. Give {summed!r} inference.ScoreFunction(), or {coupled!r} "
            "inference.LeaveOneOut() with two particles or more or inference.Enumerate()."
        )
    return plan


def late_estimator(inference: Any, msg: Any, plan: Mapping[str, Any], layout: Layout) -> Estimator | None:
    """Estimator of a site that the guide draws for the first time after others were planned.

    Args:
        inference: What is done.
        msg: The site, about to be drawn.
        plan: Estimator of the sites that are known.
        layout: Their structure.

    Raises:
        ValueError: If the estimator is not sound there, or must know all its sites from the start.
    """
    site, kind, objective, choice = msg["name"], kind_of(msg), inference.objective, inference.estimator
    given = choice.get(site, "auto") if isinstance(choice, Mapping) else choice
    marked = site in layout.marked or enumerable({**msg, "is_observed": False})
    if isinstance(given, Estimator):
        if not sound(type(objective), type(given), kind):
            raise ValueError(_why_not(objective, given, site, kind))
        estimator = None if kind == EXACT_POSTERIOR else given
        if estimator is not None:
            estimator.check(site, msg["fn"], objective.num_particles)
            objective.check_estimator(site, estimator)
    else:
        paired = any(each is not None and each.paired for each in plan.values())
        comparable = 1 if paired else objective.num_particles
        estimator = _automatic(objective, site, kind, marked, comparable)
    if estimator is not None and (
        estimator.sums or estimator.paired or kind == MEAN_FIELD or type(estimator).law is not Estimator.law
    ):
        raise ValueError(
            f"Site {site!r} of the guide first appears after training began, and {type(estimator).__name__} must know "
            "its sites from the start. Use inference.ScoreFunction(), or inference.LeaveOneOut() with two particles or "
            "more, or draw the site at every call."
        )
    _check_alone({**plan, site: estimator}, layout)
    return estimator


def _check_alone(plan: Mapping[str, Estimator | None], layout: Layout) -> None:
    """Raise where an estimator that must serve all sites stands beside another one, or a mask spoils it."""
    for site, estimator in plan.items():
        if estimator is None or not estimator.alone:
            continue
        name = type(estimator).__name__
        for other, beside in plan.items():
            if beside is not None and type(beside) is not type(estimator):
                has = 'estimator="auto"' if isinstance(beside, Detached) else type(beside).__name__
                raise ValueError(
                    f"{name} at site {site!r} is sound only where every site has it, but site {other!r} has "
                    f'{has}. Give it to all of them, or leave both to estimator="auto".'
                )
        if site in layout.masked:
            raise ValueError(
                f"{name} at site {site!r} is not sound under a mask, which leaves the guide's log-density out of some "
                "weights. Use inference.Pathwise()."
            )


def _automatic(objective: Objective, site: str, kind: str, marked: bool, num_particles: int) -> Estimator | None:
    """What `"auto"` picks at a site, marked to be summed over or not, where so many particles can be compared."""
    if objective.own_gradient:
        return Detached()
    for name in registry.known("estimator"):
        estimator = registry.lookup("estimator", name)
        if estimator.preferred(kind, marked) and sound(type(objective), estimator, kind):
            return estimator()
    if objective.exact and not sound(type(objective), None, kind):
        raise ValueError(_why_not(objective, None, site, kind))
    picked = automatic(kind, num_particles)
    if picked is not None and not sound(type(objective), type(picked), kind):
        name = type(objective).__name__
        raise ValueError(
            f"{name} says its value and not what of it a draw at site {site!r} changes, whose gradient is a score term "
            f"({type(picked).__name__}). {_no_signal(type(objective))}"
        )
    return picked


def _no_signal(objective: type[Objective]) -> str:
    return (
        f"Use inference.ELBO() or inference.IWELBO(), or derive {objective.__name__} from one of them or let it say so "
        "by signal and columns; or draw the site from a reparameterised law."
    )


def _why_not(objective: Objective, given: Estimator | None, site: str, kind: str) -> str:
    name = 'estimator="auto"' if given is None else type(given).__name__
    needs = "" if given is None or given.supports(kind) else f": it needs {given.needs}"
    return (
        f"{name} under {type(objective).__name__} is not sound at site {site!r}, which is {kind}{needs}. "
        f"{instead(type(objective), None if given is None else type(given), kind)}"
    )


def instead(objective: type[Objective], estimator: type[Estimator] | None, kind: str) -> str:
    """What to use in the place of an estimator that is not sound for an objective at a site of a kind."""
    if objective.compares_draws:
        return WITHOUT_GUIDE if estimator is not None else NOT_DRAWN
    if objective.exact:
        return NOT_EXACT[kind]
    if objective.own_gradient:
        return f'Use estimator="auto": {objective.__name__} says by itself how its gradient is estimated.'
    if not sound(objective, None, kind):
        return _no_signal(objective)
    if estimator is not None and not estimator.serves(objective):
        known = [name for name in registry.known("objective") if estimator.serves(registry.lookup("objective", name))]
        return f'Use estimator="auto" at the site, or an objective that it is for: {" and ".join(known)}.'
    return INSTEAD[kind]
