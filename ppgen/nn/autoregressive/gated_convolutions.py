"""Two stacks of gated convolutions, of the rows above and of the row itself: the network of a gated PixelCNN."""

import torch
from torch import Tensor, nn

from ppgen.causal import State
from ppgen.checks.switches import check_switches
from ppgen.nn.autoregressive.causal_convolution import CausalConvolution
from ppgen.nn.autoregressive.pixel_grid import GridPosition, PixelGrid, Taps, Window, reachable
from ppgen.nn.autoregressive.pixel_network import Coordinates, PixelHead, PixelNetwork, pixel_alone


class GatedCausalConvolutions(PixelNetwork):
    r"""Gated convolutions of the rows above and of the pixels to the left, which leave no earlier pixel unseen.

    .. math:: u_l = A_l * v_{l-1} + U_l g, \quad v_l = \gamma(u_l), \quad
              h_l = h_{l-1} + W_l \, \gamma(B_l * h_{l-1} + L_l u_l + U'_l g), \quad
              \gamma([a, b]) = \tanh(a) \, \sigma(b)

    with v_0 = h_0 the image. The vertical stack v sees whole rows: its first filter those above, its others those and
    the row itself of v, which holds nothing but rows above; so at each pixel it stands for all rows above, and the
    horizontal stack h, which reads pixels to the left, can add it (L). With colours h is in as many groups, of which
    each sees those before at its own pixel. Parameters come from h_L by two layers that read the pixel alone.

    References:
        | Conditional Image Generation with PixelCNN Decoders (van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves and
          Kavukcuoglu, 2016)
        | https://arxiv.org/abs/1606.05328

    Args:
        shape: Rows and columns of the image.
        outputs: Parameters P of the law of one entry.
        channels: Maps of each stack, for each channel of the image.
        layers: Gated layers.
        image_channels: Numbers of a pixel, 3 of colours.
        given: Numbers that each image is conditioned on; both stacks of every layer hear them.
        first_size: Rows and columns of the first layer's square.
        size: Rows and columns of the square of the other layers.
        coordinates: Whether the first layer is told where a pixel stands, and the image from its padding.
        dropout: Probability with which a number that a layer reads is left out while training.

    Raises:
        ValueError: If a number is not positive, `given` is negative, or `dropout` is outside of [0, 1).

    Example:
        >>> import torch
        >>> from ppgen.nn import GatedCausalConvolutions
        >>> network = GatedCausalConvolutions((4, 4), channels=2, layers=1)
        >>> network(torch.zeros(5, 16)).shape, int(network.field.sum()), 16 * 15 // 2
        (torch.Size([5, 16, 1]), 120, 120)
    """

    def __init__(
        self,
        shape: tuple[int, int],
        outputs: int = 1,
        channels: int = 16,
        layers: int = 3,
        image_channels: int = 1,
        given: int = 0,
        first_size: int = 7,
        size: int = 3,
        coordinates: bool = True,
        dropout: float = 0.0,
    ) -> None:
        sizes = {"channels": channels, "layers": layers, "first_size": first_size, "size": size}
        check_switches(optional=(), coordinates=coordinates)
        super().__init__(shape, outputs, image_channels, given, dropout, **sizes)
        grid, groups = self.grid, image_channels
        alone = Taps(grid, pixel_alone(), groups)
        link = Taps(grid, pixel_alone(), 1)
        first = (
            Taps(grid, Window.above(grid, first_size, last=-1), groups),
            Taps(grid, Window.left(grid, first_size, centre=groups > 1), groups),
        )
        later = (
            Taps(grid, Window.above(grid, size, last=0), 1),
            Taps(grid, Window.left(grid, size, centre=True), groups),
        )
        self.coordinates = Coordinates(grid, 2 * channels, first_size) if coordinates else None
        self.layers = nn.ModuleList(
            GatedLayer(grid, channels, *(later if layer else first), link, alone, given, not layer, self.dropout)
            for layer in range(layers)
        )
        self.head = PixelHead(grid, channels, outputs, alone)
        self._name_parts()

    @property
    def stack(self) -> "list[GatedLayer]":
        """The layers, from the image up."""
        return [layer for layer in self.layers if isinstance(layer, GatedLayer)]

    @property
    def field(self) -> Tensor:
        """Which earlier positions each position sees, (positions, positions) of truth values."""
        within = reachable(self.grid, pixel_alone(), strict=False)
        above = across = torch.eye(self.positions)
        for layer in self.stack:
            above = (layer.vertical.field() @ above > 0).float()
            seen = layer.horizontal.field() @ across + above
            across = within @ seen if layer.first else across + within @ seen
            across = (across > 0).float()
        return within @ across > 0

    def initialise(self, bias: Tensor) -> None:
        """Start the output's bias at the mean over all pixels of those of each position, (positions, outputs)."""
        self.head.initialise(bias)

    def _maps(self, image: Tensor, given: Tensor | None) -> Tensor:
        above = across = image
        extra = None if self.coordinates is None else self.coordinates()
        for layer in self.stack:
            above, across = layer(above, across, given, extra if layer.first else None)
        return self.head(across)

    def _start(self, state: State, batch: int, given: Tensor | None) -> None:
        if self.coordinates is not None:
            state["coordinates"] = self.coordinates.by_position()
        for layer in self.stack:
            layer.start(state, batch)

    def _step(self, state: State, place: GridPosition, previous: Tensor) -> Tensor:
        self.stack[0].vertical.keep(state, place, previous, late=True)
        if int(place.position) % (self.grid.columns * self.grid.channels) == 0:
            self._next_row(state, place)
        value = previous
        for layer in self.stack:
            extra = state.get("coordinates") if layer.first else None
            value = layer.step(state, place, value, None if extra is None else place.of_position(extra))
        return self.head.step(state, place, value)

    def _next_row(self, state: State, place: GridPosition) -> None:
        """The vertical stack of a whole row, of which each pixel needs what its neighbours see."""
        above = None
        for layer in self.stack:
            above = layer.next_row(state, place, above)


class GatedLayer(nn.Module):
    """One layer of both stacks.

    Args:
        grid: The image.
        channels: Maps of each stack, for each channel of the image.
        above: Window of the vertical stack.
        left: Window of the horizontal stack.
        link: Window of the pixel alone, of the vertical stack.
        alone: Window of the pixel alone, of the horizontal stack.
        given: Numbers that both stacks hear beside.
        first: Whether it reads the image: then nothing of the pixel itself, and nothing is added to what comes in.
        dropout: What leaves numbers out that it reads.
    """

    def __init__(
        self,
        grid: PixelGrid,
        channels: int,
        above: Taps,
        left: Taps,
        link: Taps,
        alone: Taps,
        given: int,
        first: bool,
        dropout: nn.Dropout,
    ) -> None:
        super().__init__()
        self.grid, self.first, self.channels = grid, first, channels
        maps = channels * grid.channels
        self.vertical = CausalConvolution(grid, 1 if first else maps, 2 * maps, above, given=given, groups=1)
        self.horizontal = CausalConvolution(grid, 1 if first else channels, 2 * channels, left, first, given)
        self.link = CausalConvolution(grid, 2 * maps, 2 * maps, link, groups=1)
        self.out = CausalConvolution(grid, channels, channels, alone)
        self.dropout = dropout

    def forward(
        self, above: Tensor, across: Tensor, given: Tensor | None, extra: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Both stacks of whole images, from those of the layer below; `extra` is added where they are joined."""
        if not self.first:
            above, across_read = self.dropout(above), self.dropout(across)
        else:
            across_read = across
        rows = self.vertical(above, given)
        joined = self.horizontal(across_read, given) + self.link(rows)
        made = self.out(_gated(joined if extra is None else joined + extra, self.grid.channels))
        return _gated(rows, 1), made if self.first else across + made

    @property
    def row(self) -> str:
        """Name in a state of what the vertical stack gives to a row."""
        return self.link.names[2]

    def start(self, state: State, batch: int) -> None:
        """Put a row of what the vertical stack gives into a state."""
        shape = (self.grid.columns * self.grid.channels, 2 * self.channels, batch)
        state[self.row] = self.link.bias.new_zeros(shape)

    def next_row(self, state: State, place: GridPosition, above: Tensor | None) -> Tensor:
        """The vertical stack of a row, (columns, maps, batch), from that of the layer below; its link is kept."""
        rows = self.vertical.row(state, place, above)
        state[self.row].copy_(self.link.of_row(state, rows).reshape(state[self.row].shape))
        first, second = rows.chunk(2, 1)
        return first.tanh() * second.sigmoid()

    def step(self, state: State, place: GridPosition, value: Tensor, extra: Tensor | None) -> Tensor:
        """The horizontal stack at one position."""
        joined = self.horizontal.step(state, place, value, late=self.first) + place.of_row(state[self.row])
        first, second = (joined if extra is None else joined + extra).chunk(2, 0)
        made = self.out.step(state, place, first.tanh() * second.sigmoid())
        return made if self.first else value + made


def _gated(maps: Tensor, groups: int) -> Tensor:
    """Halves of each group of maps, tanh of the first times the sigmoid of the second: half as many maps."""
    first, second = maps.unflatten(1, (groups, 2, -1)).unbind(2)
    return (first.tanh() * second.sigmoid()).flatten(1, 2)
