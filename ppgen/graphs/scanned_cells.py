"""Runs of a cell over positions as one operator of a graph, whose length costs nothing to compile."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch._C._functorch import TransformType, get_interpreter_stack
from torch.fx.experimental.proxy_tensor import get_proxy_mode

from ppgen.graphs.cell_text import Cell, Tensors, compiled_cell, function_of, key_of, key_of_vjp, read


def is_traced() -> bool:
    """Whether a graph is in the making, from operations as they are called."""
    return get_proxy_mode() is not None


def can_scan() -> bool:
    """Whether a graph is in the making, and no transform of `torch.func` wants to see what is inside of a run."""
    stack = get_interpreter_stack() or []
    return is_traced() and all(each.key() == TransformType.Functionalize for each in stack)


def scanned(cell: Cell, init: Tensors, xs: Tensors, parameters: Tensors) -> tuple[list[Tensor], list[Tensor]]:
    """Last states and stacked outputs of a cell over the first dimension of `xs`, as one node of a graph.

    The cell is traced by itself, and so is its vector-Jacobian product; the operator has the keys of their texts.

    Raises:
        ValueError: If the cell reads tensors beside its arguments, or draws random numbers.
    """
    x = [each[0] for each in xs]
    step, results = key_of(cell, init, x, parameters)
    wanted = [each.is_floating_point() for each in init] + [each.requires_grad for each in (*xs, *parameters)]
    backward = ""
    if torch.is_grad_enabled() and any(each.requires_grad for each in (*init, *xs, *parameters)):
        backward = key_of_vjp(cell, init, x, parameters, results, wanted)
    found = torch.ops.ppgen.scan(list(init), list(xs), list(parameters), wanted, step, backward, "")
    return found[: len(init)], found[len(init) : len(results)]


def with_machine_code(module: fx.GraphModule) -> fx.GraphModule:
    """Let the cells of a graph run as machine code, which is made now; changes the graph."""
    for node in module.graph.nodes:
        if node.target in (_SCAN, _BACKWARD):
            like = [[each.meta["val"] for each in group] for group in node.args[: 5 if node.target is _BACKWARD else 3]]
            if node.target is _SCAN:
                (init, xs, parameters), key = like, node.args[4]
                flat = [*init, *(each[0] for each in xs), *parameters]
            else:
                (states, xs, parameters, of_last, of_outputs), key = like, node.args[6]
                at_first = [[each[0] for each in group] for group in (states, xs, of_outputs)]
                flat = [*at_first[0], *at_first[1], *parameters, *of_last, *at_first[2]]
            node.args = (*node.args[:-1], compiled_cell(key, flat))
    module.recompile()
    return module


def num_scans(module: fx.GraphModule) -> int:
    """Runs of cells in a graph."""
    return sum(node.target is _SCAN for node in module.graph.nodes)


@torch.library.custom_op("ppgen::scan", mutates_args=())
def scan(
    init: Sequence[Tensor],
    xs: Sequence[Tensor],
    parameters: Sequence[Tensor],
    wanted: Sequence[bool],
    step: str,
    backward: str,
    code: str,
) -> list[Tensor]:
    """Last states, stacked outputs and, for a backward, the states before each position."""
    state, rows = _contiguous(init), list(zip(*(each.unbind(0) for each in _contiguous(xs)), strict=True))
    parameters = _contiguous(parameters)
    run = function_of(step, code)
    states, outputs = [], []
    for x in rows:
        states.append(state)
        results = run(*state, *x, *parameters)
        state = results[: len(init)]
        outputs.append(results[len(init) :])
    return [*_copies(state), *_stacked(outputs), *(_stacked(states) if backward else [])]


@scan.register_fake
def _(
    init: Tensors, xs: Tensors, parameters: Tensors, wanted: Any, step: str, backward: str, code: str
) -> list[Tensor]:
    length = xs[0].shape[0]
    outputs = read(step)(*init, *(each[0] for each in xs), *parameters)[len(init) :]
    stacked = [*outputs, *(init if backward else [])]
    return [*_empty(init), *(each.new_empty((length, *each.shape)) for each in stacked)]


@torch.library.custom_op("ppgen::scan_backward", mutates_args=())
def scan_backward(
    states: Sequence[Tensor],
    xs: Sequence[Tensor],
    parameters: Sequence[Tensor],
    of_last: Sequence[Tensor],
    of_outputs: Sequence[Tensor],
    wanted: Sequence[bool],
    backward: str,
    code: str,
) -> list[Tensor]:
    """Gradients in those of first states, inputs and parameters that are wanted; the cell itself runs again."""
    num_states, inner = len(of_last), len(states) + len(xs)
    stacked = _contiguous([*states, *xs, *of_outputs])
    rows = list(zip(*(each.unbind(0) for each in stacked), strict=True))
    parameters, of_state = _contiguous(parameters), _contiguous(of_last)
    run = function_of(backward, code)
    total = [torch.zeros_like(each) for each, want in zip(parameters, wanted[inner:], strict=True) if want]
    of_xs = []
    for row in reversed(rows):
        results = run(*row[:inner], *parameters, *of_state, *row[inner:])
        last = len(results) - len(total)
        of_state = results[:num_states]
        of_xs.append(results[num_states:last])
        if total:
            torch._foreach_add_(total, results[last:])
    return [*_copies(of_state), *_stacked(of_xs[::-1]), *total]


@scan_backward.register_fake
def _(
    states: Tensors,
    xs: Tensors,
    parameters: Tensors,
    of_last: Tensors,
    of_outputs: Tensors,
    wanted: Sequence[bool],
    backward: str,
    code: str,
) -> list[Tensor]:
    others = zip((*xs, *parameters), wanted[len(states) :], strict=True)
    return _empty([*of_last, *(each for each, want in others if want)])


_SCAN, _BACKWARD = torch.ops.ppgen.scan.default, torch.ops.ppgen.scan_backward.default


def _setup(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    init, xs, parameters, ctx.wanted, _, ctx.backward, ctx.code = inputs
    ctx.sizes, ctx.likes = (len(init), len(xs), len(parameters)), output[: len(output) - len(init)]
    ctx.save_for_backward(*output[len(output) - len(init) :], *xs, *parameters)
    ctx.set_materialize_grads(False)


def _differentiate(ctx: Any, gradients: list[Tensor | None]) -> tuple[Any, ...]:
    num_states, num_xs, num_parameters = ctx.sizes
    inner = num_states + num_xs
    saved = list(ctx.saved_tensors)
    known = [
        torch.zeros_like(like) if gradient is None else gradient
        for gradient, like in zip(gradients, ctx.likes, strict=False)
    ]
    of_last = [each for each in known[:num_states] if each.is_floating_point()]
    of_outputs = [each for each in known[num_states:] if each.is_floating_point()]
    found = iter(
        torch.ops.ppgen.scan_backward(
            saved[:num_states],
            saved[num_states:inner],
            saved[inner:],
            of_last,
            of_outputs,
            ctx.wanted,
            ctx.backward,
            ctx.code,
        )
    )
    each = [next(found) if want else None for want in ctx.wanted]
    return each[:num_states], each[num_states:inner], each[inner:], None, None, None, None


def _refuse(ctx: Any, gradients: list[Tensor | None]) -> tuple[Any, ...]:
    raise NotImplementedError(
        "A run of a cell has no second derivatives where it is one operator of a graph; take them outside of the "
        "traced step, or with compile=False, where the cell runs position by position."
    )


scan.register_autograd(_differentiate, setup_context=_setup)
scan_backward.register_autograd(_refuse)


def _contiguous(tensors: Tensors) -> list[Tensor]:
    return [each.contiguous() for each in tensors]


def _copies(tensors: Tensors) -> list[Tensor]:
    """Copies, since what an operator returns may not share memory with what it is given."""
    return [each.clone(memory_format=torch.contiguous_format) for each in tensors]


def _empty(tensors: Tensors) -> list[Tensor]:
    return [each.new_empty(each.shape) for each in tensors]


def _stacked(rows: list[Any]) -> list[Tensor]:
    return [torch.stack(each) for each in zip(*rows, strict=True)]
