"""What causal convolutional networks of images share: shapes, coordinates, the layers behind the last maps."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Size, Tensor, nn
from torch.nn.functional import conv2d, elu, pad

from ppgen.causal import State
from ppgen.checks.arguments import check_count, check_number
from ppgen.checks.shapes import broadcast_shapes
from ppgen.nn.autoregressive.causal import Causal
from ppgen.nn.autoregressive.causal_convolution import CausalConvolution
from ppgen.nn.autoregressive.pixel_grid import GridPosition, PixelGrid, Taps, Window


class PixelNetwork(Causal):
    """Base of causal convolutional networks of images, whose positions are pixels in raster order.

    A subclass makes maps of whole images (`_maps`) and of one position (`_step`) by convolutions that read earlier
    pixels alone. A step writes into the caches of the state that it is given.

    Args:
        shape: Rows and columns.
        outputs: Parameters P of the law of one entry.
        image_channels: Numbers of a pixel.
        given: Numbers that each image is conditioned on, which every layer hears.
        dropout: Probability with which a number inside a layer is left out while training.

    Raises:
        ValueError: If a number is not positive, `given` is negative, or `dropout` is outside of [0, 1).
    """

    def __init__(
        self, shape: tuple[int, int], outputs: int, image_channels: int, given: int, dropout: float, **sizes: int
    ) -> None:
        if not isinstance(shape, Sequence) or isinstance(shape, str) or len(shape) != 2:
            raise ValueError(f"shape must be (rows, columns), such as (28, 28), got {shape!r}.")
        for name, size in (("rows", shape[0]), ("columns", shape[1]), ("image_channels", image_channels)):
            check_count(name, size, 1, wanted="at least 1")
        for name, size in sizes.items():
            check_count(name, size, 1, wanted="at least 1")
        check_number("dropout", dropout, "lie in [0, 1)", lambda value: 0 <= value < 1)
        grid = PixelGrid(shape[0], shape[1], image_channels)
        super().__init__(grid.positions, outputs, given)
        self.grid = grid
        self.dropout = nn.Dropout(dropout)

    @property
    @abstractmethod
    def field(self) -> Tensor:
        """Which earlier positions each position sees, (positions, positions) of truth values."""

    @abstractmethod
    def _maps(self, image: Tensor, given: Tensor | None) -> Tensor:
        """Parameters of whole images: (N, channels, rows, columns) -> (N, channels x P, rows, columns)."""

    @abstractmethod
    def _start(self, state: State, batch: int, given: Tensor | None) -> None:
        """Put into a state what steps need beside the caches of convolutions."""

    @abstractmethod
    def _step(self, state: State, place: GridPosition, previous: Tensor) -> Tensor:
        """Parameters of one position: (1, batch) of the position before -> (P, batch)."""

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """Parameters of all entries: (..., positions) -> (..., positions, outputs)."""
        given = self._checked(given)
        batch = x.shape[:-1]
        if given is not None:
            batch = broadcast_shapes(batch, given.shape[:-1])
            given = given.expand(*batch, self.given).reshape(-1, self.given)
        maps = self._maps(self.grid.maps(x.expand(*batch, self.positions)), given)
        return self.grid.parameters(maps).reshape(*batch, self.positions, self.outputs)

    def start(self, batch_shape: Size | tuple[int, ...], given: Tensor | None = None) -> State:
        """Weights as matrices, what is given as each layer hears it, and a cache of some rows of each layer's maps."""
        given = self._checked(given)
        batch = Size(batch_shape).numel()
        if given is not None:
            given = given.expand(*batch_shape, self.given).reshape(-1, self.given)
        state: State = {}
        for module in self.modules():
            if isinstance(module, CausalConvolution):
                module.start(state, batch, given)
        self._start(state, batch, given)
        return {"position": self._first(), **state}

    def step(self, state: State, previous: Tensor) -> tuple[Tensor, State]:
        """Parameters of the next entry, (..., outputs), and the state, into whose caches the last entry was written."""
        position = state["position"]
        made = self._step(state, GridPosition(self.grid, position), previous.reshape(1, -1))
        return made.T.reshape(*previous.shape, self.outputs), {**state, "position": position + 1}

    def _name_parts(self) -> None:
        """Give each convolution the names of its tensors in a state; called when all are made."""
        for name, module in self.named_modules():
            if isinstance(module, CausalConvolution):
                module.names = (f"{name}.weight", f"{name}.offset", f"{name}.cache")

    def _checked(self, given: Tensor | None) -> Tensor | None:
        if self.given and given is None:
            raise ValueError(
                f"given must have shape (..., {self.given}), what the network is conditioned on; got None."
            )
        return given if self.given else None


class Coordinates(nn.Module):
    """Maps of where a pixel stands: a filter over ones, which tell the image from its padding, rows and columns.

    They depend on no pixel's value, so that all of the window may be read.

    Args:
        grid: The image.
        outputs: Maps, of each channel of the image.
        size: Rows and columns of the filter.
    """

    planes: Tensor

    def __init__(self, grid: PixelGrid, outputs: int, size: int) -> None:
        super().__init__()
        self.grid, self.outputs = grid, outputs
        rows, columns = (torch.linspace(-1, 1, number) if number > 1 else torch.zeros(1) for number in grid_shape(grid))
        planes = torch.stack([torch.ones(grid_shape(grid)), *torch.meshgrid(rows, columns, indexing="ij")])
        self.register_buffer("planes", planes.unsqueeze(0), persistent=False)
        beside = min(size // 2, max(grid.rows, grid.columns) - 1)
        spread = (3 * (2 * beside + 1) ** 2) ** -0.5
        filters = torch.empty(outputs * grid.channels, 3, 2 * beside + 1, 2 * beside + 1)
        self.weight = nn.Parameter(filters.uniform_(-spread, spread))

    def forward(self) -> Tensor:
        """Maps: (1, channels x outputs, rows, columns)."""
        beside = self.weight.shape[-1] // 2
        return conv2d(pad(self.planes, (beside,) * 4), self.weight)

    def by_position(self) -> Tensor:
        """Maps by position, (positions, outputs, 1)."""
        return self.grid.parameters(self()).squeeze(0).unsqueeze(-1)


class PixelHead(nn.Module):
    """Parameters of each pixel's law from its maps: two layers that read the pixel alone.

    Args:
        grid: The image.
        inputs: Maps read, of each channel of the image.
        outputs: Parameters of the law of one entry.
        taps: The window of the pixel alone.
    """

    def __init__(self, grid: PixelGrid, inputs: int, outputs: int, taps: Taps) -> None:
        super().__init__()
        self.grid = grid
        self.hidden = CausalConvolution(grid, inputs, inputs, taps)
        self.last = CausalConvolution(grid, inputs, outputs, taps)

    def forward(self, maps: Tensor) -> Tensor:
        """Parameters: (N, channels x inputs, rows, columns) -> (N, channels x outputs, rows, columns)."""
        return self.last(elu(self.hidden(elu(maps))))

    def step(self, state: State, place: GridPosition, value: Tensor) -> Tensor:
        """Parameters of one position: (inputs, batch) -> (outputs, batch)."""
        return self.last.step(state, place, elu(self.hidden.step(state, place, elu(value))))

    @torch.no_grad()
    def initialise(self, bias: Tensor) -> None:
        """Start the bias at the mean over all pixels of a bias of each position, (positions, outputs)."""
        if not self.last.bias.any():
            self.last.bias.copy_(bias.reshape(self.grid.pixels, self.grid.channels, -1).mean(0).flatten())


def grid_shape(grid: PixelGrid) -> tuple[int, int]:
    """Rows and columns."""
    return grid.rows, grid.columns


def pixel_alone() -> Window:
    """The window of the pixel itself."""
    return Window(((0, 0),))
