"""A batch as one table, for baselines that look at it."""

from typing import Any

import torch
from torch import Tensor

from ppgen.pair import split_batch


def batch_table(batch: Any, like: Tensor) -> Tensor:
    """The batch as one table, (rows, features), of the type of log-weights (particles, rows)."""
    args, kwargs = split_batch(batch)
    rows = like.shape[1]
    tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor) and value.dim()]
    flat = [value.detach().reshape(rows, -1).to(like.dtype) for value in tensors if len(value) == rows]
    return torch.cat(flat, -1) if flat else like.new_zeros(rows, 1)
