"""A cell run over positions."""

from collections.abc import Iterable, Sequence
from functools import wraps

import torch
from torch import Tensor

from ppgen.graphs.cell_text import Cell
from ppgen.graphs.scanned_cells import can_scan, scanned

_UNROLLED = 3  # positions up to which a graph holds the cell once for each

Tensors = Sequence[Tensor]


def scan(
    cell: Cell, init: Tensors, xs: Tensors, parameters: Tensors = ()
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    r"""Run a cell over positions: its last state, and its outputs at all positions.

    .. math:: s_t, y_t = \mathrm{cell}(s_{t-1}, x_t, \theta), \quad t = 1, \dots, T

    The cell is a plain function of three tuples of tensors, which returns two sequences of tensors, of the shapes that
    stand below. All that it computes with are its arguments; numbers and flags that it reads elsewhere are those of the
    moment when a graph is made.

    Run by itself, this is a loop. In a traced step, such as `ppgen.fit` makes, the whole run is one operator, with one
    for its gradient: cell and gradient are traced once, and compiled once each, however many positions there are. The
    numbers are the same, and states between positions are all that is kept for the gradient. Second derivatives and
    transforms of `torch.func` see a loop, except second derivatives inside of a traced step, which are refused.

    Args:
        cell: Function of (states, x, parameters) that returns (states, outputs). States keep their shapes and types.
        init: States s_0, of any shapes; perhaps none.
        xs: Inputs, each of shape (T, ...); the cell sees one position of each, (...).
        parameters: Weights and whatever else is the same at all positions.

    Returns:
        States s_T, in the shapes of `init`, and outputs, each of shape (T, ...).

    Raises:
        ValueError: If there is no input, or no position; if lengths of inputs differ; if the cell returns other states
            than it was given; in a traced step if the cell reads tensors beside its arguments, or draws random numbers.
        TypeError: If the cell is no function, or another argument no sequence of tensors.

    Example:
        >>> import torch
        >>> from ppgen.nn import scan
        >>> def leaky(states, x, parameters):
        ...     (total,), (new,), (rate,) = states, x, parameters
        ...     total = rate * total + new
        ...     return (total,), (total**2,)
        >>> (total,), (squares,) = scan(leaky, [torch.zeros(())], [torch.ones(3)], [torch.tensor(0.5)])
        >>> total, squares
        (tensor(1.7500), tensor([1.0000, 2.2500, 3.0625]))
    """
    if not callable(cell):
        raise TypeError(f"cell must be a function of (states, x, parameters), got {type(cell).__name__}.")
    init, xs, parameters = _tensors("init", init), _tensors("xs", xs), _tensors("parameters", parameters)
    lengths = [each.shape[0] if each.dim() else 0 for each in xs]
    if not xs or min(lengths) != max(lengths) or lengths[0] < 1:
        raise ValueError(
            f"xs must be one tensor or more of shape (positions, ...), with the same positions, at least 1; got shapes "
            f"{[tuple(each.shape) for each in xs]}."
        )
    checked = _checking(cell, init)
    if can_scan() and lengths[0] > _UNROLLED:
        last, outputs = scanned(checked, init, xs, parameters)
        return tuple(last), tuple(outputs)
    states: Tensors = init
    rows = []
    for x in zip(*(each.unbind(0) for each in xs), strict=True):
        states, output = checked(tuple(states), x, parameters)
        rows.append(output)
    return tuple(states), tuple(torch.stack(each) for each in zip(*rows, strict=True))


def _tensors(name: str, value: Tensors) -> tuple[Tensor, ...]:
    found = tuple(value) if isinstance(value, Iterable) and not isinstance(value, Tensor) else (None,)
    if not all(isinstance(each, Tensor) for each in found):
        raise TypeError(f"{name} must be a sequence of tensors, such as [h, c], got {type(value).__name__}.")
    return found


def _checking(cell: Cell, init: tuple[Tensor, ...]) -> Cell:
    """The cell, whose states are looked at."""
    expected = [(tuple(each.shape), each.dtype) for each in init]

    @wraps(cell)
    def checked(
        states: tuple[Tensor, ...], x: tuple[Tensor, ...], parameters: tuple[Tensor, ...]
    ) -> tuple[Tensors, Tensors]:
        new, outputs = cell(states, x, parameters)
        new, outputs = _tensors("states that the cell returns", new), _tensors("outputs of the cell", outputs)
        found = [(tuple(each.shape), each.dtype) for each in new]
        if found != expected:
            raise ValueError(
                f"cell must return states like those in init, of shapes and types {expected}, got {found}."
            )
        return new, outputs

    return checked
