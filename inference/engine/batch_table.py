"""A batch as one table, for baselines that look at it."""

from typing import Any

import torch
from torch import Tensor

from ppgen.batch import split_batch


def batch_table(batch: Any, like: Tensor, whole: bool = False) -> Tensor:
    """The batch as one table, (rows, features), of the type of log-weights (particles, rows).

    Args:
        batch: A batch of data.
        like: Log-weights.
        whole: Whether all of it is one row, as without a data plate.
    """
    args, kwargs = split_batch(batch)
    rows = like.shape[1]
    tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
    known = [value for value in tensors if whole or (value.dim() and len(value) == rows)]
    flat = [value.detach().reshape(rows, -1).to(like.dtype) for value in known]
    return torch.cat(flat, -1) if flat else like.new_zeros(rows, 1)
