"""Which steps are followed to find the costs downstream of each site whose draws carry no gradient."""

import contextlib
from collections.abc import Iterator
from typing import Any

from ppgen.inference.engine.late_sites import Structures
from ppgen.inference.objectives.own_gradient import OwnGradient
from ppgen.inference.structure.dependencies import Dependencies
from ppgen.inference.structure.layout import Layout
from ppgen.inference.structure.separate_plates import separate_plates


class FollowedRuns:
    """Follows runs of guide and model where a score function may leave out a part of a log-weight.

    A step is followed while it runs, eagerly or once while it is traced, for another step may depend on other draws (a
    branch, a counter, a warm-up). It is followed no more where the first one leaves nothing out, for a signal made of
    all of a log-weight is right whatever depends on what.

    Args:
        structures: Sites of the pair and their estimators.
        pair: A pair.
        batch: A batch of data.
    """

    def __init__(self, structures: Structures, pair: Any, batch: Any) -> None:
        self._structures = structures
        self._whole: Layout | None = None  # the structure in which nothing is left out
        self._separate: frozenset[str] = frozenset()
        if self._useful():
            self._separate = separate_plates(pair, batch, structures.layout, structures.scored)

    @contextlib.contextmanager
    def run(self) -> Iterator[Dependencies | None]:
        """Context of one step of training, with what is found out in it; None where it is not followed."""
        if not self._useful():
            yield None
            return
        dependencies, layout = Dependencies(self._separate), self._structures.layout
        with dependencies.following():
            yield dependencies
        if not dependencies.leaves_out:
            self._whole = layout

    def _useful(self) -> bool:
        """Whether draws are scored by a mean of log-weights, and there is more than one latent and what is observed."""
        scored, plan = self._structures.scored, self._structures.plan.values()
        if not scored or any(estimator is not None and estimator.sums for estimator in plan):
            return False
        layout, objective = self._structures.layout, self._structures.inference.objective
        if layout is self._whole or isinstance(objective, OwnGradient) or not type(objective).is_mean_log_weight():
            return False
        inner = (frame.name != layout.plate for name in scored for frame in layout.sites[name].frames)
        return len(layout.sites) > 2 or any(inner)
