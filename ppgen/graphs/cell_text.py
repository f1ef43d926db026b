"""A cell of a recurrent network, and its vector-Jacobian product, as the text of a graph."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import _disable_current_modes

from ppgen.graphs.machine_code import machine_code
from ppgen.graphs.passes import functional, simplify
from ppgen.graphs.products import joined_products

Tensors = Sequence[Tensor]
Cell = Callable[[tuple[Tensor, ...], tuple[Tensor, ...], tuple[Tensor, ...]], tuple[Tensors, Tensors]]
Function = Callable[..., list[Tensor]]

_TEXTS: dict[str, str] = {}  # under keys that follow from them, so that a cell that is traced again adds nothing
_CODES: dict[str, Function] = {}
_KEPT = 64  # functions kept at hand; others are read from their text again
_GLOBALS = {"torch": torch, "device": torch.device, "inf": math.inf, "nan": math.nan}
_CLOSED = (
    "cell must take every tensor as an argument, but it reads or makes one itself: give weights and constants among "
    "parameters."
)


def key_of(cell: Cell, states: Tensors, x: Tensors, parameters: Tensors) -> tuple[str, list[Tensor]]:
    """The cell as a function of its tensors in a row that returns states and outputs in a row; and their likes.

    Raises:
        ValueError: If the cell reads tensors beside its arguments, or draws random numbers.
    """

    def step(*flat: Tensor) -> list[Tensor]:
        new, outputs = cell(*_grouped(flat, states, x))
        return [*new, *outputs]

    return _keyed(cell, step, [*states, *x, *parameters])


def key_of_vjp(
    cell: Cell, states: Tensors, x: Tensors, parameters: Tensors, results: Tensors, wanted: Sequence[bool]
) -> str:
    """Gradients in the tensors that are wanted, from the cell's tensors and the gradients in its results.

    Results that are no floating-point numbers have none.
    """
    inputs = [*states, *x, *parameters]

    def backward(*flat: Tensor) -> list[Tensor]:
        with torch.enable_grad():
            leaves = [each.detach().requires_grad_(want) for each, want in zip(flat, wanted, strict=False)]
            new, outputs = cell(*_grouped(leaves, states, x))
            real = [each for each in (*new, *outputs) if each.is_floating_point()]
            pairs = [pair for pair in zip(real, flat[len(inputs) :], strict=True) if pair[0].requires_grad]
            targets = [leaf for leaf in leaves if leaf.requires_grad]
            if not pairs:
                return [torch.zeros_like(leaf) for leaf in targets]
            values, gradients = zip(*pairs, strict=True)
            return list(torch.autograd.grad(values, targets, gradients, allow_unused=True, materialize_grads=True))

    return _keyed(cell, backward, [*inputs, *(each for each in results if each.is_floating_point())])[0]


def function_of(key: str, code: str) -> Function:
    """What a text says, as machine code if that was made, else operation by operation."""
    return _CODES[code] if code else read(key)


@lru_cache(_KEPT)
def read(key: str) -> Function:
    """What a text says, operation by operation."""
    names: dict[str, Any] = dict(_GLOBALS)
    exec(_TEXTS[key], names)  # noqa: S102 - the text is that of a graph of this process
    forward = names["forward"]
    return lambda *flat: forward(None, *flat)


def compiled_cell(key: str, like: Tensors) -> str:
    """Machine code of what a text says, for tensors like these in contiguous memory; the key that it stands under."""
    looks = [(tuple(each.shape), each.dtype, each.device) for each in like]
    code = f"{key} for {looks} on {torch.get_num_threads()} threads"
    if code not in _CODES:
        with _alone():
            inputs = [torch.empty(shape, dtype=dtype, device=device) for shape, dtype, device in looks]
            run = machine_code(joined_products(simplify(functional(read(key), inputs))), inputs)
        _CODES[code] = lambda *flat: list(run(*flat))
    return code


def _grouped(flat: Tensors, states: Tensors, x: Tensors) -> tuple[tuple[Tensor, ...], ...]:
    first, second = len(states), len(states) + len(x)
    return tuple(flat[:first]), tuple(flat[first:second]), tuple(flat[second:])


def _keyed(cell: Cell, program: Function, like: Tensors) -> tuple[str, list[Tensor]]:
    """A program as text, under its key; and what its results are like."""
    with _alone():
        inputs = [torch.empty(each.shape, dtype=each.dtype, device=each.device) for each in like]
        try:
            traced = make_fx(program, tracing_mode="fake", _allow_non_fake_inputs=True)(*inputs)
        except AssertionError as error:  # a tensor of the trace around this one
            raise ValueError(_CLOSED) from error
        module = simplify(functional(traced, inputs))
    for node in module.graph.nodes:
        if node.op == "get_attr":
            raise ValueError(_CLOSED)
        if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
            raise ValueError(
                f"cell must not draw random numbers ({node.target}), as it runs again for its gradient: draw them for "
                "all positions at once, and give them among xs."
            )
    results: Any = module.graph.output_node().args[0]
    text = module.graph.python_code("self").src
    key = f"{cell.__qualname__.rpartition('.')[2]} {sha256(text.encode()).hexdigest()[:16]}"
    _TEXTS[key] = text
    return key, [each.meta["val"] for each in results]


@contextmanager
def _alone() -> Iterator[None]:
    """Tracing and compiling by themselves, whatever else is being traced, compiled or transformed."""
    with _disable_current_modes(), temporarily_clear_interpreter_stack(), torch.no_grad():
        yield
