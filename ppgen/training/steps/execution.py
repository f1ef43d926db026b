"""How steps are executed: eagerly, as a traced graph, or compiled; and when it pays to go from one to the next."""

import math
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal

from torch import nn

from ppgen.batch import Batch
from ppgen.graphs.compiler import in_a_line
from ppgen.graphs.scanned_cells import num_scans
from ppgen.inference import StepResult
from ppgen.training.data.lazy_batch import StepBatch, step_batch
from ppgen.training.steps.traced_step import TracedStep, UntraceableError
from ppgen.training.steps.updates import Update

Compile = bool | Literal["auto"]

STAGES = ("eager", "graph", "compiled")
MEASURED = 10  # steps timed in each way before the next is considered
TRACE_SECONDS = 1.0  # upper estimate of what tracing costs
COMPILE_SECONDS = 30.0  # upper estimate of what Inductor costs
EXPECTED_SAVING = 0.25  # share of a step that a graph, or a compiled one, is expected to save before it is measured
CHECK_STEPS = 400  # steps, at least, between two comparisons of the graph with the program, which cost some four


class Execution:
    """Executes the steps of a bound inference, and moves from the program to its graph when that pays.

    With `compile=False` the program runs as it is. With `True` the second step is traced and compiled. With `"auto"`
    the first steps run eagerly and are timed; the step is traced when the steps that remain are expected to win the
    time back, and its graph is timed and compiled by the same rule; of the ways that were tried, the fastest is kept.
    A graph, traced but not compiled, gives the same numbers as the program. At the start of an epoch the graph is
    compared with the program; a difference, or a step that cannot be traced, is one warning, and training goes on
    eagerly. A negative phase that changes in stages has a graph for each; it is compiled too, under `"auto"` if the
    stage is long enough for that.

    Args:
        bound: An inference, bound to its pair.
        parameters: Parameters in training, by name.
        compile: `"auto"`, True or False.
        update: Step of the optimiser, made part of compiled steps; None leaves it to the caller.
        bfloat16: Whether graphs round the factors of matrix products to bfloat16.
        clock: Source of seconds.

    Raises:
        ValueError: At the first traced step, if a tensor wants a gradient and is no parameter of the pair.
    """

    def __init__(
        self,
        bound: Any,
        parameters: Mapping[str, nn.Parameter],
        compile: Compile = "auto",
        update: Update | None = None,
        bfloat16: bool = False,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.bound, self.compile, self.clock = bound, compile, clock
        self.traced = TracedStep(bound, parameters, update, bfloat16)
        self.stage = "eager"
        self.wanted: str | None = "compiled" if compile is True else None  # stage to go to without measuring
        self.settled = compile is False
        self.step_seconds: dict[str, float] = {}
        self.costs: dict[str, float] = {}
        self._times: list[float] = []
        self._taken = 0
        self._unchecked = CHECK_STEPS
        self._codes = 0  # graphs that were compiled
        self._declined = False  # to compile the present stage of the negative phase
        self._phases: Any = None  # of the step before, if they follow a schedule

    def step(self, batch: Batch | StepBatch, remaining: int, usual: bool = True) -> StepResult:
        """One step; compiled steps gather a selection themselves.

        Args:
            batch: Rows of data.
            remaining: Steps of the run from this one on.
            usual: Whether the batch has the usual size, for which machine code is made.
        """
        batch = step_batch(batch)
        # The first step runs eagerly: it makes the chains and offsets that the graph takes as inputs.
        if self.wanted is not None and self._taken:
            if usual:
                self._go(self.wanted, batch)
                self.wanted, self.settled = None, True
            else:
                self._go("graph", batch)
        self._taken += 1
        if getattr(self.bound, "scheduled", False) and self.bound.phases != self._phases:
            self._phases = self.bound.phases
            # What was measured is of another number of sweeps; which way is the fastest, once settled, stays.
            self._times.clear()
            if not self.settled:
                self.step_seconds.clear()
            self._declined = False
        if self.stage == "compiled" and usual and self._phases is not None and not self._declined:
            self._compile_stage(batch, remaining)
        if self.settled or self.wanted is not None or not usual:
            return self._execute(batch)
        start = self.clock()
        result = self._execute(batch)
        self._times.append(self.clock() - start)
        if len(self._times) > MEASURED:
            self._consider(batch, remaining)
        return result

    def begin_epoch(self, batch: Batch | StepBatch) -> None:
        """Compare the graph with the program, unless that was done a moment ago.

        Args:
            batch: A batch of the usual size.
        """
        if self.stage == "eager" or self._unchecked < CHECK_STEPS:
            return
        self._unchecked = 0
        difference = self.traced.check(batch)
        if difference is not None:
            self._give_up(
                f"The traced step no longer agrees with the program: {difference}. Python state that changes between "
                "steps is frozen into a graph; keep it in a tensor buffer of the model, or pass compile=False."
            )

    def restore(self, stage: str, taken: int) -> None:
        """Go on as a resumed run did, after the steps it has taken: the next one traces, and compiles if need be."""
        self._taken = taken
        if self.compile == "auto" and stage in STAGES[1:]:
            self.wanted = stage

    def describe(self) -> dict[str, Any]:
        """Stage, what was measured (seconds of a step in each way, of tracing, of compiling), and runs of cells."""
        scans = max((num_scans(graph.module) for graph in self.traced.graphs.values()), default=0)
        told = {"scans": scans} if scans else {}
        return {"stage": self.stage, "step_seconds": dict(self.step_seconds), **self.costs, **told}

    def _execute(self, batch: StepBatch) -> StepResult:
        if self.stage == "eager":
            return self.bound.step(batch.batch())
        if not (self.stage == "compiled" and self.traced.gathers(batch)):
            batch = batch.gathered()
        self._unchecked += 1
        try:
            return self.traced(batch, compiled=self.stage == "compiled")
        except UntraceableError as error:
            self._give_up(f"A batch of another shape cannot be traced, so training goes on eagerly: {error}.")
            return self.bound.step(batch.batch())

    def _consider(self, batch: StepBatch, remaining: int) -> None:
        # The first one in a new way warms up; of the others the shortest, as what else the machine does only adds.
        self.step_seconds[self.stage] = min(self._times[1:])
        self._times.clear()
        fastest = min(self.step_seconds, key=lambda stage: self.step_seconds[stage])
        at_stake = EXPECTED_SAVING * remaining * self.step_seconds[fastest]
        if self.stage == "eager" and at_stake > TRACE_SECONDS:
            self._go("graph", batch)
        elif self.stage == "graph" and at_stake > COMPILE_SECONDS:
            # A graph as slow as the program, where matrix products dominate, says nothing of what its code saves.
            self._go("compiled", batch)
        else:
            self.stage, self.settled = fastest, True

    def _compile_stage(self, batch: StepBatch, remaining: int) -> None:
        """Make machine code for a stage of the negative phase that has none, if the steps in it win that back."""
        if self.traced.has_code(batch):
            return
        saving = self.step_seconds.get("graph", math.inf) - self.step_seconds.get("compiled", 0.0)
        steps = min(remaining, self.bound.until_change())
        self._declined = self.compile is not True and saving * steps < self.costs.get("compile_seconds", 0.0) / max(
            1, self._codes
        )
        if not self._declined:
            self._go("compiled", batch)

    def _go(self, stage: str, batch: StepBatch) -> None:
        start = self.clock()
        try:
            self.traced.graph(batch)
        except UntraceableError as error:
            self._give_up(f"The step cannot be traced, so training runs eagerly: {error}.")
            return
        self.costs.setdefault("trace_seconds", self.clock() - start)
        if stage == "compiled":
            start = self.clock()
            try:
                self.traced.compile(batch)
            except Exception as error:  # no compiler, or one that cannot do with this graph
                # Of the two that are left, the faster; the graph if none was measured.
                self.stage = min(STAGES[1::-1], key=lambda name: self.step_seconds.get(name, math.inf))
                self.settled = True
                reason = in_a_line(error)
                warnings.warn(f"The traced step could not be compiled, so it runs uncompiled: {reason}", stacklevel=4)
                return
            self._codes += 1
            self.costs["compile_seconds"] = self.costs.get("compile_seconds", 0.0) + self.clock() - start
        self.stage = stage

    def _give_up(self, reason: str) -> None:
        self.stage, self.settled, self.wanted = "eager", True, None
        warnings.warn(reason, stacklevel=4)
