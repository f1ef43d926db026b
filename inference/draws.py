"""How values are drawn at the guide's sites while training: with or without a gradient, alone or in pairs."""

from collections.abc import Mapping
from typing import Any

from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample

from ppgen.inference.estimator import Estimator


class Draws(Messenger):
    """Handler under which each latent site of the guide is drawn as its estimator wants it.

    Args:
        plan: Estimator by site of the guide; None where none is needed.
    """

    def __init__(self, plan: Mapping[str, Estimator | None]) -> None:
        super().__init__()
        self.plan = plan

    def _pyro_sample(self, msg: Any) -> None:
        estimator = self.plan.get(msg["name"])
        if estimator is None or msg["is_observed"] or msg["value"] is not None or site_is_subsample(msg):
            return
        value = estimator.draw(msg["name"], msg["fn"])
        if value is not None:
            msg["value"], msg["done"] = value, True

    def _pyro_post_sample(self, msg: Any) -> None:
        estimator = self.plan.get(msg["name"])
        if estimator is not None and estimator.scores and not msg["is_observed"]:
            msg["value"] = msg["value"].detach()
