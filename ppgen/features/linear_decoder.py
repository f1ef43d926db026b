"""The matrix of a decoder that is linear."""

from typing import Any

import torch
from torch import Tensor

from ppgen.undisturbed import evaluating


def decoder_columns(pair: Any) -> Tensor | None:
    """Columns to which a linear decoder sends unit codes, (features, codes), in float64; None if it is not linear.

    Args:
        pair: A `ppgen.coders.Coder` with `num_features`.
    """
    like = next(pair.parameters())
    with evaluating(pair):
        codes = pair.encode(like.new_zeros(1, pair.num_features)).shape[1]
        units = torch.eye(codes, dtype=like.dtype, device=like.device)
        origin = pair.decode(torch.zeros_like(units[:1]))
        columns, mirrored, doubled = (pair.decode(each) - origin for each in (units, -units, 2 * units))
    tolerance = 1e-3 if like.dtype != torch.float64 else 1e-9
    scale = columns.abs().max()
    if not bool(torch.maximum((columns + mirrored).abs(), (doubled - 2 * columns).abs()).max() <= tolerance * scale):
        return None
    return columns.double().T
