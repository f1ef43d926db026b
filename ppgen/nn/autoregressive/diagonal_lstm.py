"""Two LSTMs that run over the diagonals of an image, from the left and from the right."""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ppgen.causal import State
from ppgen.graphs.scanned_cells import is_traced
from ppgen.nn.autoregressive.causal_convolution import CausalConvolution
from ppgen.nn.autoregressive.pixel_grid import GridPosition, PixelGrid, Taps, Window
from ppgen.nn.autoregressive.pixel_network import pixel_alone
from ppgen.nn.recurrent.lstm import lstm_update, with_open_forget_gates
from ppgen.nn.recurrent.scan import Tensors, scan

_BESIDE = Window(((0, -1), (-1, 0)))


class DiagonalBiLSTM(nn.Module):
    r"""LSTM from the top left, whose pixels read the hidden ones to the left and above, and another from the top right.

    .. math:: h_{rc}, c_{rc} &= \mathrm{LSTM}\big(A x_{rc} + W (h_{r,c-1}, h_{r-1,c}) + U g,\; c_{r,c-1}\big) \\
              y_{rc} &= x_{rc} + V (\overrightarrow{h}_{rc} + \overleftarrow{h}_{r-1,c})

    Each row is moved by one pixel against the row above, so that a column of the skewed map is a diagonal and holds all
    that can be computed at once. The map from the right is moved down a row before the sum, as it has seen pixels to
    the right. So it may read its own pixel (`sees_pixel`, in the first layer): without that no pixel would see the last
    one of the row above, unless it is near. Then every pixel sees all before it. One layer of `RecurrentPixels`.

    Args:
        grid: The image, of one channel.
        name: Of the layer in a state.
        channels: Hidden maps h; twice as many come in and go out.
        given: Numbers that the gates hear beside.
        dropout: What leaves numbers out that the gates read.
        sees_pixel: Whether the LSTM from the right reads the pixels themselves too.
    """

    before: Tensor

    def __init__(
        self, grid: PixelGrid, name: str, channels: int, given: int, dropout: nn.Dropout, sees_pixel: bool = False
    ) -> None:
        super().__init__()
        self.grid, self.channels, self.dropout = grid, channels, dropout
        self.names = [f"{name}.{each}" for each in ("weight", "hidden", "cells", "gates", "right")]
        alone = Taps(grid, pixel_alone(), 1)
        self.inputs = CausalConvolution(grid, 2 * channels, 8 * channels, alone, given=given)
        self.hidden_taps, self.cell_taps = Taps(grid, _BESIDE, 1), Taps(grid, Window(((0, -1),)), 1)
        spread = (2 * channels) ** -0.5
        self.weight = nn.Parameter(torch.empty(2, 2 * channels, 4 * channels).uniform_(-spread, spread))
        self.pixel = nn.Parameter(torch.empty(4 * channels).uniform_(-1, 1)) if sees_pixel else None
        self.widen = CausalConvolution(grid, channels, 2 * channels, alone)
        with_open_forget_gates(self.inputs.bias.view(2, -1))
        # Column of the pixel before each position; before the first a place that nothing reads.
        before = torch.cat([torch.tensor([grid.columns]), torch.arange(grid.pixels - 1) % grid.columns])
        self.register_buffer("before", before, persistent=False)

    def forward(self, maps: Tensor, image: Tensor, given: Tensor | None = None) -> Tensor:
        """Maps of whole images: (N, 2 channels, rows, columns), as many as come in."""
        left, right = self.inputs(self.dropout(maps), given).permute(0, 2, 3, 1).chunk(2, -1)
        if self.pixel is not None:
            right = right + image.permute(0, 2, 3, 1) * self.pixel
        gates = _skewed(torch.stack([left, right.flip(-2)]))  # directions, N, rows, diagonals, gates
        start = gates.new_zeros(*gates.shape[:3], self.channels)
        _, (hidden,) = scan(_diagonal, [start, start], [gates.movedim(3, 0)], [self.weight])
        from_left, from_right = _unskewed(hidden.movedim(0, 3), self.grid.columns)
        below = pad(from_right.flip(-2)[:, :-1], (0, 0, 0, 0, 1, 0))
        return maps + self.widen((from_left + below).permute(0, 3, 1, 2))

    def start(self, state: State, batch: int) -> None:
        """Put caches into a state: of the LSTM from the left, and gates and hidden numbers of a row from the right."""
        columns = self.grid.columns
        state[self.names[0]] = self.weight.transpose(1, 2).contiguous()
        state[self.names[1]] = self.hidden_taps.new_cache(self.channels, batch, self.weight)
        state[self.names[2]] = self.cell_taps.new_cache(self.channels, batch, self.weight)
        state[self.names[3]] = self.weight.new_zeros(columns + 1, 4 * self.channels, batch)
        state[self.names[4]] = self.weight.new_zeros(columns, self.channels, batch)

    def step(self, state: State, place: GridPosition, value: Tensor, previous: Tensor) -> Tensor:
        """Maps of one position: (2 channels, batch), as many as come in.

        The LSTM from the right runs along a row when the row below begins. While a step is traced it runs at each
        position, and what it gives is used at these.
        """
        weight, hidden, cells, gates_of_row, right = (state[name] for name in self.names)
        column = place.position % self.grid.columns
        if self.pixel is not None:
            gates_of_row.index_add_(0, place.of_position(self.before).reshape(1), self.pixel[None, :, None] * previous)
        if is_traced():
            right.copy_(torch.where(column == 0, self._run_from_right(weight[1], gates_of_row, right), right))
        elif int(column) == 0:
            right.copy_(self._run_from_right(weight[1], gates_of_row, right))
        left_gates, right_gates = self.inputs.step(state, place, value).chunk(2)
        gates_of_row.index_copy_(0, column, right_gates.unsqueeze(0))
        reads, write = place.cells(self.hidden_taps, late=False)
        beside, write_cell = place.cells(self.cell_taps, late=False)
        gates = torch.addmm(left_gates, weight[0], hidden.index_select(0, reads).flatten(0, 1))
        new, cell = lstm_update(gates, cells.index_select(0, beside).squeeze(0), 0)
        hidden.index_copy_(0, write, new.unsqueeze(0))
        cells.index_copy_(0, write_cell, cell.unsqueeze(0))
        return value + self.widen.step(state, place, new + right.index_select(0, column).squeeze(0))

    def field(self) -> Tensor:
        """Which positions each position reads, (positions, positions): all maps up and left, and those above."""
        return torch.ones(self.grid.positions, self.grid.positions).tril()

    def _run_from_right(self, weight: Tensor, gates: Tensor, above: Tensor) -> Tensor:
        """Hidden numbers of a row, (columns, channels, batch), from its gates and those of the row above.

        Gates are zero before the first row, which leaves hidden numbers at zero.
        """
        hidden = cells = torch.zeros_like(above[0])
        row = []
        for column in reversed(range(self.grid.columns)):
            of_state = weight @ torch.cat([hidden, above[column]])
            hidden, cells = lstm_update(gates[column] + of_state, cells, 0)
            row.append(hidden)
        return torch.stack(row[::-1])


def _diagonal(states: Tensors, x: Tensors, parameters: Tensors) -> tuple[Tensors, Tensors]:
    """One diagonal from the one before: hidden numbers and cells (directions, N, rows, channels)."""
    (hidden, cells), (gates,), (weight,) = states, x, parameters
    both = torch.cat([hidden, pad(hidden[:, :, :-1], (0, 0, 1, 0))], -1)
    of_state = torch.bmm(both.flatten(1, 2), weight).unflatten(1, hidden.shape[1:3])
    hidden, cells = lstm_update(gates + of_state, cells)
    return (hidden, cells), (hidden,)


def _skewed(maps: Tensor) -> Tensor:
    """Each row moved by one more pixel to the right: (..., rows, columns, K) -> (..., rows, diagonals, K)."""
    rows, columns = maps.shape[-3:-1]
    flat = pad(maps, (0, 0, 0, rows)).flatten(-3, -2)
    return flat[..., : rows * (rows + columns - 1), :].unflatten(-2, (rows, rows + columns - 1))


def _unskewed(maps: Tensor, columns: int) -> Tensor:
    """The rows moved back: (..., rows, diagonals, K) -> (..., rows, columns, K)."""
    rows = maps.shape[-3]
    flat = pad(maps.flatten(-3, -2), (0, 0, 0, rows))
    return flat.unflatten(-2, (rows, rows + columns))[..., :columns, :]
