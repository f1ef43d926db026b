"""The recursion of neural autoregressive density estimators, as one operator with its derivative."""

import math
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten

# Each activation with its derivative, which follows from its value alone.
_FUNCTIONS: dict[str, tuple[Any, Any]] = {
    "sigmoid": (torch.sigmoid, aten.sigmoid_backward),
    "tanh": (torch.tanh, aten.tanh_backward),
    "relu": (torch.relu, lambda gradient, value: aten.threshold_backward(gradient, value, 0)),
}
ACTIVATIONS = tuple(_FUNCTIONS)


# One operator, as a traced step would else hold some operations for each entry and take minutes to compile.
@torch.library.custom_op("ppgen::nade_recursion", mutates_args=())
def nade_recursion(x: Tensor, start: Tensor, weight: Tensor, readout: Tensor, activation: str) -> Tensor:
    r"""Parameters from hidden units whose inputs grow by one entry at a time, in O(D H) a row.

    .. math:: a_1 = c, \quad \theta_d = V_d f(a_d), \quad a_{d+1} = a_d + W_d x_d

    The derivative is written by hand: it begins from the inputs at about sqrt(D) positions and holds units between two
    of them only.

    Args:
        x: Entries, shape (rows, D).
        start: Inputs c without any entry, shape (rows, hidden).
        weight: W, shape (D, hidden); that of the last entry counts nowhere.
        readout: V, shape (D, outputs, hidden).
        activation: f: `"sigmoid"`, `"tanh"` or `"relu"`.

    Returns:
        Parameters, shape (rows, D, outputs).

    Example:
        >>> x, readout = torch.ones(1, 3), torch.ones(3, 1, 2)
        >>> nade_recursion(x, torch.zeros(1, 2), torch.ones(3, 2), readout, "relu").flatten()
        tensor([0., 2., 4.])
    """
    units, columns = _Units(start, activation), x.T.contiguous()
    parameters = x.new_empty(x.shape[1], len(x), readout.shape[1])
    for position in range(x.shape[1]):
        torch.mm(units.values, readout[position].T, out=parameters[position])
        if position + 1 < x.shape[1]:
            units.advance(columns[position], weight[position])
    return parameters.transpose(0, 1).contiguous()


@nade_recursion.register_fake
def _(x: Tensor, start: Tensor, weight: Tensor, readout: Tensor, activation: str) -> Tensor:
    return x.new_empty(x.shape[0], x.shape[1], readout.shape[1])


@torch.library.custom_op("ppgen::nade_recursion_gradient", mutates_args=())
def nade_recursion_gradient(
    gradient: Tensor,
    x: Tensor,
    start: Tensor,
    weight: Tensor,
    readout: Tensor,
    activation: str,
    of_entries: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients in x, start, weight and readout from that in the parameters, (rows, D, outputs).

    That in x is empty unless it is asked for.
    """
    size, length = x.shape[1], math.isqrt(x.shape[1] - 1) + 1  # of the vector, and of a part of it
    derivative = _FUNCTIONS[activation][1]
    gradients, columns = gradient.transpose(0, 1).contiguous(), x.T.contiguous()
    in_readout, in_weight = torch.empty_like(readout), torch.zeros_like(weight)
    in_entries = torch.zeros_like(columns) if of_entries else x.new_empty(0, 0)
    in_inputs = torch.zeros_like(start, memory_format=torch.contiguous_format)
    in_values = torch.empty_like(in_inputs)
    starts = _inputs_at(x, start, weight, length)
    for first in reversed(range(0, size, length)):
        units, last = _Units(starts[first // length], activation), min(first + length, size)
        values = [units.values, *(units.advance(columns[d], weight[d]) for d in range(first, last - 1))]
        for position in range(last - 1, first - 1, -1):
            hidden = values.pop()
            torch.mm(gradients[position], readout[position], out=in_values)
            torch.mm(gradients[position].T, hidden, out=in_readout[position])
            in_inputs += derivative(in_values, hidden)
            if position > 0:
                torch.mv(in_inputs.T, columns[position - 1], out=in_weight[position - 1])
                if of_entries:
                    torch.mv(in_inputs, weight[position - 1], out=in_entries[position - 1])
    return in_entries.T.contiguous(), in_inputs, in_weight, in_readout


@nade_recursion_gradient.register_fake
def _(
    gradient: Tensor,
    x: Tensor,
    start: Tensor,
    weight: Tensor,
    readout: Tensor,
    activation: str,
    of_entries: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    in_entries = x.new_empty(x.shape if of_entries else (0, 0))
    return in_entries, start.new_empty(start.shape), torch.empty_like(weight), torch.empty_like(readout)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.activation = inputs
    ctx.save_for_backward(*tensors)


def _differentiate(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    of_entries = ctx.needs_input_grad[0]
    found = nade_recursion_gradient(gradient, *ctx.saved_tensors, ctx.activation, of_entries)
    return (found[0] if of_entries else None, *found[1:], None)


def _refuse(ctx: Any, *gradients: Tensor) -> None:
    raise NotImplementedError(
        "The gradient of the NADE recursion has no gradient of its own, so second derivatives (create_graph=True) "
        "cannot be taken through it. Use another network, such as nn.MADENetwork."
    )


nade_recursion.register_autograd(_differentiate, setup_context=_remember)
nade_recursion_gradient.register_autograd(_refuse)


def activated(inputs: Tensor, activation: str) -> Tensor:
    """Values of units, by the name of their activation."""
    values: Tensor = _FUNCTIONS[activation][0](inputs)
    return values


class _Units:
    """Hidden units with their inputs, shape (rows, hidden) each."""

    def __init__(self, start: Tensor, activation: str) -> None:
        self.function = _FUNCTIONS[activation][0]
        self.inputs = start.clone(memory_format=torch.contiguous_format)
        self.values = self.function(self.inputs)

    def advance(self, column: Tensor, weight: Tensor) -> Tensor:
        """Values after an entry, (rows,), in a tensor of their own."""
        self.inputs.addcmul_(column.unsqueeze(1), weight)
        self.values = self.function(self.inputs)
        return self.values


def _inputs_at(x: Tensor, start: Tensor, weight: Tensor, length: int) -> Tensor:
    """Inputs before each part of the vector: (parts, rows, hidden)."""
    parts = [x[:, first : first + length] @ weight[first : first + length] for first in range(0, x.shape[1], length)]
    return torch.stack([start, *parts[:-1]]).cumsum(0)
