"""How values are drawn at the guide's sites while training: with or without a gradient, alone or in pairs."""

from collections.abc import Callable, Mapping
from typing import Any

from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from ppgen.inference.estimators.antithetic_pairs import Pairing
from ppgen.inference.estimators.estimator import Estimator
from ppgen.inference.structure.layout import kind_of
from ppgen.inference.structure.plates import PARTICLES
from ppgen.inference.structure.traces import base_law


class GuideDraws(Messenger):
    """Handler under which each latent site of the guide is drawn as its estimator wants it.

    Args:
        plan: Estimator by site of the guide; None where none is needed.
        pairing: How the runs are coupled; None if they are independent.
        steps: Steps taken, for estimators that follow a schedule; None before the first one.
        late: Plans a site of the guide that the plan does not hold yet; None leaves such a site as it is.

    Attributes:
        steps: Steps taken, after a run; still None if no estimator follows a schedule.
    """

    def __init__(
        self,
        plan: Mapping[str, Estimator | None],
        pairing: Pairing | None = None,
        steps: Tensor | None = None,
        late: Callable[[Any], None] | None = None,
    ) -> None:
        super().__init__()
        self.plan, self.pairing, self.steps, self.late = plan, pairing, steps, late

    def _pyro_sample(self, msg: Any) -> None:
        name = msg["name"]
        if msg["is_observed"] or site_is_subsample(msg):
            return
        if name not in self.plan:
            if self.late is None or msg["value"] is not None:
                return
            self.late(msg)
        estimator, value = self.plan[name], None
        if estimator is not None:
            if msg["value"] is None and not estimator.supports(kind_of(msg)):
                raise ValueError(
                    f"Site {name!r} of the guide is {kind_of(msg)} at this call, but {type(estimator).__name__}, "
                    f"chosen when it was another kind of site, needs {estimator.needs or 'another'}. Give the two "
                    "names of their own."
                )
            msg["fn"] = estimator.law(msg["fn"])  # of the guide, and of the model at the guide's value
        if msg["value"] is not None:
            return
        if estimator is not None:
            if estimator.scheduled and self.steps is None:
                self.steps = base_law(msg["fn"]).logits.new_zeros(())
            value = estimator.draw(name, msg["fn"], self.steps)
        pairing = self.pairing if any(frame.name == PARTICLES for frame in msg["cond_indep_stack"]) else None
        if pairing is not None and name in pairing.sites:
            value = pairing.bits(name, msg["fn"])
        elif pairing is not None:
            value = msg["fn"](*msg["args"], **msg["kwargs"]) if value is None else value
            value = pairing.shared(name, value)
        if value is not None:
            msg["value"], msg["done"] = value, True

    def _pyro_post_sample(self, msg: Any) -> None:
        estimator = self.plan.get(msg["name"])
        if estimator is not None and estimator.scores and not msg["is_observed"]:
            msg["value"] = msg["value"].detach()
