"""Images as vectors in raster order, pixel by pixel, and the windows of causal convolutions over them."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class PixelGrid:
    """Pixels in raster order, and the channels of a pixel one after another.

    Row r, column c and channel g stand at position (r x columns + c) x channels + g. Data hold the same numbers channel
    by channel; `order` says which of them stands at each position.

    Args:
        rows: Rows of the image.
        columns: Columns of the image.
        channels: Numbers of a pixel, such as 3 of colours.

    Example:
        >>> PixelGrid(1, 2, 3).order
        tensor([0, 2, 4, 1, 3, 5])
    """

    rows: int
    columns: int
    channels: int = 1

    @property
    def pixels(self) -> int:
        """Rows times columns."""
        return self.rows * self.columns

    @property
    def positions(self) -> int:
        """Entries of the vector."""
        return self.pixels * self.channels

    @property
    def order(self) -> Tensor:
        """Entry of the data, (channels, rows, columns) flattened, that stands at each position."""
        return torch.arange(self.positions).reshape(self.channels, self.pixels).T.flatten()

    def maps(self, x: Tensor) -> Tensor:
        """Vectors as maps: (N, positions) -> (N, channels, rows, columns)."""
        return x.reshape(-1, self.rows, self.columns, self.channels).permute(0, 3, 1, 2)

    def parameters(self, maps: Tensor) -> Tensor:
        """Maps as parameters of positions: (N, channels x P, rows, columns) -> (N, positions, P)."""
        split = maps.unflatten(1, (self.channels, -1)).permute(0, 3, 4, 1, 2)  # rows, columns, channels, P
        return split.flatten(1, 3)


@dataclass(frozen=True)
class Window:
    """Pixels that a convolution reads around each one: their offsets in rows and columns.

    Args:
        offsets: Pairs (rows, columns), those of earlier pixels, and perhaps (0, 0).
    """

    offsets: tuple[tuple[int, int], ...]

    @classmethod
    def raster(cls, grid: PixelGrid, size: int, centre: bool) -> "Window":
        """The part of a square that comes before the pixel in raster order, and the pixel itself if `centre`."""
        square = cls.above(grid, size, last=0).offsets
        return cls(tuple(offset for offset in square if offset < (0, 0) or centre and offset == (0, 0)))

    @classmethod
    def above(cls, grid: PixelGrid, size: int, last: int) -> "Window":
        """The whole rows of a square from its top to row `last`, -1 or 0."""
        up, beside = min(size // 2, grid.rows - 1), min(size // 2, grid.columns - 1)
        return cls(tuple((r, c) for r in range(-up, last + 1) for c in range(-beside, beside + 1)))

    @classmethod
    def left(cls, grid: PixelGrid, size: int, centre: bool) -> "Window":
        """The pixels to the left in the same row, and the pixel itself if `centre`."""
        beside = min(size // 2, grid.columns - 1)
        return cls(tuple((0, c) for c in range(-beside, 1 if centre else 0)))

    @property
    def extent(self) -> tuple[int, int, int]:
        """Rows above, columns to the left and columns to the right."""
        rows, columns = zip(*self.offsets, (0, 0), strict=True)
        return -min(rows), -min(columns), max(columns)


class Taps(nn.Module):
    """Where the numbers that a window reads stand in a cache of some rows of maps.

    A cache holds the rows that the window reaches, as a ring, between columns of zeros; a cell is the maps of a group
    of channels at a pixel. One more cell takes what nothing reads.

    Args:
        grid: The image.
        window: What is read.
        groups: Groups that the channels of the maps are in: those of the grid, or 1 where all are there at once.
    """

    reads: Tensor  # cells that each pixel reads, (pixels, offsets x groups)
    writes: (
        Tensor  # cell where each position is written, (positions + 1,), behind one for the position before the first
    )
    places: Tensor  # place of each offset in the kernel, (offsets,)

    def __init__(self, grid: PixelGrid, window: Window, groups: int) -> None:
        super().__init__()
        self.window, self.groups, self.columns = window, groups, grid.columns
        up, left, right = window.extent
        self.padding, self.kernel_shape = (left, right, up, 0), (up + 1, left + 1 + right)
        width, slots = left + grid.columns + right, up + 1
        self.cells = slots * width * groups

        def cell(row: Tensor, column: Tensor) -> Tensor:
            return row % slots * width + column + left

        pixel = torch.arange(grid.pixels)
        row, column, group = pixel // grid.columns, pixel % grid.columns, torch.arange(groups)
        offsets = torch.tensor(window.offsets, dtype=torch.long).reshape(-1, 2)
        read = cell(row[:, None] + offsets[:, 0], column[:, None] + offsets[:, 1])
        write = (cell(row, column)[:, None] * groups + group).flatten()
        for name, table in (
            ("reads", (read[..., None] * groups + group).flatten(1)),
            ("writes", torch.cat([torch.tensor([self.cells]), write])),
            ("places", (offsets[:, 0] + up) * self.kernel_shape[1] + offsets[:, 1] + left),
        ):
            self.register_buffer(name, table, persistent=False)

    def new_cache(self, numbers: int, batch: int, like: Tensor) -> Tensor:
        """A cache of zeros, (cells + 1, numbers of a group, batch)."""
        return like.new_zeros(self.cells + 1, numbers, batch)


class GridPosition:
    """One position of an image, as steps look things up by it; what several convolutions ask is looked up once.

    Args:
        grid: The image.
        position: The position, a whole number as a tensor ().
    """

    def __init__(self, grid: PixelGrid, position: Tensor) -> None:
        self.position = position.reshape(1)
        self.pixel, self.group = self.position, self.position
        if grid.channels > 1:
            self.pixel, self.group = self.position // grid.channels, self.position % grid.channels
        self._cells: dict[tuple[int, bool], tuple[Tensor, Tensor]] = {}

    def cells(self, taps: Taps, late: bool) -> tuple[Tensor, Tensor]:
        """Cells that are read, and the one that is written: that of the position, or of the one before if `late`."""
        known = self._cells.get((id(taps), late))
        if known is None:
            write = taps.writes.index_select(0, self.position if late else self.position + 1)
            known = taps.reads.index_select(0, self.pixel).squeeze(0), write
            self._cells[id(taps), late] = known
        return known

    def row_cells(self, taps: Taps) -> tuple[Tensor, Tensor]:
        """Cells that the pixels of the row are read at, in turn, and written to, where the position is its first."""
        pixels = self.pixel + torch.arange(taps.columns, device=self.pixel.device)
        return taps.reads.index_select(0, pixels).flatten(), taps.writes.index_select(0, pixels + 1)

    def of_row(self, each: Tensor) -> Tensor:
        """The part of the position's place in its row: (positions of a row, ...) -> (...)."""
        return each.index_select(0, self.position % len(each)).squeeze(0)

    def of_group(self, each: Tensor) -> Tensor:
        """The part of the group that the position is in: (groups, ...) -> (...)."""
        return each.index_select(0, self.group).squeeze(0)

    def of_position(self, each: Tensor) -> Tensor:
        """The part of the position: (positions, ...) -> (...)."""
        return each.index_select(0, self.position).squeeze(0)


def reachable(grid: PixelGrid, window: Window, strict: bool, grouped: bool = True) -> Tensor:
    """Which positions a convolution reads at each position: (positions, positions), 1 where it does and else 0.

    Args:
        grid: The image.
        window: Offsets that it reads.
        strict: Whether of the pixel itself only the channels before are read, or the channel itself too.
        grouped: Whether the channels of the pixel itself come one after another, or all are read.
    """
    position = torch.arange(grid.positions)
    pixel, group = position // grid.channels, position % grid.channels
    rows = pixel // grid.columns - (pixel // grid.columns)[:, None]
    columns = pixel % grid.columns - (pixel % grid.columns)[:, None]
    seen = torch.zeros(grid.positions, grid.positions)
    for offset in window.offsets:
        here = (rows == offset[0]) & (columns == offset[1])
        if offset == (0, 0) and grouped:
            here &= group < group[:, None] if strict else group <= group[:, None]
        seen += here
    return seen
