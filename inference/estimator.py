"""Gradient estimators: how the gradient of an objective is estimated at the sites that the guide draws."""

from dataclasses import dataclass
from typing import ClassVar

from ppgen.inference.layout import DISCRETE, EXACT_POSTERIOR, REPARAMETERISED, Layout


@dataclass(frozen=True)
class Estimator:
    """A way to estimate the gradient, sound at some kinds of sites.

    Attributes:
        kinds: Kinds of sites at which it is sound.
        needs: What it asks of a site, for the error message.
    """

    kinds: ClassVar[frozenset[str]] = frozenset()
    needs: ClassVar[str] = ""

    @classmethod
    def supports(cls, kind: str) -> bool:
        """Whether it is sound at a site of that kind; an exact posterior needs no estimator at all."""
        return kind == EXACT_POSTERIOR or kind in cls.kinds


def check_estimator(estimator: Estimator | str, layout: Layout) -> None:
    """Raise unless the estimator is sound at every site that the guide draws.

    Raises:
        ValueError: Names the site and says what to use instead.
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
        if isinstance(estimator, Estimator) and not type(estimator).supports(kind):
            raise ValueError(
                f"{type(estimator).__name__} is not sound at site {name!r}, which is {kind}: it needs "
                f"{type(estimator).needs}. {INSTEAD[kind]}"
            )
        if estimator == "auto" and kind == DISCRETE:
            raise ValueError(f"No estimator is known for site {name!r}, which is {kind}. {INSTEAD[kind]}")


INSTEAD = {
    REPARAMETERISED: 'Use estimator="auto" or inference.Pathwise().',
    EXACT_POSTERIOR: 'Use estimator="auto": such a site needs none.',
    DISCRETE: (
        "Use a reparameterised law in the guide (such as Normal, or RelaxedBernoulliStraightThrough), or, if the guide "
        'is the exact posterior there, mark the site infer={"posterior": "exact"}.'
    ),
}
