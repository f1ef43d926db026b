"""What programs of directed models share: rows of their data, a standard Normal prior, variables side by side."""

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppgen.checks.shapes import broadcast_shapes


def rows(x: Tensor | None, num_rows: int | None) -> int:
    """Rows of the data plate: those of the data, else the number asked for, else 1."""
    return len(x) if x is not None else num_rows or 1


def standard_normal(size: int, owner: nn.Module) -> dist.TorchDistribution:
    """N(0, I) of `size` variables, on the device and in the dtype of the parameters of its owner."""
    like = next(owner.parameters())
    return dist.Normal(like.new_zeros(size), like.new_ones(size)).to_event(1)


def joined(values: Sequence[Tensor]) -> Tensor:
    """Variables side by side, (..., sum of sizes); their other dimensions are broadcast, as particles need it."""
    batch = broadcast_shapes(*(value.shape[:-1] for value in values))
    return torch.cat([value.expand(*batch, value.shape[-1]) for value in values], -1)
