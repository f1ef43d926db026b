"""Arguments of `fit` that are numbers and switches, checked before any work starts."""

from dataclasses import dataclass
from typing import Any

from ppgen.checks.arguments import check_count, check_kind
from ppgen.checks.switches import check_switches
from ppgen.training.environment import PRECISIONS


@dataclass(frozen=True)
class Settings:
    """How long and how to train; see `fit` for the meaning of each field.

    Raises:
        ValueError: If a value is out of its range, or not exactly one of `epochs` and `steps` is given.
        TypeError: If a value has the wrong type.
    """

    epochs: int | None
    steps: int | None
    batch_size: int
    seed: int
    matmul_precision: str
    clip_norm: float | None
    early_stopping: int | None
    monitor: str | None
    restore_best: bool | None
    checkpoint_minutes: float
    compile: Any = "auto"
    drop_last: bool = False

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError(f"Give exactly one of epochs and steps, got epochs={self.epochs}, steps={self.steps}.")
        check_switches(optional=("restore_best",), restore_best=self.restore_best, drop_last=self.drop_last)
        for name in ("epochs", "steps", "batch_size", "early_stopping"):
            value = getattr(self, name)
            if value is not None or name == "batch_size":
                check_kind(name, value, int, "an int")
                check_count(name, value, wanted="1 or more", room=False)
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise TypeError(f"seed must be an int, got {type(self.seed).__name__}.")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed must be in [0, 2^63), got {self.seed}.")
        if not isinstance(self.matmul_precision, str) or self.matmul_precision not in PRECISIONS:
            raise ValueError(
                f"matmul_precision must be one of {', '.join(map(repr, PRECISIONS))}, got {self.matmul_precision!r}."
            )
        if not (isinstance(self.compile, bool) or self.compile == "auto"):
            raise ValueError(f'compile must be "auto", True or False, got {self.compile!r}.')
        if self.clip_norm is not None and not _number("clip_norm", self.clip_norm) > 0:
            raise ValueError(f"clip_norm must be positive, got {self.clip_norm}.")
        if not _number("checkpoint_minutes", self.checkpoint_minutes) >= 0:
            raise ValueError(f"checkpoint_minutes must be 0 or more, got {self.checkpoint_minutes}.")
        if self.monitor is not None and not isinstance(self.monitor, str):
            raise TypeError(f"monitor must be the name of a metric, got {type(self.monitor).__name__}.")

    @property
    def restores_best(self) -> bool:
        """Whether the run ends with its best weights: on request, and with early stopping unless declined."""
        return self.early_stopping is not None if self.restore_best is None else self.restore_best

    def steps_per_epoch(self, num_train: int) -> int:
        """Batches of an epoch: the last one may be smaller, unless it is dropped.

        Raises:
            ValueError: If dropping it leaves none.
        """
        if not self.drop_last:
            return -(-num_train // self.batch_size)
        if num_train < self.batch_size:
            raise ValueError(
                f"drop_last leaves no batch of {num_train} training rows at batch_size={self.batch_size}: give a "
                "smaller batch_size."
            )
        return num_train // self.batch_size

    def total_steps(self, steps_per_epoch: int) -> int:
        """Steps of the whole run."""
        return self.steps if self.steps is not None else (self.epochs or 0) * steps_per_epoch

    def to_config(self) -> dict[str, Any]:
        """What a checkpoint records: all that changes the result."""
        names = ("epochs", "steps", "batch_size", "seed", "matmul_precision", "clip_norm", "early_stopping")
        dropped = {"drop_last": True} if self.drop_last else {}  # as older runs have recorded it: not at all
        return {name: getattr(self, name) for name in names} | {"restore_best": self.restores_best} | dropped


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}.")
    return value
