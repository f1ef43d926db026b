"""The epochs of a run: steps, metrics, checkpoints, callbacks, and the ways in which a run ends."""

import math
import time
import warnings
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ppgen.training.environment import peak_memory
from ppgen.training.epochs.best_epoch import BestEpoch
from ppgen.training.epochs.callbacks import Callback, Event
from ppgen.training.epochs.divergence import DivergenceError, Snapshot, explain
from ppgen.training.epochs.progress import Progress
from ppgen.training.epochs.signals import GracefulStop
from ppgen.training.epochs.validation import Validation
from ppgen.training.run import Run
from ppgen.training.run_folder import shards
from ppgen.training.run_folder.checkpoint import load_pair_state, pair_state, prefixed, section
from ppgen.training.run_folder.contents import LAST
from ppgen.training.run_folder.folder import RunFolder
from ppgen.training.settings import Settings
from ppgen.training.steps.stepper import Stepper

_CHECK_EVERY = 100  # steps between two looks for NaN, each of which waits for the device
_TICK = 0.2  # seconds between two movements of the progress bar


class Loop:
    """Runs a stepper to the end of its run, from wherever it stands.

    Args:
        run: The record, filled as training goes.
        stepper: What is moved on.
        validation: Metrics of an epoch.
        selection: Which epoch is the best; None if no metric says.
        settings: Arguments of `fit`.
        folder: Where checkpoints go, locked by the caller; None writes nothing.
        callbacks: Called with every event, in this order.
        progress: The bar, or None.
    """

    def __init__(
        self,
        run: Run,
        stepper: Stepper,
        validation: Validation,
        selection: BestEpoch | None,
        settings: Settings,
        folder: RunFolder | None,
        callbacks: Sequence[Callback],
        progress: Progress | None,
    ) -> None:
        self.run, self.stepper, self.validation, self.selection = run, stepper, validation, selection
        self.world = stepper.world
        self.settings, self.folder, self.callbacks, self.progress = settings, folder, callbacks, progress
        self.finished = False
        self.stopped_by: str | None = None
        self.best: dict[str, Tensor] | None = None  # weights and chains of the best epoch
        self._best_saved = True
        self._started, self._seconds_before = time.perf_counter(), 0.0

    def train(self) -> None:
        """Train to the end.

        Raises:
            DivergenceError: At a value, gradient or parameter that is not finite.
            KeyboardInterrupt: After Ctrl-C, once the step has ended and a checkpoint is written; at the end of the
                run once that is complete.
            SystemExit: After SIGTERM, when the step has ended and a checkpoint is written.
        """
        self._started = time.perf_counter()
        self.good = Snapshot(self.stepper)
        self._next_checkpoint = time.monotonic() + 60 * self.settings.checkpoint_minutes
        self._next_tick = 0.0
        with GracefulStop() as self.signals:
            self._emit("start")
            while not self.finished and self.stopped_by is None:
                self._epoch()
            self._end()
            self._emit("end")
            self._record()
        self.signals.deliver()  # one that came when nothing was left to interrupt

    def _epoch(self) -> None:
        stepper = self.stepper
        while not stepper.epoch_done and self.stopped_by is None:
            try:
                stepper.advance()
            except (ValueError, ArithmeticError, RuntimeError):
                if not stepper.finite():  # a distribution refused parameters that are NaN
                    self._diverged(replay=self.world.size == 1)  # other processes may not have met it
                raise
            self.validation.record(stepper.step)
            if stepper.step - int(self.good.numbers["step"]) >= _CHECK_EVERY:
                self._check()
                self.good = Snapshot(stepper)
            now = time.monotonic()
            if self.progress is not None and now >= self._next_tick:
                self.progress.update(stepper.step)
                self._next_tick = now + _TICK
            due = self.folder is not None and now >= self._next_checkpoint
            number, saves = self.world.agree(self.signals.received or 0, due)
            if number:
                self._interrupted(number)
            elif saves:
                self._save()
        if stepper.epoch_done and self.stopped_by is None:
            self._end_epoch()

    def _end_epoch(self) -> None:
        stepper = self.stepper
        self._check()
        averages, lr = stepper.averages(), stepper.lr
        metrics = {"epoch": stepper.epoch + 1, "step": stepper.step, "seconds": self._seconds()}
        metrics |= {} if lr is None else {"lr": lr}
        stepper.share_buffers()
        metrics |= averages | self.validation.metrics()
        metrics, errors = self.world.first(lambda: (metrics, self.validation.errors))
        self.run.metrics.append(metrics)
        selection = self.selection
        error = errors.get(selection.monitor, 0.0) if selection is not None else 0.0
        if selection is not None and selection.update(metrics, error) and self._keeps_best:
            self.best = {name: tensor.detach().clone() for name, tensor in self._weights_and_chains().items()}
            self._best_saved = False
        stepper.next_epoch()
        self.finished = stepper.step >= stepper.total_steps
        if not self.finished and self.selection is not None and self.selection.exhausted:
            self.finished, self.stopped_by = True, "early stopping"
        self._emit("epoch", metrics)
        (number,) = self.world.agree(self.signals.received or 0)
        if number and not self.finished:  # a finished run ends as it would have
            self._interrupted(number)

    def _end(self) -> None:
        self.stepper.share_buffers()
        if self.folder is not None:
            self._save()
        self.finish()

    def finish(self) -> None:
        """Leave the pair with the weights that the run ends with, and write them."""
        wanted = self.finished and self.settings.restores_best
        restored = wanted and self.best is not None
        if wanted and not restored and self.selection is not None and self.run.metrics:
            warnings.warn(
                f"No epoch is the best: the largest {self.selection.monitor}, {self.selection.value:.4g}, less its "
                f"error is worse than twice chance, {self.selection.chance:.4g}. The run ends with its last weights. "
                "Lower lr.",
                stacklevel=5,
            )
        if restored and self.best is not None:
            load_pair_state(self.stepper.pair, section(self.best, "pair"))
            self.stepper.bound.load_state(section(self.best, "inference"))
        bound = self.stepper.bound
        bound.load_state(self.world.whole(bound.state, bound.roles(bound.state)))
        self.run.state["restored_best"] = restored
        if self.folder is not None:
            self.folder.save_model(pair_state(self.stepper.pair))

    def _interrupted(self, number: int) -> None:
        self.signals.take(number)
        self._check()
        if self.folder is not None:
            self._save()
        self.signals.deliver()
        self.stopped_by = "signal"

    def _check(self) -> None:
        if not self.stepper.finite():
            self._diverged()

    def _diverged(self, replay: bool = True) -> None:
        reason = explain(self.stepper, self.good) if replay else f"before step {self.stepper.step + 1}"
        if not replay:
            self.good.restore(self.stepper)
        kept = (
            f" The last checkpoint in {self.folder.path} is from before that."
            if self.folder is not None and (self.folder.path / LAST).exists()
            else ""
        )
        raise DivergenceError(
            f"Training met a number that is not finite {reason}. "
            f"The pair holds the weights from before that step.{kept} "
            f"{self._advice()} look at the scales in the model."
        ) from None

    def _advice(self) -> str:
        lr = self.stepper.lr
        return (
            "Take larger batches, give the update warmup_steps, or"
            if lr is None
            else f"Lower lr (it was {lr:g}), set clip_norm, or"
        )

    def _save(self) -> None:
        assert self.folder is not None  # noqa: S101 - narrows the type only
        self._check()
        self._record()
        if self.best is not None and not self._best_saved and self.selection is not None:
            self.folder.save_best(shards.whole(self.world, self.stepper.bound, self.best), self.selection.to_dict())
            self._best_saved = True
        tensors, numbers = self.stepper.capture()
        tensors = shards.joined(self.world, self.stepper.bound, tensors)
        header = {
            **numbers,
            "processes": self.world.size,
            "seconds": self._seconds(),
            "peak_memory": self.run.peak_memory,
            "metrics": self.run.metrics,
            "finished": self.finished,
            "stopped_by": self.stopped_by,
            "executed": self.stepper.execution.describe(),
            "points": list(self.run.points),
            "least_rows": self.validation.least,
            "selection": None if self.selection is None else self.selection.to_dict(),
        }
        self.folder.save_last({**tensors, **prefixed("validation", self.validation.state())}, header)
        self._next_checkpoint = time.monotonic() + 60 * self.settings.checkpoint_minutes
        self._emit("checkpoint")

    def resume(self, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
        """Put back what a checkpoint holds; a finished run that is given more epochs goes on.

        Raises:
            ValueError: If it is not the state of this run.
        """
        try:
            own = shards.shared(self.world, self.stepper.bound, tensors, header, self.settings.seed)
            self.stepper.restore(own, header)
            self.validation.choose_rows(header.get("least_rows", 1))  # runs of before had no least number
            self.validation.load_state(section(tensors, "validation"))
        except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, IndexError) as error:
            raise ValueError(f"{self.run.folder} is damaged: {LAST} is not the state of this run ({error}).") from error
        self.run.metrics[:] = header["metrics"]
        self._seconds_before = float(header["seconds"])
        if self.selection is not None and header["selection"] is not None:
            self.selection.load(header["selection"])
            if self._keeps_best and self.selection.epoch is not None and self.folder is not None:
                device = self.stepper.source.device
                best = shards.own(self.world, self.stepper.bound, self.folder.read_best(header))
                self.best = {name: value.to(device) for name, value in best.items()}
        self.finished = header["finished"] and (
            header["stopped_by"] is not None or self.stepper.step >= self.stepper.total_steps
        )
        self.stopped_by = header["stopped_by"] if self.finished else None
        self._record()

    @property
    def _keeps_best(self) -> bool:
        return self.folder is not None or self.settings.restores_best

    def _weights_and_chains(self) -> dict[str, Tensor]:
        return {
            **prefixed("pair", pair_state(self.stepper.pair)),
            **prefixed("inference", self.stepper.bound.state),
        }

    def _seconds(self) -> float:
        return self._seconds_before + time.perf_counter() - self._started

    def _record(self) -> None:
        run, selection = self.run, self.selection
        run.seconds, run.peak_memory = self._seconds(), peak_memory(self.stepper.source.device)
        run.state |= {
            "epoch": self.stepper.epoch,
            "step": self.stepper.step,
            "finished": self.finished,
            "stopped_by": self.stopped_by,
            "monitor": None if selection is None else selection.monitor,
            "execution": self.stepper.execution.describe(),
            "best_epoch": None if selection is None else selection.epoch,
            "best_value": math.nan if selection is None else selection.value,
        }

    def _emit(self, kind: Any, metrics: dict[str, Any] | None = None) -> None:
        self._record()
        stopped = False
        for callback in self.callbacks:
            event = Event(kind, self.run, self.stepper.epoch, self.stepper.step, dict(metrics or {}))
            callback(event)
            stopped |= event.stopped
        if any(self.world.agree(stopped)) and not self.finished:
            self.stopped_by = "callback"
