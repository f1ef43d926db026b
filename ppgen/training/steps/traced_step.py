"""One training step as one graph: traced once through Pyro's handlers, then compiled."""

import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from traceback import extract_tb
from typing import Any

import pyro
import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.utils.stateless import _reparametrize_module
from torch.utils._pytree import tree_map

from ppgen import version
from ppgen.batch import Batch, all_tensors_of, with_tensors
from ppgen.graphs.compiler import compiled, in_a_line
from ppgen.graphs.passes import functional, pruned
from ppgen.graphs.products import products_in_bfloat16
from ppgen.inference import StepResult
from ppgen.pair import keeping_buffers
from ppgen.training.data.lazy_batch import GatheredBatch, StepBatch, step_batch
from ppgen.training.steps.updates import Update
from ppgen.undisturbed import device_of, forked

Key = tuple[Any, ...]


class UntraceableError(RuntimeError):
    """The step cannot be traced; the message says why."""


class Graph:
    """Step for one shape of batches: a function of parameters, state and batch, and the names of what it returns."""

    def __init__(self, module: torch.fx.GraphModule, gradients: list[str], state: list[str]) -> None:
        self.module, self.gradients, self.state = module, gradients, state
        self.products = module  # the same with matrix products in the precision asked for
        self.compiled: Callable[..., Any] | None = None
        self.updates = False  # whether the compiled graph moves the parameters too
        self.settings: dict[str, Any] = {}  # of the optimiser, as they stand in it
        self.gathers = False  # whether it takes a selection in the place of a batch


class TracedStep:
    """The step of a bound inference, traced once a shape.

    Python runs once, while tracing; afterwards only tensor operations do, in the same order and from the same random
    state, so that the graph, not compiled, gives what the eager step gives. `check` compares the two.

    Args:
        bound: An inference, bound to its pair, that has taken one step (so that its state exists).
        parameters: Parameters in training, by name.
        update: Step of the optimiser, which compiled graphs then contain; None leaves it to the caller.
        bfloat16: Whether factors of matrix products are rounded to bfloat16 (sums run in float32).
    """

    faithful = False  # whether compiled graphs give the program's own numbers: its random stream, and every value

    def __init__(
        self,
        bound: Any,
        parameters: Mapping[str, nn.Parameter],
        update: Update | None = None,
        bfloat16: bool = False,
    ) -> None:
        self.bound, self.parameters, self.update, self.bfloat16 = bound, dict(parameters), update, bfloat16
        self.graphs: dict[Key, Graph] = {}
        self.num_traces = 0

    def __call__(self, batch: Batch | StepBatch, compiled: bool = False) -> StepResult:
        """Value and gradients of a batch; the state of the bound inference moves on.

        Args:
            batch: Rows of data; the first of a shape is traced. A selection only if `gathers` says so.
            compiled: Whether to run the compiled graph, where there is one for this shape.
        """
        batch = step_batch(batch)
        graph = self.graph(batch)
        updated = False
        if compiled and graph.updates and self.update is not None and self.update.settings() != graph.settings:
            self.update = None  # a momentum that the user changes: from now on the optimiser steps beside the graph
            self.compile(batch)
        if compiled and graph.compiled is not None and graph.gathers == batch.lazy:
            value, gradients, moved = graph.compiled(*self._inputs(graph, batch))
            updated = graph.updates
        else:
            value, gradients, moved = self._run(graph.products, graph, batch.gathered())
        self.bound.carry(dict(zip(graph.state, moved, strict=True)), 1)
        return StepResult(value, {} if updated else dict(zip(graph.gradients, gradients, strict=True)), updated)

    def graph(self, batch: Batch | StepBatch) -> Graph:
        """Graph for batches of this shape, traced now if there is none.

        Raises:
            UntraceableError: If the step cannot be traced.
            ValueError: If a tensor that wants a gradient is no parameter of the pair.
        """
        batch = step_batch(batch)
        key = self._key(batch)
        if key not in self.graphs:
            self.graphs[key] = self._trace(batch.preview())
            self.num_traces += 1
        return self.graphs[key]

    def has_code(self, batch: StepBatch) -> bool:
        """Whether there is machine code for batches of this shape and the present negative phases."""
        graph = self.graphs.get(self._key(batch))
        return graph is not None and graph.compiled is not None

    def gathers(self, batch: StepBatch) -> bool:
        """Whether there is a compiled graph for batches of this shape that gathers its rows itself."""
        graph = self.graphs.get(self._key(batch)) if batch.lazy else None
        return graph is not None and graph.compiled is not None and graph.gathers

    def compile(self, batch: Batch | StepBatch) -> None:
        """Let Inductor turn the graph for batches of this shape into machine code; nothing moves.

        From a selection, the machine code gathers rows and draws their bits itself.
        """
        batch = step_batch(batch)
        graph = self.graph(batch)
        graph.gathers = batch.lazy
        # The optimiser makes its state in a step of its own, so a graph compiled before that leaves it out.
        graph.updates = self.update is not None and bool(graph.gradients) and self.update.ready(graph.gradients)
        graph.settings = {} if self.update is None else self.update.settings()
        inputs = self._inputs(graph, batch, dry=True)
        with keeping_buffers(self.bound.pair):
            machine_code = compiled(self._program(graph, batch), inputs, bfloat16=self.bfloat16, faithful=self.faithful)
        num_gradients = 0 if graph.updates else len(graph.gradients)

        def run(*arguments: Any) -> Any:
            value, *rest = machine_code(*arguments)
            return value, rest[:num_gradients], rest[num_gradients:]

        with (
            forked(batch.device),
            self.bound.undisturbed(),
            keeping_buffers(self.bound.pair),
        ):
            values, state, leaves, slots, numbers = inputs
            # Rows of a selection are all the data, and gathered before anything is written.
            rows = leaves if batch.lazy else _copies(leaves)
            run(_copies(values), _copies(state), rows, _copies(slots), numbers)
        graph.compiled = run

    def _program(self, graph: Graph, batch: StepBatch) -> Callable[..., Any]:
        """The step, after gathering its rows and followed by the update of the parameters if those are part of it."""
        position = {name: index for index, name in enumerate(self.parameters)}
        reached = [position[name] for name in graph.gradients]

        def program(
            values: list[Tensor],
            state: list[Tensor],
            leaves: list[Tensor],
            slots: list[list[Tensor]],
            numbers: list[Tensor],
        ) -> Any:
            leaves = all_tensors_of(batch.gather(leaves))
            value, gradients, moved = graph.module(values, state, leaves)
            if not self.bound.normalised and not self.faithful:
                # Reported nowhere, and half a product to compute; what is not finite is noticed in the parameters.
                value = torch.zeros_like(value)
            if not graph.updates:
                return value, gradients, moved
            assert self.update is not None  # noqa: S101 - narrows the type only
            self.update.apply([values[index] for index in reached], gradients, slots, numbers[0])
            return value, [], moved

        return program

    def _inputs(self, graph: Graph, batch: StepBatch, dry: bool = False) -> list[Any]:
        """Arguments of a compiled graph; counters and generators move on unless it is for a dry run."""
        state = self.bound.state
        slots: list[list[Tensor]] = []
        numbers: list[Tensor] = []
        if graph.updates and self.update is not None:
            slots = self.update.slots(graph.gradients)
            numbers = [torch.ones(3, dtype=torch.float64) if dry else self.update.numbers(graph.gradients)]
        values = [parameter.detach() for parameter in self.parameters.values()]
        return [values, [state[name] for name in graph.state], batch.inputs(dry), slots, numbers]

    def _run(self, run: Callable[..., Any], graph: Graph, batch: StepBatch) -> Any:
        state = self.bound.state
        with torch.no_grad():
            return run(list(self.parameters.values()), [state[name] for name in graph.state], batch.inputs())

    def check(self, batch: Batch | StepBatch) -> str | None:
        """Compare the traced step with the eager one on a batch; None if they agree, else what differs.

        Nothing moves: neither the random state nor the state of the inference.
        """
        rows = GatheredBatch(step_batch(batch).preview())
        graph = self.graph(rows)
        with forked(rows.device), keeping_buffers(self.bound.pair):
            value, gradients, moved = self._run(graph.module, graph, rows)
        with (
            forked(rows.device),
            self.bound.undisturbed(),
            keeping_buffers(self.bound.pair),
        ):
            eager = self.bound.step(rows.batch())
            after = self.bound.state
        if not _close(value, eager.value):
            return f"its value is {float(value):.6g}, that of the program {float(eager.value):.6g}"
        traced = dict(zip(graph.gradients, gradients, strict=True))
        if set(traced) != set(eager.gradients):
            names = sorted(set(traced) ^ set(eager.gradients))
            return f"parameters {names} have a gradient in one of the two only"
        for name, gradient in eager.gradients.items():
            if not _close(traced[name], gradient):
                return f"the gradient of {name!r} differs"
        if self.bound.update is not None:  # whose statistics are what a gradient is elsewhere
            for name, value in zip(graph.state, moved, strict=True):
                if not _close(value.to(eager.value), after[name].to(eager.value)):
                    return f"the state {name!r} differs"
        return None

    def _key(self, batch: StepBatch) -> Key:
        flags = tuple(module.training for module in self.bound.pair.modules())
        phases = tuple(_hashable(phase) for phase in self.bound.phases.values())
        return batch.shapes(), flags, _hashable(self.bound.inference), phases

    def _trace(self, batch: Batch) -> Graph:
        foreign = getattr(getattr(self.bound.pair, "captured", None), "foreign", ())
        if foreign:
            raise UntraceableError(f"the module of parameter {sorted(foreign)[0]!r} is not part of the pair")
        self.bound.learn_sites(batch)
        state = self.bound.state
        names, state_names = list(self.parameters), list(state)
        found: list[str] = []

        def program(values: list[Tensor], state_values: list[Tensor], leaves: list[Tensor]) -> Any:
            with (
                torch.enable_grad(),
                # One tensor under two names is one input of the graph, put back in the order of a stack.
                _reparametrize_module(
                    self.bound.pair, dict(zip(names, values, strict=True)), tie_weights=True, stack_weights=True
                ),
            ):
                self.bound.carry(dict(zip(state_names, state_values, strict=True)), 0)
                result = self.bound.step(with_tensors(batch, leaves))
                moved = self.bound.state
            found[:] = list(result.gradients)
            return result.value, list(result.gradients.values()), [moved[name] for name in state_names]

        try:
            with (
                forked(device_of(batch)),
                self.bound.undisturbed(),
                keeping_buffers(self.bound.pair),  # counters are moved by tracing too
                warnings.catch_warnings(),
            ):
                traced = make_fx(program, tracing_mode="fake", _allow_non_fake_inputs=True)
                module = traced(list(self.parameters.values()), list(state.values()), all_tensors_of(batch))
        except Exception as error:  # whatever a user's program does that no graph can hold
            raise UntraceableError(_reason(error)) from error
        _check_constants(module, self.parameters)
        graph = Graph(pruned(module), list(found), state_names)
        if self.bfloat16:
            inputs = [list(self.parameters.values()), list(state.values()), all_tensors_of(batch)]
            graph.products = products_in_bfloat16(functional(module, inputs))
        return graph


def _reason(error: Exception) -> str:
    """Why tracing failed, in a line; where the user's own code reads a tensor's value, torch's message is empty."""
    if type(error).__name__ not in ("DataDependentOutputException", "GuardOnDataDependentSymNode"):
        return in_a_line(error)
    libraries = tuple(str(Path(module.__file__ or "").parent) + os.sep for module in (torch, pyro, version))
    frames = [frame for frame in extract_tb(error.__traceback__) if not frame.filename.startswith(libraries)]
    where = f" in `{frames[-1].line}` ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"Python reads the value of a tensor{where}, which is another one at each step"


def _check_constants(module: torch.fx.GraphModule, parameters: Mapping[str, nn.Parameter]) -> None:
    """Raise if a tensor that wants a gradient was frozen into the graph."""
    for node in module.graph.nodes:
        if node.op == "get_attr":
            value = getattr(module, str(node.target), None)
            if isinstance(value, Tensor) and value.requires_grad:
                name = next((name for name, parameter in parameters.items() if parameter is value), None)
                if name is not None:
                    raise UntraceableError(
                        f"parameter {name!r} is read from a closure or a list, where a graph finds its value of now; "
                        "read it from its module"
                    )
                raise ValueError(
                    f"A tensor of shape {tuple(value.shape)} wants a gradient but is no parameter of the pair, so it "
                    "would never be trained. Make it an nn.Parameter of the model or a pyro.param, or detach it."
                )


def _hashable(inference: Any) -> Any:
    """The inference, or what tells it from others where a user's own part holds a list or the like."""
    try:
        hash(inference)
    except TypeError:
        return id(inference)
    return inference


def _copies(inputs: Any) -> Any:
    return tree_map(lambda tensor: tensor.clone(), inputs)


def _close(first: Tensor, second: Tensor) -> bool:
    tolerance = 1e-3 if first.dtype in (torch.float32, torch.bfloat16) else 1e-8
    scale = second.abs().max()
    return bool((first - second).abs().max() <= tolerance * scale + 1e-12)
