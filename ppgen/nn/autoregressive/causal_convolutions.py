"""Masked convolutions in residual blocks: the network of a PixelCNN."""

from torch import Tensor, nn
from torch.nn.functional import elu

from ppgen.causal import State
from ppgen.checks.switches import check_switches
from ppgen.nn.autoregressive.causal_convolution import CausalConvolution
from ppgen.nn.autoregressive.pixel_grid import GridPosition, PixelGrid, Taps, Window, reachable
from ppgen.nn.autoregressive.pixel_network import Coordinates, PixelHead, PixelNetwork, pixel_alone


class CausalConvolutions(PixelNetwork):
    r"""Convolutions that read the pixels before in raster order, by residual blocks: each pixel's parameters.

    .. math:: x_0 = A * x + \text{coordinates}, \quad
              x_l = x_{l-1} + W_l \, e\big(B_l * e(V_l \, e(x_{l-1})) + U_l g\big), \quad
              \theta = W' e(W'' e(x_L)), \quad e = \mathrm{elu}

    with exponential linear units, which leave no map of a few without a gradient. The filter A reads the pixels before
    of a square (mask A), the filters B those and the pixel itself (mask B), V, W, W' and W'' the pixel alone. Of
    colours the red of a pixel is seen by its green, and both by its blue: maps are in as many groups. Windows like
    these leave a **blind spot**: pixels above and to the right, beyond a diagonal, are not seen, whatever the number of
    layers. `field` says what is; `GatedCausalConvolutions` sees all within its reach.

    References:
        | Pixel Recurrent Neural Networks (van den Oord, Kalchbrenner and Kavukcuoglu, 2016)
        | https://arxiv.org/abs/1601.06759
        | PixelCNN++: Improving the PixelCNN with Discretized Logistic Mixture Likelihood and Other Modifications
          (Salimans, Karpathy, Chen and Kingma, 2017)
        | https://arxiv.org/abs/1701.05517
        | Fast Generation for Convolutional Autoregressive Models (Ramachandran, Le Paine, Khorrami, Babaeizadeh, Chang,
          Zhang, Hasegawa-Johnson, Campbell and Huang, 2017)
        | https://arxiv.org/abs/1704.06001

    Args:
        shape: Rows and columns of the image.
        outputs: Parameters P of the law of one entry.
        channels: Maps h inside a block; 2 h stand between blocks. Each channel of the image has so many.
        layers: Blocks.
        image_channels: Numbers of a pixel, 3 of colours.
        given: Numbers that each image is conditioned on; every block hears them.
        first_size: Rows and columns of the first filter's square.
        size: Rows and columns of the square of the filters in blocks.
        coordinates: Whether the first layer is told where a pixel stands, and the image from its padding.
        dropout: Probability with which a number that the filters in blocks read is left out while training.

    Raises:
        ValueError: If a number is not positive, `given` is negative, or `dropout` is outside of [0, 1).

    Example:
        >>> import torch
        >>> from ppgen.nn import CausalConvolutions
        >>> network = CausalConvolutions((4, 4), channels=2, layers=3, first_size=3)
        >>> network(torch.zeros(5, 16)).shape, int(network.field.sum()), 16 * 15 // 2
        (torch.Size([5, 16, 1]), 109, 120)
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
        grid = self.grid
        before = Taps(grid, Window.raster(grid, first_size, centre=image_channels > 1), image_channels)
        around = Taps(grid, Window.raster(grid, size, centre=True), image_channels)
        alone = Taps(grid, pixel_alone(), image_channels)
        self.first = CausalConvolution(grid, 1, 2 * channels, before, strict=True, given=given)
        self.coordinates = Coordinates(grid, 2 * channels, first_size) if coordinates else None
        self.blocks = nn.ModuleList(
            ResidualBlock(grid, channels, around, alone, given, self.dropout) for _ in range(layers)
        )
        self.head = PixelHead(grid, 2 * channels, outputs, alone)
        self._name_parts()

    @property
    def stack(self) -> "list[ResidualBlock]":
        """The blocks, from the image up."""
        return [block for block in self.blocks if isinstance(block, ResidualBlock)]

    @property
    def field(self) -> Tensor:
        """Which earlier positions each position sees, (positions, positions) of truth values."""
        seen = self.first.field()
        within = reachable(self.grid, pixel_alone(), strict=False)
        for block in self.stack:
            seen = (within @ block.field() @ within @ seen > 0).float()
        return within @ seen > 0

    def initialise(self, bias: Tensor) -> None:
        """Start the output's bias at the mean over all pixels of those of each position, (positions, outputs)."""
        self.head.initialise(bias)

    def _maps(self, image: Tensor, given: Tensor | None) -> Tensor:
        maps = self.first(image, given)
        if self.coordinates is not None:
            maps = maps + self.coordinates()
        for block in self.stack:
            maps = block(maps, given)
        return self.head(maps)

    def _start(self, state: State, batch: int, given: Tensor | None) -> None:
        if self.coordinates is not None:
            state["coordinates"] = self.coordinates.by_position()

    def _step(self, state: State, place: GridPosition, previous: Tensor) -> Tensor:
        value = self.first.step(state, place, previous, late=True)
        if self.coordinates is not None:
            value = value + place.of_position(state["coordinates"])
        for block in self.stack:
            value = block.step(state, place, value)
        return self.head.step(state, place, value)


class ResidualBlock(nn.Module):
    """A convolution of few maps between two layers that read the pixel alone, added to what comes in.

    Args:
        grid: The image.
        channels: Maps inside, for each channel of the image; twice as many come in.
        around: Window of the convolution.
        alone: Window of the pixel alone.
        given: Numbers that the convolution hears beside.
        dropout: What leaves numbers out that it reads.
    """

    def __init__(
        self, grid: PixelGrid, channels: int, around: Taps, alone: Taps, given: int, dropout: nn.Dropout
    ) -> None:
        super().__init__()
        self.narrow = CausalConvolution(grid, 2 * channels, channels, alone)
        self.middle = CausalConvolution(grid, channels, channels, around, given=given)
        self.widen = CausalConvolution(grid, channels, 2 * channels, alone)
        self.dropout = dropout

    def forward(self, maps: Tensor, given: Tensor | None = None) -> Tensor:
        """Maps of whole images, as many as come in."""
        inside = self.dropout(elu(self.narrow(elu(maps))))
        return maps + self.widen(elu(self.middle(inside, given)))

    def step(self, state: State, place: GridPosition, value: Tensor) -> Tensor:
        """Maps of one position."""
        inside = elu(self.narrow.step(state, place, elu(value)))
        return value + self.widen.step(state, place, elu(self.middle.step(state, place, inside)))

    def field(self) -> Tensor:
        """Which positions each position reads, (positions, positions)."""
        return self.middle.field()
