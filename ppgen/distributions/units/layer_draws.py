"""Draws of several layers of units at once, from a generator or from the key of a graph."""

from collections.abc import Sequence

import torch
from torch import Size, Tensor

from ppgen.distributions.units.units import Units
from ppgen.graphs.threefry import uniforms


def draw_layers(
    units: Sequence[Units],
    inputs: Sequence[Tensor],
    *,
    generator: torch.Generator | None = None,
    key: Tensor | None = None,
    stream: int = 0,
) -> Tensor:
    """Values of layers given the input of each, concatenated: (..., units of all).

    Args:
        units: The layers.
        inputs: Their inputs, (..., size).
        generator: Source of the uniforms; torch's global one if None.
        key: Key of the uniforms, (2,) int32, for steps that are compiled; then no generator is used.
        stream: Number that tells draws with one key apart.

    Example:
        >>> from ppgen.distributions import Bernoulli
        >>> layers = [Bernoulli(torch.zeros(2)), Bernoulli(torch.zeros(3))]
        >>> draw_layers(layers, [torch.zeros(4, 2), torch.zeros(4, 3)]).shape
        torch.Size([4, 5])
    """
    counts = [layer.num_uniforms for layer in units]
    like = inputs[0]
    lead = torch.broadcast_shapes(*(input.shape[:-1] for input in inputs))
    shape = Size((*lead, sum(counts)))
    if key is None:
        uniform = torch.rand(shape, dtype=like.dtype, device=like.device, generator=generator)
    else:
        uniform = uniforms(key, stream, shape, like.dtype)
    pieces = uniform.split(counts, -1)
    return join_layers([layer.sample(input, piece) for layer, input, piece in zip(units, inputs, pieces, strict=True)])


def join_layers(pieces: Sequence[Tensor]) -> Tensor:
    """Values of layers concatenated along their last dimension, the others broadcast."""
    if len(pieces) == 1:
        return pieces[0]
    shape = torch.broadcast_shapes(*(piece.shape[:-1] for piece in pieces))
    return torch.cat([piece.expand(*shape, piece.shape[-1]) for piece in pieces], -1)
