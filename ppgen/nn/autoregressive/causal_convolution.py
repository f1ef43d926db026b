"""A convolution that reads earlier pixels alone: of whole images, or of one pixel from a cache of rows."""

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from ppgen.causal import State
from ppgen.nn.autoregressive.pixel_grid import GridPosition, PixelGrid, Taps, reachable


class CausalConvolution(nn.Module):
    r"""Convolution whose window holds earlier pixels, and of the pixel itself the earlier channels.

    .. math:: y_{p} = b + U g + \sum_{o} W_o \, x_{p + o}

    for the offsets o of a window. Weights stand for these offsets alone; none is multiplied by zero but, where there
    are channels, those at the pixel itself of maps that belong to later channels: maps are in as many groups as the
    image has channels, and a map of group g reads at its own pixel the groups before g (`strict`, mask A), or g too
    (mask B). Filters start uniform within 1 / sqrt(numbers read), biases at zero.

    Args:
        grid: The image.
        inputs: Maps read, of each group.
        outputs: Maps made, of each group.
        taps: The window that is read, and the groups that the maps read are in.
        strict: Whether a group does not read itself at its own pixel.
        given: Numbers that each image is conditioned on, which all pixels hear.
        groups: Groups of the maps made, which are computed one after another; as many as the image has channels by
            default.
    """

    own: Tensor | None
    names: tuple[str, str, str]  # of its tensors in a state, which the network gives

    def __init__(
        self,
        grid: PixelGrid,
        inputs: int,
        outputs: int,
        taps: Taps,
        strict: bool = False,
        given: int = 0,
        groups: int | None = None,
    ) -> None:
        super().__init__()
        self.grid, self.taps, self.strict, self.inputs, self.outputs = grid, taps, strict, inputs, outputs
        self.groups = grid.channels if groups is None else groups
        maps, made, offsets = inputs * taps.groups, outputs * self.groups, taps.window.offsets
        spread = max(1, maps * len(offsets)) ** -0.5
        self.weight = nn.Parameter(torch.empty(made, maps, len(offsets)).uniform_(-spread, spread))
        self.bias = nn.Parameter(torch.zeros(made))
        self.given_weight = nn.Parameter(torch.empty(made, given).uniform_(-1, 1) * given**-0.5) if given else None
        own = None
        if self.groups > 1 and (0, 0) in offsets:
            group_in, group_out = torch.arange(maps) // inputs, torch.arange(made)[:, None] // outputs
            own = torch.ones(made, maps, len(offsets))
            own[..., offsets.index((0, 0))] = (group_in < group_out if strict else group_in <= group_out).float()
        self.register_buffer("own", own, persistent=False)

    def forward(self, maps: Tensor, given: Tensor | None = None) -> Tensor:
        """Maps of whole images: (N, groups x inputs, rows, columns) -> (N, groups x outputs, rows, columns)."""
        weight = self._weight()
        if self.taps.kernel_shape == (1, 1) and weight.shape[-1]:
            kernel = weight.unsqueeze(-1)
        else:
            rows, columns = self.taps.kernel_shape
            empty = weight.new_zeros(*weight.shape[:2], rows * columns)
            kernel = empty.index_copy(2, self.taps.places, weight).unflatten(2, (rows, columns))
        made = conv2d(pad(maps, self.taps.padding), kernel, self.bias)
        if self.given_weight is None or given is None:
            return made
        return made + (given @ self.given_weight.T)[..., None, None]

    def start(self, state: State, batch: int, given: Tensor | None = None) -> None:
        """Put what steps need into a state: weights as matrices, what is added, and a cache of rows.

        The matrix of a group is (outputs, offsets x groups x inputs); what is added, bias and `given`, is (outputs,
        batch), or (outputs, 1) where nothing is given. Batches come last, as one matrix times the numbers read of all
        images is the fastest product.
        """
        weight = self._weight().transpose(1, 2).reshape(self.groups, self.outputs, -1).contiguous()
        offset = self.bias.unsqueeze(-1)
        if self.given_weight is not None and given is not None:
            offset = offset + self.given_weight @ given.T
        offset = offset.unflatten(0, (self.groups, self.outputs))
        state[self.names[0]], state[self.names[1]] = (
            (weight, offset) if self.groups > 1 else (weight.squeeze(0), offset.squeeze(0))
        )
        if self.groups > 1 or self.taps.window.offsets != ((0, 0),):
            state[self.names[2]] = self.taps.new_cache(self.inputs, batch, weight)

    def step(self, state: State, place: GridPosition, value: Tensor, *, late: bool = False) -> Tensor:
        """Maps of one position, (outputs, batch), from those of the position below, (inputs, batch), which are kept.

        Args:
            state: A state that `start` wrote into.
            place: The position.
            value: Maps of the position; of the position before if `late`.
            late: Whether they are of the position before, as the image itself is.
        """
        weight, offset = state[self.names[0]], state[self.names[1]]
        cache = state.get(self.names[2])
        if cache is not None:
            reads, write = place.cells(self.taps, late)
            cache.index_copy_(0, write, value.unsqueeze(0))
            value = cache.index_select(0, reads).flatten(0, 1)
        if self.groups > 1:
            weight, offset = place.of_group(weight), place.of_group(offset)
        return torch.addmm(offset, weight, value)

    def keep(self, state: State, place: GridPosition, value: Tensor, *, late: bool = False) -> None:
        """Write maps of one position into the cache without reading."""
        state[self.names[2]].index_copy_(0, place.cells(self.taps, late)[1], value.unsqueeze(0))

    def row(self, state: State, place: GridPosition, values: Tensor | None) -> Tensor:
        """Maps of the row that begins at a position, (columns, outputs, batch), of one group.

        Args:
            state: A state that `start` wrote into.
            place: The first position of the row.
            values: Maps of its pixels below, (columns, inputs, batch), which are kept; None where they were.
        """
        weight, offset, cache = (state[name] for name in self.names)
        reads, writes = place.row_cells(self.taps)
        if values is not None:
            cache.index_copy_(0, writes, values)
        patches = cache.index_select(0, reads).reshape(self.grid.columns, -1, cache.shape[-1])
        return torch.matmul(weight, patches) + offset

    def of_row(self, state: State, values: Tensor) -> Tensor:
        """Maps of several pixels, each of itself alone: (pixels, inputs, batch) -> (pixels, outputs, batch)."""
        return torch.matmul(state[self.names[0]], values) + state[self.names[1]]

    def field(self) -> Tensor:
        """Which positions each position reads, (positions, positions)."""
        return reachable(self.grid, self.taps.window, self.strict, grouped=self.groups > 1 or self.grid.channels == 1)

    def _weight(self) -> Tensor:
        return self.weight if self.own is None else self.weight * self.own.to(self.weight)
