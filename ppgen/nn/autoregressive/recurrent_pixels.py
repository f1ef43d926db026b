"""LSTMs over the rows or the diagonals of an image: the network of a PixelRNN."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from ppgen.causal import State
from ppgen.checks.switches import check_switches
from ppgen.nn.autoregressive.causal_convolution import CausalConvolution
from ppgen.nn.autoregressive.diagonal_lstm import DiagonalBiLSTM
from ppgen.nn.autoregressive.pixel_grid import GridPosition, Taps, Window
from ppgen.nn.autoregressive.pixel_network import Coordinates, PixelHead, PixelNetwork, pixel_alone
from ppgen.nn.autoregressive.row_lstm import RowLSTM


class RecurrentPixels(PixelNetwork):
    r"""Layers of LSTMs over an image, each added to what it reads: each pixel's parameters from the pixels before it.

    .. math:: x_0 = A * x + \text{coordinates}, \quad x_l = x_{l-1} + V_l \, \mathrm{LSTM}_l(x_{l-1}; g), \quad
              \theta = W' e(W'' e(x_L)), \quad e = \mathrm{elu}

    The filter A reads the pixels before of a square (mask A). `kind="row"` runs down the rows and sees a triangle above
    the pixel; `kind="diagonal"` runs along the diagonals, from the left and from the right, and sees all pixels before.
    `field` says which they are. Forget gates start with a bias of 1. In a traced step each layer is one scan.

    References:
        | Pixel Recurrent Neural Networks (van den Oord, Kalchbrenner and Kavukcuoglu, 2016)
        | https://arxiv.org/abs/1601.06759

    Args:
        shape: Rows and columns of the image, of one channel.
        outputs: Parameters P of the law of one entry.
        kind: "row" or "diagonal".
        channels: Hidden maps h of a layer; 2 h stand between layers.
        layers: LSTMs, one upon another.
        given: Numbers that each image is conditioned on; every layer hears them.
        first_size: Rows and columns of the first filter's square.
        coordinates: Whether the first layer is told where a pixel stands, and the image from its padding.
        dropout: Probability with which a number that a layer reads is left out while training.

    Raises:
        ValueError: If a number is not positive, `given` is negative, `dropout` is outside of [0, 1), or the kind is
            none of the two.

    Example:
        >>> import torch
        >>> from ppgen.nn import RecurrentPixels
        >>> network = RecurrentPixels((4, 4), kind="diagonal", channels=2, layers=1)
        >>> network(torch.zeros(5, 16)).shape, int(network.field.sum()) == 16 * 15 // 2
        (torch.Size([5, 16, 1]), True)
    """

    layers: Any  # a ModuleList of RowLSTM or DiagonalBiLSTM

    def __init__(
        self,
        shape: tuple[int, int],
        outputs: int = 1,
        kind: Literal["row", "diagonal"] = "row",
        channels: int = 16,
        layers: int = 3,
        given: int = 0,
        first_size: int = 7,
        coordinates: bool = True,
        dropout: float = 0.0,
    ) -> None:
        if kind not in ("row", "diagonal"):
            raise ValueError(f'kind must be "row" or "diagonal", got {kind!r}.')
        check_switches(optional=(), coordinates=coordinates)
        super().__init__(shape, outputs, 1, given, dropout, channels=channels, layers=layers, first_size=first_size)
        grid = self.grid
        before = Taps(grid, Window.raster(grid, first_size, centre=False), 1)
        self.first = CausalConvolution(grid, 1, 2 * channels, before, strict=True, given=given)
        self.coordinates = Coordinates(grid, 2 * channels, first_size) if coordinates else None
        self.layers = nn.ModuleList(
            RowLSTM(grid, f"layers.{index}", channels, given, self.dropout)
            if kind == "row"
            else DiagonalBiLSTM(grid, f"layers.{index}", channels, given, self.dropout, sees_pixel=index == 0)
            for index in range(layers)
        )
        self.head = PixelHead(grid, 2 * channels, outputs, Taps(grid, pixel_alone(), 1))
        self._name_parts()

    @property
    def field(self) -> Tensor:
        """Which earlier positions each position sees, (positions, positions) of truth values."""
        if any(isinstance(layer, DiagonalBiLSTM) for layer in self.layers):
            return torch.ones(self.positions, self.positions, dtype=torch.bool).tril(-1)
        seen = self.first.field()
        for layer in self.layers:
            seen = (layer.field() @ seen > 0).float()
        return seen > 0

    def initialise(self, bias: Tensor) -> None:
        """Start the output's bias at the mean over all pixels of those of each position, (positions, outputs)."""
        self.head.initialise(bias)

    def _maps(self, image: Tensor, given: Tensor | None) -> Tensor:
        maps = self.first(image, given)
        if self.coordinates is not None:
            maps = maps + self.coordinates()
        for layer in self.layers:
            maps = layer(maps, image, given)
        return self.head(maps)

    def _start(self, state: State, batch: int, given: Tensor | None) -> None:
        if self.coordinates is not None:
            state["coordinates"] = self.coordinates.by_position()
        for layer in self.layers:
            layer.start(state, batch)

    def _step(self, state: State, place: GridPosition, previous: Tensor) -> Tensor:
        value = self.first.step(state, place, previous, late=True)
        if self.coordinates is not None:
            value = value + place.of_position(state["coordinates"])
        for layer in self.layers:
            value = layer.step(state, place, value, previous.squeeze(0))
        return self.head.step(state, place, value)
