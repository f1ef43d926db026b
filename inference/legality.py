"""Which parts of an inference are sound together, for which kind of site."""

from dataclasses import dataclass

from ppgen import registry
from ppgen.inference.layout import DISCRETE, EXACT_POSTERIOR, REPARAMETERISED, UNDIRECTED, Layout
from ppgen.inference.negative_phase import NegativePhase
from ppgen.inference.objective import Objective
from ppgen.inference.plan import advice


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
        made = registry.lookup("objective", objective)
        for name in ("auto", *registry.ESTIMATORS):
            estimator = None if name == "auto" else registry.lookup("estimator", name)
            for kind in (REPARAMETERISED, DISCRETE, EXACT_POSTERIOR):
                instead = advice(made, estimator, kind)
                rules.append(Rule(objective, name, kind, not instead, instead))
        rules.append(Rule(objective, "none", UNDIRECTED, False, _NEEDS_PHASE))
        dreams = made().dreams
        for phase in registry.NEGATIVE_PHASES:
            rules.append(Rule(objective, phase, UNDIRECTED, not dreams, _NO_DREAMS if dreams else ""))
    return rules


def check_negative_phase(objective: Objective, phase: NegativePhase | None, layout: Layout) -> None:
    """Raise unless undirected sites have a negative phase, and only they, and the objective draws from none.

    Raises:
        ValueError: Names the site and says what to use.
    """
    if layout.undirected and phase is None:
        raise ValueError(f"Site {layout.undirected[0]!r} is undirected: its log Z is not known. {_NEEDS_PHASE}")
    if layout.undirected and objective.dreams:
        raise ValueError(
            f"Site {layout.undirected[0]!r} is undirected, so {type(objective).__name__} cannot dream. {_NO_DREAMS}"
        )
    if phase is not None and not layout.undirected:
        raise ValueError(
            f"negative_phase={phase!r} was given, but the model has no undirected site whose log Z is unknown. "
            "Leave it out."
        )


_NEEDS_PHASE = (
    "Give a negative phase: inference.PCD(), inference.CD(k=1), or inference.ExactPartition() for a small machine."
)
_NO_DREAMS = "Use inference.ELBO() or inference.IWELBO(): a sleep phase would have to draw from the machine."
