"""Which entries of vectors are known, and whether they come first in the order."""

from typing import Any

import torch
from torch import Tensor

from ppgen.checks.arguments import check_tensors

WAYS = (
    "Ways: an orderless network, in an order in which what is known stands first; weighted draws, by "
    "law.weighted_completion(value), which are an estimate with an effective size; or Gibbs updates of the unknown "
    "entries under log_prob. Holding entries while others are drawn in the order is not the conditional law."
)


def check_known(law: Any, value: Any, mask: Any = None) -> Tensor:
    """Whether each entry of vectors is known: (..., D), by a mask, or where they are not NaN.

    Args:
        law: An autoregressive law.
        value: The vectors.
        mask: Whether each entry is known; None for where it is not NaN.

    Raises:
        TypeError: If an argument is no tensor.
        ValueError: If a shape does not fit, or a known value is outside of the support.
    """
    check_tensors(value=value)
    size = law.event_shape[0]
    if not value.dim() or value.shape[-1] != size:
        raise ValueError(f"value must be vectors of {size} entries, (..., {size}), got shape {tuple(value.shape)}.")
    if mask is None:
        known = ~value.isnan()
    else:
        check_tensors(mask=mask)
        if mask.dtype != torch.bool or mask.shape[-1:] != value.shape[-1:] or mask.dim() > value.dim():
            raise ValueError(
                "mask must say by True and False which entries are known, in the shape of value, "
                f"{tuple(value.shape)}, got {mask.dtype} of shape {tuple(mask.shape)}."
            )
        known = mask.expand(value.shape)
    inside = law.output.support.check(value) & value.isfinite()
    if not bool((inside | ~known).all()):
        wrong = value[known & ~inside].flatten()[0].item()
        raise ValueError(f"value must hold {law.output.wanted} where it is known, got {wrong:g}.")
    return known


def precedes(law: Any, known: Tensor) -> Tensor:
    """Whether what is known of each vector comes before all else in the order of a law: (..., D) -> (...,)."""
    ordered = known if law.order is None else known[..., law.order]
    return (ordered[..., :-1] >= ordered[..., 1:]).all(-1)


def check_precedes(law: Any, known: Tensor) -> None:
    """Raise unless what is known of each vector comes before all else in the order of a law.

    Raises:
        ValueError: Names an entry, and what can be done.
    """
    fine = precedes(law, known)
    if bool(fine.all()):
        return
    ordered = (known if law.order is None else known[..., law.order]).reshape(-1, known.shape[-1])
    row = int((~fine).flatten().nonzero()[0])
    gap = int((~ordered[row]).nonzero()[0])
    late = gap + int(ordered[row, gap:].nonzero()[0])
    entries = (gap, late) if law.order is None else (int(law.order[gap]), int(law.order[late]))
    raise ValueError(
        f"value must be known in the first entries of the order: in vector {row} entry {entries[1]} is known and entry "
        f"{entries[0]}, which comes before it in the order, is not, and the exact law of the rest is known only where "
        f"what is known precedes. {WAYS}"
    )
