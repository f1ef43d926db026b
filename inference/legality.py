"""Which parts of an inference are sound together, for which kind of site."""

from dataclasses import dataclass

from ppgen import registry
from ppgen.inference.layout import DISCRETE, EXACT_POSTERIOR, REPARAMETERISED, UNDIRECTED, Layout
from ppgen.inference.negative_phase import NegativePhase
from ppgen.inference.plan import instead, sound


@dataclass(frozen=True)
class Rule:
    """One row of the legality table.

    Attributes:
        objective: Registered name of the objective.
        part: Registered name of the estimator or the negative phase; "auto", or "none" for no negative phase.
        site: Kind of the site: reparameterised, not reparameterised or exact posterior (drawn by the guide), or
            undirected (of unknown log Z).
        legal: Whether the three go together.
        instead: What to use otherwise; empty for legal rows.
    """

    objective: str
    part: str
    site: str
    legal: bool
    instead: str = ""


def legality() -> list[Rule]:
    """The legality table: every registered objective with every estimator and negative phase at every kind of site.

    Example:
        >>> from ppgen import inference
        >>> [rule.instead for rule in inference.legality() if not rule.legal][:1] != []
        True
    """
    rules = []
    for objective in registry.OBJECTIVES:
        for estimator in ("auto", *registry.ESTIMATORS):
            for kind in (REPARAMETERISED, DISCRETE, EXACT_POSTERIOR):
                legal = estimator == "auto" or _sound(objective, estimator, kind)
                rules.append(
                    Rule(objective, estimator, kind, legal, "" if legal else _instead(objective, estimator, kind))
                )
        rules.append(Rule(objective, "none", UNDIRECTED, False, _NEEDS_PHASE))
        rules.extend(Rule(objective, phase, UNDIRECTED, True) for phase in registry.NEGATIVE_PHASES)
    return rules


def _sound(objective: str, estimator: str, kind: str) -> bool:
    return sound(registry.lookup("objective", objective), registry.lookup("estimator", estimator), kind)


def _instead(objective: str, estimator: str, kind: str) -> str:
    return instead(registry.lookup("objective", objective), registry.lookup("estimator", estimator), kind)


def check_negative_phase(phase: NegativePhase | None, layout: Layout) -> None:
    """Raise unless undirected sites have a negative phase, and only they.

    Raises:
        ValueError: Names the site and says what to use.
    """
    if layout.undirected and phase is None:
        raise ValueError(f"Site {layout.undirected[0]!r} is undirected: its log Z is not known. {_NEEDS_PHASE}")
    if phase is not None and not layout.undirected:
        raise ValueError(
            f"negative_phase={phase!r} was given, but the model has no undirected site whose log Z is unknown. "
            "Leave it out."
        )


_NEEDS_PHASE = (
    "Give a negative phase: inference.PCD(), inference.CD(k=1), or inference.ExactPartition() for a small machine."
)
