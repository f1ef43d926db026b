"""Factors of a guide: log-densities of draws that are made elsewhere than at its sites, or terms with a gradient."""

from collections.abc import Mapping
from typing import Any

from pyro.distributions import Unit

from ppgen.inference.structure.layout import DISCRETE, Layout
from ppgen.inference.structure.traces import base_law


def outside_densities(layout: Layout) -> tuple[str, ...]:
    r"""Factors of the guide that are the log-density of draws without a path (`has_rsample=False`).

    .. math:: q(z) \propto \exp \sum_f f(z), \qquad E_q\Big[\nabla \sum_f f(z)\Big] = 0

    Together they are one law: a factor may hold an energy and another one minus log Z, and then neither score has a
    mean of zero by itself. Nothing may be left out of the costs of one that is left in those of another.
    """
    return tuple(name for name, law in layout.guide_laws.items() if _scored(law, layout.latent[name]))


def apart(layout: Layout) -> tuple[str, str] | None:
    """Two parts of that law of which one lies inside the data plate and the other outside; None where all are alike."""
    parts = outside_densities(layout)
    inside = [name for name in parts if layout.inside(name)]
    outside = [name for name in parts if not layout.inside(name)]
    return (inside[0], outside[0]) if inside and outside else None


def check_guide_factors(plan: Mapping[str, Any], layout: Layout) -> None:
    """Raise where a factor of the guide does not say what it is, or parts of one law would be scored apart.

    Raises:
        ValueError: If a factor leaves `has_rsample` out; if factors that are one law have several estimators, or lie on
            both sides of the data plate and have a baseline that may tell rows apart.
    """
    for name, law in layout.guide_laws.items():
        if isinstance(base_law(law), Unit) and "has_rsample" not in vars(base_law(law)):
            raise ValueError(
                f"pyro.factor {name!r} of the guide does not say how the draws that it weighs are made. Give it "
                "has_rsample=True where it has a gradient of its own (a penalty, a Jacobian of reparameterised draws), "
                "or has_rsample=False where it is the log-density of draws that have no path and no site."
            )
    parts = outside_densities(layout)
    for name in parts[1:]:
        if plan[name] != plan[parts[0]]:
            raise ValueError(
                f"pyro.factor {parts[0]!r} and {name!r} of the guide (has_rsample=False) are one log-density, whose "
                f"score alone has a mean of zero, but one has {plan[parts[0]]!r} and the other {plan[name]!r}. Give "
                "both the same estimator."
            )
    sides = apart(layout)
    baseline = None if sides is None else getattr(plan[sides[0]], "baseline", None)
    if sides is not None and baseline is not None and not baseline.linear:
        raise ValueError(
            f"pyro.factor {sides[0]!r} inside plate {layout.plate!r} and {sides[1]!r} outside of it are one "
            f"log-density, and {baseline!r} is not the same for a row as for all of them. Use "
            "inference.ScoreFunction(), or write both inside the plate."
        )


def _scored(law: Any, kind: str) -> bool:
    return isinstance(base_law(law), Unit) and kind == DISCRETE
