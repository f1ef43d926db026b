"""The one hook of training: a function that is called with an `Event`, and the logs that are built on it."""

import csv
import io
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ppgen.checks.arguments import check_path
from ppgen.training.run_folder.storage import naming, replacing

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

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import ppgen
        >>> from ppgen import datasets, models, training
        >>> digits = datasets.load("digits", binarize="threshold")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     log = training.CSVLog(Path(folder) / "metrics.csv")
        ...     run = ppgen.fit(models.RBM(visible=64, hidden=4), digits, epochs=2, callbacks=[log], progress=False)
        ...     len((Path(folder) / "metrics.csv").read_text().splitlines())
        3
    """

    def __init__(self, path: str | Path) -> None:
        check_path("path", path)
        self.path = Path(path)
        self._columns: list[str] = []

    def __call__(self, event: Event) -> None:
        """Write what is new."""
        history = event.run.metrics
        if event.kind == "epoch" and list(history[-1]) == self._columns and self.path.exists():
            with naming(self.path), self.path.open("a", newline="", encoding="utf-8") as file:
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

    The records are written here and not by `torch.utils.tensorboard`, whose thread says what goes wrong on a full disk
    only to the screen.

    Args:
        folder: Where the event files go.

    Example:
        >>> import tempfile
        >>> import ppgen
        >>> from ppgen import datasets, models, training
        >>> digits = datasets.load("digits", binarize="threshold")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     log = training.TensorBoardLog(folder)
        ...     run = ppgen.fit(models.RBM(visible=64, hidden=4), digits, epochs=1, callbacks=[log], progress=False)
    """

    def __init__(self, folder: str | Path) -> None:
        check_path("folder", folder)
        self.folder = Path(folder)
        self._records: Any = None
        self._start = 0

    def __call__(self, event: Event) -> None:
        """Write what is new."""
        try:
            with naming(self.folder):
                self._take(event)
        except OSError:
            records, self._records = self._records, None
            with suppress(OSError):  # of what could not be written, which closing tries again
                if records is not None:
                    records.close()
            raise

    def _take(self, event: Event) -> None:
        if event.kind == "start":
            self._start = event.step
        elif event.kind == "epoch":
            from tensorboard.compat.proto.summary_pb2 import Summary

            for name, value in event.metrics.items():
                if name not in ("epoch", "step") and value is not None:
                    summary = Summary(value=[Summary.Value(tag=name, simple_value=float(value))])
                    self._write(step=event.step, summary=summary)
            if self._records is not None:
                self._records.flush()
        elif event.kind == "end":
            self.close()

    def close(self) -> None:
        """Close the file; called too when training ends by an error or a signal."""
        records, self._records = self._records, None
        if records is not None:
            with naming(self.folder):
                records.close()

    def _write(self, **content: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event as Record

        if self._records is None:
            self._open()
        self._records.write(Record(wall_time=time.time(), **content).SerializeToString())

    def _open(self) -> None:
        from tensorboard.compat.proto.event_pb2 import SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time_ns() // 10**9:010d}.{socket.gethostname()}.{os.getpid()}"
        number = len(list(self.folder.glob(f"{name}.*")))
        self._records = RecordWriter((self.folder / f"{name}.{number}").open("xb"))
        self._write(file_version="brain.Event:2")
        if self._start:  # points that a killed run wrote after its last checkpoint are hidden when it goes on
            self._write(step=self._start + 1, session_log=SessionLog(status=SessionLog.START))
