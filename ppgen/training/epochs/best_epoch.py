"""Which epoch of a run is the best, and when to stop waiting for a better one."""

import math
from dataclasses import dataclass
from typing import Any

MINIMISED = ("free_energy_gap",)
"""Metrics of which less is better, whatever the objective; of others more is better, unless they are upper bounds."""

VALUES = ("valid_value", "train_value")
"""Metrics that are values of the objective: of an upper bound less is better."""


@dataclass
class BestEpoch:
    """Best epoch so far by one metric.

    Args:
        monitor: Name of the metric.
        patience: Epochs without a better value after which training stops; None never stops it.
        chance: Value of a model that has learned nothing. An epoch that, less its error, is worse than twice that is
            not called the best, however good it is beside the others: a run that diverges has a luckiest epoch too.
        minimised: Whether less is better; of some metrics it always is.
    """

    monitor: str
    patience: int | None = None
    chance: float = -math.inf
    minimised: bool = False
    value: float = math.nan
    epoch: int | None = None
    waited: int = 0

    def update(self, metrics: dict[str, Any], error: float = 0.0) -> bool:
        """Take the metrics of one epoch; True if it is the best so far. A NaN is never the best.

        Args:
            metrics: What was measured at the end of the epoch.
            error: Standard error of the monitored one over the rows that were looked at.
        """
        new = float(metrics.get(self.monitor, math.nan))
        less = self.minimised or self.monitor in MINIMISED
        better = new < self.value if less else new > self.value
        learned = new - error > 2 * self.chance
        if not math.isnan(new) and (math.isnan(self.value) or better) and (learned or self.epoch is None):
            self.value, self.waited = new, 0
            self.epoch = int(metrics["epoch"]) if learned else None
            return learned
        self.waited += 1
        return False

    @property
    def exhausted(self) -> bool:
        """Whether the patience is used up."""
        return self.patience is not None and self.waited >= self.patience

    def to_dict(self) -> dict[str, Any]:
        """State for a checkpoint."""
        return {"monitor": self.monitor, "value": self.value, "epoch": self.epoch, "waited": self.waited}

    def load(self, state: dict[str, Any]) -> None:
        """Put back what `to_dict` gave."""
        self.value, self.epoch, self.waited = float(state["value"]), state["epoch"], int(state["waited"])
