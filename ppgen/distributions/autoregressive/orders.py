"""Orders in which entries follow each other: permutations."""

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from ppgen.checks.arguments import check_tensors
from ppgen.distributions.autoregressive.draws import tracing

_checked = WeakIdKeyDictionary()  # the version at which each tensor was looked at


def check_order(order: Tensor, positions: int) -> None:
    """Raise unless an order holds every position once. A tensor is looked at once, and not in a step that is traced.

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
    # Tensors made in inference mode count no versions: they are looked at each time.
    version = None if order.is_inference() else order._version
    if tracing() or (version is not None and _checked.get(order) == version):
        return
    counts = torch.bincount(order.clamp(0, positions - 1), minlength=positions)
    if bool((counts != 1).any()) or bool(((order < 0) | (order >= positions)).any()):
        missing = min(set(range(positions)) - set(order.tolist()))
        raise ValueError(
            f"order must be a permutation of 0, ..., {positions - 1}, and it lacks {missing}; got "
            f"{order[:20].tolist()}{', ...' if positions > 20 else ''}."
        )
    if version is not None:
        _checked[order] = version
