"""An LSTM that runs down the rows of an image, all pixels of a row at once."""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ppgen.causal import State
from ppgen.nn.autoregressive.causal_convolution import CausalConvolution
from ppgen.nn.autoregressive.pixel_grid import GridPosition, PixelGrid, Taps, Window, reachable
from ppgen.nn.autoregressive.pixel_network import pixel_alone
from ppgen.nn.recurrent.lstm import lstm_update, with_open_forget_gates
from ppgen.nn.recurrent.scan import Tensors, scan

_ABOVE = Window(((-1, -1), (-1, 0), (-1, 1)))


class RowLSTM(nn.Module):
    r"""LSTM whose gates read of the maps the pixel and its left neighbour, and three hidden pixels of the row above.

    .. math:: a_{r} = B * x_r + W * h_{r-1} + U g, \quad h_r, c_r = \mathrm{LSTM}(a_r, c_{r-1}), \quad
              y_r = x_r + V h_r

    What it sees above grows by a pixel to each side a row: a triangle. One layer of `RecurrentPixels`.

    Args:
        grid: The image, of one channel.
        name: Of the layer in a state.
        channels: Hidden maps h; twice as many come in and go out.
        given: Numbers that the gates hear beside.
        dropout: What leaves numbers out that the gates read.
    """

    def __init__(self, grid: PixelGrid, name: str, channels: int, given: int, dropout: nn.Dropout) -> None:
        super().__init__()
        self.grid, self.channels, self.dropout = grid, channels, dropout
        self.names = f"{name}.hidden", f"{name}.cells"
        beside = Taps(grid, Window.left(grid, 3, centre=True), 1)
        self.inputs = CausalConvolution(grid, 2 * channels, 4 * channels, beside, given=given)
        self.hidden_taps, self.cell_taps = Taps(grid, _ABOVE, 1), Taps(grid, Window(((-1, 0),)), 1)
        spread = (3 * channels) ** -0.5
        self.weight = nn.Parameter(torch.empty(4 * channels, 3 * channels).uniform_(-spread, spread))
        self.widen = CausalConvolution(grid, channels, 2 * channels, Taps(grid, pixel_alone(), 1))
        with_open_forget_gates(self.inputs.bias)

    def forward(self, maps: Tensor, image: Tensor, given: Tensor | None = None) -> Tensor:
        """Maps of whole images: (N, 2 channels, rows, columns), as many as come in."""
        gates = self.inputs(self.dropout(maps), given).permute(2, 0, 3, 1)  # rows, N, columns, gates
        start = gates.new_zeros(*gates.shape[1:3], self.channels)
        _, (hidden,) = scan(_row, [start, start], [gates], [self.weight])
        return maps + self.widen(hidden.permute(1, 3, 0, 2))

    def start(self, state: State, batch: int) -> None:
        """Put caches of hidden numbers and cells, of two rows each, into a state."""
        for key, taps in zip(self.names, (self.hidden_taps, self.cell_taps), strict=True):
            state[key] = taps.new_cache(self.channels, batch, self.weight)

    def step(self, state: State, place: GridPosition, value: Tensor, previous: Tensor) -> Tensor:
        """Maps of one position: (2 channels, batch), as many as come in."""
        hidden, cells = (state[name] for name in self.names)
        reads, write = place.cells(self.hidden_taps, late=False)
        above, write_cell = place.cells(self.cell_taps, late=False)
        gates = torch.addmm(
            self.inputs.step(state, place, value), self.weight, hidden.index_select(0, reads).flatten(0, 1)
        )
        new, cell = lstm_update(gates, cells.index_select(0, above).squeeze(0), 0)
        hidden.index_copy_(0, write, new.unsqueeze(0))
        cells.index_copy_(0, write_cell, cell.unsqueeze(0))
        return value + self.widen.step(state, place, new)

    def field(self) -> Tensor:
        """Which positions each position reads, (positions, positions)."""
        inputs, above = self.inputs.field(), reachable(self.grid, _ABOVE, strict=False)
        seen = inputs
        for _ in range(self.grid.rows - 1):
            seen = (inputs + above @ seen > 0).float()
        return (seen + torch.eye(self.grid.positions) > 0).float()


def _row(states: Tensors, x: Tensors, parameters: Tensors) -> tuple[Tensors, Tensors]:
    """One row from the row above: hidden numbers and cells (N, columns, channels), gates (N, columns, 4 channels)."""
    (hidden, cells), (gates,), (weight,) = states, x, parameters
    wide = pad(hidden, (0, 0, 1, 1))
    above = torch.cat([wide[:, :-2], wide[:, 1:-1], wide[:, 2:]], -1)
    hidden, cells = lstm_update(gates + above @ weight.T, cells)
    return (hidden, cells), (hidden,)
