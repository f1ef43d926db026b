"""Exact sums over discrete sites of few values."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ppgen.checks.arguments import check_count
from ppgen.inference.estimators.estimator import Estimator
from ppgen.inference.estimators.pathwise import Pathwise
from ppgen.inference.particles.joint_states import MAX_STATES, JointStates, joint_states
from ppgen.inference.structure.layout import DISCRETE, MEAN_FIELD, REPARAMETERISED, Layout
from ppgen.inference.structure.traces import element_law


@dataclass(frozen=True)
class Enumerate(Estimator):
    r"""Exact sum over the joint states of the sites that it serves, instead of draws.

    .. math:: \sum_s q(s \mid x) \, E_{q(z \mid s, x)}[\log p(x, s, z) - \log q(s, z \mid x)]

    Value and gradient have no variance from these sites: those of Bernoulli vectors, categorical and one-hot variables.
    Each state is a particle, or as many as the objective has; other sites are drawn for each state anew, but for
    reparameterised ones that the guide draws before, whose draws all states share.

    Sites of the guide that carry Pyro's own mark `infer={"enumerate": "parallel"}` have this estimator under `"auto"`
    where the objective allows it. Sites of the model that carry the mark and that the guide does not draw are summed
    out under any objective and with any estimator: the log-weight is that of the marginal.

    .. math:: \log \sum_c p(c) \, p(x, z \mid c) - \log q(z \mid x)

    Sites of the guide that are marked `infer={"enumerate": "parallel", "num_samples": n}`, of whatever law, have n
    local draws under the ELBO for each draw of the sites that their law depends on; means are over all combinations.
    Elsewhere, as in an evaluation, the mark asks for nothing, and a particle is one draw.

    References:
        | Tensor Variable Elimination for Plated Factor Graphs (Obermeyer et al., 2019),
          https://arxiv.org/abs/1902.03210

    Args:
        max_states: Joint states of all enumerated sites, for each datum, that are not too many to be listed. Of more,
            expectations are taken by variable elimination, as along a chain, if no site has more values by itself, the
            objective is a mean of log-weights, and the guide's other sites are reparameterised.

    Raises:
        ValueError: If `max_states` is not positive; before training, if there are more states.

    Example:
        >>> from ppgen import inference
        >>> inference.Inference(inference.ELBO(), inference.Enumerate()).estimator
        Enumerate(max_states=1024)
    """

    kinds: ClassVar[frozenset[str]] = frozenset({DISCRETE})
    needs: ClassVar[str] = "a distribution of finite support in the guide"
    sums: ClassVar[bool] = True
    max_states: int = MAX_STATES

    @classmethod
    def preferred(cls, kind: str, marked: bool) -> bool:
        """Whether the program marks a discrete site as one to be summed over."""
        return marked and kind in (DISCRETE, MEAN_FIELD)

    @classmethod
    def serves(cls, objective: type[Any]) -> bool:
        """Whether the objective is a mean of log-weights, or the log-likelihood itself."""
        return objective.exact or objective.is_mean_log_weight()

    def __post_init__(self) -> None:
        check_count("max_states", self.max_states, wanted="a positive integer")


def enumerated_states(plan: Mapping[str, Any], layout: Layout, objective: Any) -> JointStates | None:
    """Joint states of the sites under `Enumerate`; None if there are none.

    Args:
        plan: Estimator by site.
        layout: Structure of the pair.
        objective: What is followed.

    Raises:
        ValueError: If there are too many states, or a site has no finite set of values.
    """
    chosen = {site: estimator for site, estimator in plan.items() if isinstance(estimator, Enumerate)}
    if not chosen:
        return None
    if layout.coupled:
        raise ValueError(
            f"Enumerate at the sites {list(chosen)} sums over the states of each row by itself, but site "
            f"{layout.coupled[0]!r} outside plate {layout.plate!r} joins the rows: it depends on latents inside of the "
            "plate. Use inference.LeaveOneOut() with two particles or more, or inference.ScoreFunction()."
        )
    if expected_sites(plan, layout, objective):
        return None
    states = joint_states(chosen, layout.guide_laws, layout)
    most = min(estimator.max_states for estimator in chosen.values())
    if states.count > most:
        raise ValueError(
            f"Enumerate at the sites {list(chosen)} has {states.told} joint states for each datum, more than "
            f"max_states={most}. Use inference.LeaveOneOut() or inference.ScoreFunction() at the larger ones, with a "
            "mapping of estimators by site, or raise max_states."
        )
    return states


def expected_sites(plan: Mapping[str, Any], layout: Layout, objective: Any) -> tuple[str, ...]:
    """Sites under `Enumerate` whose joint states are too many to be listed, but not the values of each by itself.

    Expectations under their law are then made by variable elimination, which needs their marginals alone. The other
    sites must have a gradient along their path, as no score of theirs is known.
    """
    chosen = {site: estimator for site, estimator in plan.items() if isinstance(estimator, Enumerate)}
    if layout.sampled:
        _check_local_draws(plan, layout, objective)
        return tuple(site for site in plan if site in chosen or site in layout.sampled)
    if objective.exact or not objective.vectorize_particles:
        return ()
    if not chosen or layout.marginalised or layout.coupled or any(layout.sites[site].masked for site in chosen):
        return ()
    states = joint_states(chosen, layout.guide_laws, layout)
    most = min(estimator.max_states for estimator in chosen.values())
    if states.count <= most or any(
        len(element_law(layout.guide_laws[site]).enumerate_support(expand=False)) ** _in_event(layout.guide_laws[site])
        > most
        for site in chosen
    ):
        return ()
    others = [each for site, each in plan.items() if site not in chosen and not isinstance(each, Pathwise | None)]
    kinds = [layout.latent[site] for site in layout.latent if site not in chosen]
    return tuple(chosen) if not others and all(kind == REPARAMETERISED for kind in kinds) else ()


def _check_local_draws(plan: Mapping[str, Any], layout: Layout, objective: Any) -> None:
    """Raise where sites that are marked to be drawn several times stand beside what their means cannot hold."""
    site, count = layout.sampled[0], layout.sites[layout.sampled[0]].samples
    told = f"Site {site!r} is marked to be drawn num_samples={count} times"
    instead = f"take the marks away and num_particles={count} instead"
    if objective.exact or not objective.is_mean_log_weight():
        raise ValueError(
            f"{told}, each draw beside those of other sites, and {type(objective).__name__} is no mean of log-weights: "
            f"take the marks away, or inference.ELBO()."
        )
    if layout.marginalised or layout.coupled:
        other = (*layout.marginalised, *layout.coupled)[0]
        what = "is summed out in the model" if layout.marginalised else "joins the rows of the data plate"
        raise ValueError(f"{told}, and site {other!r} {what}, which local draws cannot stand beside: {instead}.")
    for name, estimator in plan.items():
        own = name in layout.sampled
        if layout.sites[name].masked and (own or isinstance(estimator, Enumerate)):
            raise ValueError(f"{told}, and site {name!r} of the guide stands under a mask: {instead}.")
        if estimator is None or isinstance(estimator, Enumerate) or type(estimator) is Pathwise:
            continue
        if own:
            raise ValueError(f'{told}, and has {type(estimator).__name__}: leave it to "auto", or {instead}.')
        raise ValueError(
            f"{told}, and site {name!r} has {type(estimator).__name__}, whose score feels each combination of draws by "
            f"itself: mark {name!r} too, draw it from a reparameterised law, or {instead}."
        )
    if plan[site] is None:
        raise ValueError(f"{told}, and from the exact posterior, for which one draw is as good: take the mark away.")


def _in_event(law: Any) -> int:
    """Variables of a site in its event dimensions."""
    return math.prod(law.event_shape) // math.prod(element_law(law).event_shape)


def shared_sites(plan: Mapping[str, Any], layout: Layout) -> frozenset[str]:
    """Sites whose draws can be the same in all states: reparameterised ones that the guide draws before any other."""
    shared = []
    for site, kind in layout.latent.items():
        if kind != REPARAMETERISED or plan[site] is None or plan[site].scores:
            break
        shared.append(site)
    return frozenset(shared)
