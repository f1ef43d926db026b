"""The update of an LSTM behind its gates."""

import torch
from torch import Tensor


def lstm_update(gates: Tensor, cells: Tensor, dim: int = -1) -> tuple[Tensor, Tensor]:
    r"""Hidden numbers and cells of an LSTM from the inputs of its gates.

    .. math:: c' = \sigma(a_f) \, c + \sigma(a_i) \tanh(a_g), \quad h = \sigma(a_o) \tanh(c')

    References:
        | Long Short-Term Memory (Hochreiter and Schmidhuber, 1997)

    Args:
        gates: Inputs of the gates i, f, o and g, one after another: 4 units along `dim`.
        cells: c, units along `dim`.
        dim: Dimension of the units.

    Returns:
        h and c', in the shape of the cells.

    Example:
        >>> import torch
        >>> hidden, cells = lstm_update(torch.zeros(8), torch.ones(2))
        >>> cells
        tensor([0.5000, 0.5000])
    """
    add, keep, show, new = gates.chunk(4, dim)
    cells = keep.sigmoid() * cells + add.sigmoid() * new.tanh()
    return show.sigmoid() * cells.tanh(), cells


def with_open_forget_gates(bias: Tensor) -> None:
    """Set the bias of the forget gates to 1, in place: units along the last dimension, in the order i, f, o, g.

    References:
        | Learning to Forget: Continual Prediction with LSTM (Gers, Schmidhuber and Cummins, 2000)
    """
    with torch.no_grad():
        bias.chunk(4, -1)[1].fill_(1.0)
