"""The one hook of training: a function that is called with an `Event`, and the logs that are built on it."""

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ppgen.arguments import check_path
from ppgen.training.checkpoint import replacing

if TYPE_CHECKING:
    from ppgen.training.run import Run


@dataclass
class Event:
    """What a callback is told.

    Args:
        kind: `"start"` before the first step, `"epoch"` after each epoch's metrics, `"checkpoint"` after a
            checkpoint was written, `"end"` after the last step.
        run: The run so far; `run.pair` is the pair in training.
        epoch: Epochs finished.
        step: Optimiser steps taken.
        metrics: Metrics of the epoch that just ended; empty for other kinds.

    A callback may call `stop()`: training ends after this event as if it had been interrupted, with a
    checkpoint if there is a folder, and a later `fit(resume=...)` goes on. What a callback raises ends
    training at once.

    Example:
        >>> def stop_after_three(event):
        ...     if event.kind == "epoch" and event.epoch == 3:
        ...         event.stop()
    """

    kind: Literal["start", "epoch", "checkpoint", "end"]
    run: "Run"
    epoch: int
    step: int
    metrics: dict[str, Any] = field(default_factory=dict)
    stopped: bool = False

    def stop(self) -> None:
        """End training after this event."""
        self.stopped = True


Callback = Callable[[Event], None]


class CSVLog:
    """Callback that keeps the metrics as a table, one row an epoch.

    Args:
        path: File to write; it is replaced at the start by the rows that the run already has.
    """

    def __init__(self, path: str | Path) -> None:
        check_path("path", path)
        self.path = Path(path)
        self._columns: list[str] = []

    def __call__(self, event: Event) -> None:
        """Write what is new."""
        history = event.run.metrics
        if event.kind == "epoch" and list(history[-1]) == self._columns and self.path.exists():
            with self.path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self._columns).writerow(history[-1])
        elif event.kind in ("start", "epoch") and history:
            self._columns = list(dict.fromkeys(name for row in history for name in row))
            text = io.StringIO(newline="")
            writer = csv.DictWriter(text, self._columns, restval="")
            writer.writeheader()
            writer.writerows(history)
            with replacing(self.path) as temporary:
                temporary.write_text(text.getvalue(), encoding="utf-8", newline="")
        elif event.kind == "start":
            self.path.unlink(missing_ok=True)


class TensorBoardLog:
    """Callback that writes the metrics for TensorBoard, by step.

    Args:
        folder: Where the event files go.
    """

    def __init__(self, folder: str | Path) -> None:
        check_path("folder", folder)
        self.folder = Path(folder)
        self._writer: Any = None
        self._start = 0

    def __call__(self, event: Event) -> None:
        """Write what is new."""
        if event.kind == "start":
            self._start = event.step
        elif event.kind == "epoch":
            if self._writer is None:
                from torch.utils.tensorboard import SummaryWriter

                # Points that a killed run wrote after its last checkpoint are hidden when it goes on.
                self._writer = SummaryWriter(str(self.folder), purge_step=self._start + 1 if self._start else None)
            for name, value in event.metrics.items():
                if name not in ("epoch", "step"):
                    self._writer.add_scalar(name, value, event.step)
        elif event.kind == "end":
            self.close()

    def close(self) -> None:
        """Write out what is buffered; called too when training ends by an error or a signal."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
