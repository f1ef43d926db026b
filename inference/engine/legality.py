"""Which parts of an inference are sound together, for which kind of site."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ppgen import registry
from ppgen.closed_form import ClosedFormPair
from ppgen.inference.engine.plan import instead, sound
from ppgen.inference.negative_phases.negative_phase import NegativePhase
from ppgen.inference.objectives.draw_objective import NOT_DRAWN
from ppgen.inference.objectives.elbo import ELBO
from ppgen.inference.objectives.maximum_likelihood import MaximumLikelihood
from ppgen.inference.objectives.objective import Objective
from ppgen.inference.structure.layout import (
    DISCRETE,
    EXACT_POSTERIOR,
    MEAN_FIELD,
    RECOGNISED,
    REPARAMETERISED,
    UNDIRECTED,
    Layout,
)


@dataclass(frozen=True)
class Rule:
    """One row of the legality table.

    Attributes:
        objective: Registered name of the objective.
        part: Registered name of the estimator, the negative phase or the update; "auto", or "none" for no negative
            phase.
        site: Kind of the site: reparameterised, not reparameterised, mean field or exact posterior (drawn by the
            guide), undirected (of unknown log Z), or undirected and recognised (drawn by the guide from a law of its
            own).
        legal: Whether the three go together.
        instead: What to use otherwise; empty for legal rows.
    """

    objective: str
    part: str
    site: str
    legal: bool
    instead: str = ""


def legality() -> list[Rule]:
    """The legality table: every registered objective with every estimator, negative phase and update, by kind of site.

    Example:
        >>> from ppgen import inference
        >>> [rule.instead for rule in inference.legality() if not rule.legal][:1] != []
        True
    """
    rules = []
    for objective in registry.known("objective"):
        for estimator in ("auto", *registry.known("estimator")):
            for kind in (REPARAMETERISED, DISCRETE, MEAN_FIELD, EXACT_POSTERIOR):
                rules.append(_rule(objective, estimator, kind))
        known = registry.lookup("objective", objective)
        if known.compares_draws:
            parts = ("none", *registry.known("negative phase"))
            rules += [Rule(objective, part, kind, False, NOT_DRAWN) for kind in _MACHINES for part in parts]
            continue
        if not known.trains_model:
            parts = ("none", *registry.known("negative phase"))
            rules += [Rule(objective, part, kind, False, _GUIDE_ALONE) for kind in _MACHINES for part in parts]
            continue
        rules.append(Rule(objective, "none", UNDIRECTED, False, _NEEDS_PHASE))
        for phase in registry.known("negative phase"):
            advice = _NO_FANTASIES if known().uses_fantasies else ""
            if not advice and known.own_gradient and registry.lookup("negative phase", phase).of_values:
                advice = _NOT_SUMMED_OUT
            rules.append(Rule(objective, phase, UNDIRECTED, not advice, advice))
        latent = _rule(objective, "auto", DISCRETE)
        rules.append(Rule(objective, "none", RECOGNISED, False, latent.instead or _NEEDS_PHASE))
        for phase in registry.known("negative phase"):
            alone = latent.legal and registry.lookup("negative phase", phase).of_values
            advice = _NOT_DATA if alone else latent.instead
            rules.append(Rule(objective, phase, RECOGNISED, not advice, advice))
    return [*rules, *_rules_of_updates()]


def _rules_of_updates() -> list[Rule]:
    """Updates in closed form raise the ELBO, whatever the law of a latent; machines have no maximum of that kind.

    From exact posteriors the ELBO is the log-likelihood, and they raise that: EM.
    """
    found = []
    for objective in registry.known("objective"):
        known = registry.lookup("objective", objective)
        for update in registry.known("update"):
            for kind in (REPARAMETERISED, DISCRETE, EXACT_POSTERIOR):
                em = known is MaximumLikelihood and kind == EXACT_POSTERIOR
                advice = "" if known is ELBO or em else _NOT_EXACT if known is MaximumLikelihood else _PLAIN_ELBO
                found.append(Rule(objective, update, kind, not advice, advice))
            found += [Rule(objective, update, kind, False, _NO_MAXIMUM) for kind in (MEAN_FIELD, *_MACHINES)]
    return found


def _rule(objective: str, estimator: str, kind: str) -> Rule:
    chosen = None if estimator == "auto" else registry.lookup("estimator", estimator)
    known = registry.lookup("objective", objective)
    parts = known, chosen, kind
    legal = sound(*parts)
    # The machine behind such a site is undirected.
    if legal and kind == MEAN_FIELD and not (known.trains_model and not known().uses_fantasies):
        return Rule(objective, estimator, kind, False, _NO_FANTASIES if known.trains_model else _GUIDE_ALONE)
    return Rule(objective, estimator, kind, legal, "" if legal else instead(*parts))


def check_negative_phase(phase: NegativePhase | None, layout: Layout, objective: Objective) -> None:
    """Raise unless undirected sites have a negative phase, and only they, and the guide learns from fantasies there.

    A guide that is the exact or the mean-field posterior has no parameters of its own that could, and an observed
    machine no guide. A phase that is a function of values needs the latent ones summed out.

    Raises:
        ValueError: Names the site and says what to use.
    """
    if layout.undirected and not objective.trains_model:
        raise ValueError(
            f"{type(objective).__name__} moves the guide alone, but site {layout.undirected[0]!r} is undirected: its "
            f"machine is what learns. {_GUIDE_ALONE}"
        )
    if layout.undirected and phase is None:
        raise ValueError(f"Site {layout.undirected[0]!r} is undirected: its log Z is not known. {_NEEDS_PHASE}")
    unrecognised = [site for site in layout.undirected if site not in layout.recognised]
    if unrecognised and objective.uses_fantasies:
        site = unrecognised[0]
        raise ValueError(f"Fantasies cannot be drawn through the undirected site {site!r}. {_NO_FANTASIES}")
    drawn = [site for site in layout.undirected if layout.latent.get(site, EXACT_POSTERIOR) != EXACT_POSTERIOR]
    if phase is not None and phase.of_values and drawn:
        raise ValueError(
            f"{type(phase).__name__} needs data at the machine, but the units at site {drawn[0]!r} are drawn by the "
            f"guide, and not from their exact posterior. {_NOT_DATA}"
        )
    summed_out = set(layout.undirected) & set(layout.latent)
    if phase is not None and phase.of_values and objective.own_gradient and summed_out:
        raise ValueError(
            f"{type(phase).__name__} needs the latent units at site {layout.undirected[0]!r} to be summed out, and the "
            f"objective draws them. {_NOT_SUMMED_OUT}"
        )
    if phase is not None and not layout.undirected:
        raise ValueError(
            f"negative_phase={phase!r} was given, but the model has no undirected site whose log Z is unknown. "
            "Leave it out."
        )


def check_trains_itself(inference: Any, num_data: int | None) -> None:
    """Raise where an update is given to what moves parameters by itself: `pyro.infer.SVI`, which says no `num_data`."""
    if inference.update is not None and num_data is None:
        raise ValueError(
            f"update={inference.update!r} sets parameters by itself, but a loss of pyro.infer.SVI only gives gradients "
            "to an optimiser. Train by ppgen.fit, or leave the update out: inference.ELBO()."
        )


def check_update(inference: Any, pair: Any, layout: Layout) -> None:
    """Raise unless parameters in closed form raise what the inference reports, for a pair that says what they are.

    Raises:
        ValueError: Names what is in the way and says what to use.
    """
    update, objective, model = type(inference.update).__name__, inference.objective, type(pair).__name__
    if layout.undirected:
        raise ValueError(
            f"{update} maximises a density, and the undirected site {layout.undirected[0]!r} has no maximum in closed "
            f"form. {_NO_MAXIMUM}"
        )
    plain = type(objective) in (ELBO, MaximumLikelihood)
    if not plain or objective != type(objective)(vectorize_particles=objective.vectorize_particles):
        site = next(iter(layout.latent or layout.model_laws), None)
        where = "" if site is None else f" at site {site!r}"
        raise ValueError(
            f"{update} under {objective!r} is not sound{where}: it raises the mean log-density of the model under the "
            f"guide. {_PLAIN_ELBO}"
        )
    drawn = [site for site, kind in layout.latent.items() if kind != EXACT_POSTERIOR]
    if type(objective) is MaximumLikelihood and drawn:
        raise ValueError(
            f"{update} under {objective!r} is EM, which takes latents from their exact posterior, and the guide's law "
            f"at site {drawn[0]!r} is not marked as that (infer={{'posterior': 'exact'}}). {_NOT_EXACT}"
        )
    if not isinstance(pair, ClosedFormPair):
        missing = next(
            each for each in ("sufficient_statistics", "maximise") if not callable(getattr(pair, each, None))
        )
        raise ValueError(
            f"{update} sets parameters in closed form, and {model} does not say what they are: it has no method "
            f"{missing!r} (ppgen.closed_form.ClosedFormPair). {_BY_GRADIENT}"
        )
    if layout.global_latents:
        raise ValueError(
            f"{update} adds up statistics of rows, but the guide draws site {layout.global_latents[0]!r} once for all "
            f"of them. {_BY_GRADIENT}"
        )


def check_single_draws(inference: Any, plan: Mapping[str, Any]) -> None:
    """Raise where an update would meet several values at a site, which statistics of one draw a datum do not count.

    Raises:
        ValueError: Names the site and says what to use.
    """
    for site, estimator in plan.items():
        if inference.update is not None and estimator is not None and (estimator.sums or estimator.paired):
            raise ValueError(
                f"{type(inference.update).__name__} takes the guide's law and one draw of it at site {site!r}, where "
                f'{type(estimator).__name__} makes several. Use estimator="auto", and no '
                'infer={"enumerate": "parallel"} at the site.'
            )


_BY_GRADIENT = "Use a gradient: leave the update out, inference.ELBO()."
_PLAIN_ELBO = "Use inference.ELBO() of one particle and without weights of its terms, or leave the update out."
_NOT_EXACT = 'Use inference.ELBO() with the update: inference.Alternating(), "alternating".'
_NO_MAXIMUM = "Use a gradient: leave the update out, and give a negative phase, such as inference.PCD()."
_MACHINES = (UNDIRECTED, RECOGNISED)
_GUIDE_ALONE = "Use inference.ELBO() or inference.IWELBO(), which train model and guide."
_NO_FANTASIES = "Use an objective without a sleep phase: inference.ELBO() or inference.ReweightedWakeSleep()."
_NOT_SUMMED_OUT = "Use inference.ELBO(), under which hidden units of an exact posterior are summed out."
_NOT_DATA = "Use a negative phase for machines of latent units: inference.PCD() or inference.CD(k=1)."
_NEEDS_PHASE = (
    "Give a negative phase: inference.PCD(), inference.CD(k=1), or inference.ExactPartition() for a small machine."
)
