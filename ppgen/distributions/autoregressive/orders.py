"""Orders in which entries follow each other: permutations."""

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from ppgen.checks.arguments import check_tensors
from ppgen.distributions.autoregressive.draws import tracing

# Tensors, or those that they are views of: the version at which they were looked at, and which parts of them. A row of
# a table of orders is another tensor in each step, and a look waits for the device.
_checked = WeakIdKeyDictionary()


def check_order(order: Tensor, positions: int) -> None:
    """Raise unless an order holds every position once.

    A tensor, or a part of one, is looked at once, and none in a step that is traced.

    Raises:
        TypeError: If it is no tensor.
        ValueError: Says what it holds.
    """
    check_tensors(order=order)
    if order.shape != (positions,) or order.is_floating_point() or order.dtype == torch.bool:
        raise ValueError(
            f"order must be a permutation of 0, ..., {positions - 1} in whole numbers, shape ({positions},), got "
            f"{order.dtype} of shape {tuple(order.shape)}; torch.randperm({positions}) is one."
        )
    if tracing():
        return
    # Tensors made in inference mode count no versions: they are looked at each time.
    now = None if order.is_inference() else order._version
    whole = order if order._base is None else order._base
    part = order.storage_offset(), order.stride()
    version, parts = _checked.get(whole, (None, frozenset()))
    if now is None or version != now:
        parts = frozenset()
    if part in parts:
        return
    counts = torch.bincount(order.clamp(0, positions - 1), minlength=positions)
    if bool((counts != 1).any()) or bool(((order < 0) | (order >= positions)).any()):
        missing = min(set(range(positions)) - set(order.tolist()))
        raise ValueError(
            f"order must be a permutation of 0, ..., {positions - 1}, and it lacks {missing}; got "
            f"{order[:20].tolist()}{', ...' if positions > 20 else ''}."
        )
    if now is not None:
        _checked[whole] = now, parts | {part}
