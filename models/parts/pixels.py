"""Images as autoregressive vectors of pixels: their shape, the network over them, the law of a pixel."""

import math
from collections.abc import Sequence
from typing import Any

from ppgen.distributions import BernoulliOutput, CategoricalOutput, OutputLaw
from ppgen.models.parts.arguments import positive_size, positive_sizes
from ppgen.nn import Causal, CausalLinear


def image_shape(shape: Any) -> tuple[int, int, int]:
    """The shape of images as channels, rows and columns.

    Raises:
        TypeError: If it is no sequence of whole numbers.
        ValueError: If it has neither two nor three numbers.

    Example:
        >>> image_shape((8, 8))
        (1, 8, 8)
    """
    found = positive_sizes("shape", shape)
    if len(found) not in (2, 3):
        raise ValueError(f"shape must be (rows, columns) or (channels, rows, columns), got {found}.")
    channels, rows, columns = found if len(found) == 3 else (1, *found)
    return channels, rows, columns


def pixel_output(levels: int) -> OutputLaw:
    """Law of a pixel of so many levels: a Bernoulli law of bits.

    Raises:
        TypeError: If it is no whole number.
        ValueError: If there are fewer than two.
    """
    if positive_size("levels", levels) < 2:
        raise ValueError(f"levels must be at least 2, got {levels}.")
    return BernoulliOutput() if levels == 2 else CategoricalOutput(levels)


def pixel_network(shape: Sequence[int], channels: int, layers: int, outputs: int) -> Causal:
    """Network over the pixels of images."""
    return CausalLinear(math.prod(shape), outputs)
