"""Class labels of which some are not told: checks of them, and laws of one-hot variables that know them."""

import math
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

UNLABELLED = -1
"""Label of a row whose class is not told."""


def class_law(logits: Tensor, y: Tensor | None) -> dist.TorchDistribution:
    r"""One-hot law of the class: the label where there is one, else what the logits say.

    .. math:: q(k) = [k = y] \text{ where } y \ge 0, \quad \mathrm{softmax}_k(\text{logits}) \text{ elsewhere}

    Args:
        logits: (..., rows, classes).
        y: Labels, (rows,), -1 where there is none; None where no row has one.

    Example:
        >>> class_law(torch.zeros(2, 4), torch.tensor([3, -1])).probs
        tensor([[0.0000, 0.0000, 0.0000, 1.0000],
                [0.2500, 0.2500, 0.2500, 0.2500]])
    """
    if y is not None:
        told = torch.zeros_like(logits).masked_fill(~_matches(y, logits), -math.inf)
        logits = torch.where(is_labelled(y).unsqueeze(-1), told, logits)
    return dist.OneHotCategorical(logits=logits)


def label_log_prob(logits: Tensor, y: Tensor) -> Tensor:
    """Log-probability of each label under the logits, in nats, 0 where there is none: (..., rows)."""
    return logits.log_softmax(-1).masked_fill(~_matches(y, logits), 0.0).sum(-1)


def is_labelled(y: Tensor) -> Tensor:
    """Whether each row has a label: (rows,) booleans."""
    return y != UNLABELLED


def check_labels(y: Any, num_rows: int, classes: int) -> None:
    """Raise unless labels are one for each row, from 0 to `classes` - 1, or -1 where there is none.

    Raises:
        TypeError: If they are no tensor of whole numbers.
        ValueError: If there is not one for each row, or one is out of range; the first such row is named.
    """
    if not isinstance(y, Tensor) or y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        told = y.dtype if isinstance(y, Tensor) else type(y).__name__
        raise TypeError(f"y must be a tensor of whole numbers, the labels of the rows; got {told}.")
    if y.shape != (num_rows,):
        raise ValueError(f"y must be one label for each of the {num_rows} rows, got shape {tuple(y.shape)}.")
    check_range(y, classes, "y")


def check_range(y: Tensor, classes: int, name: str) -> None:
    """Raise where a label is neither a class nor -1.

    Raises:
        ValueError: If a label is out of range; the first such row is named.
    """
    outside = ((y < UNLABELLED) | (y >= classes)).nonzero()
    if len(outside):
        row = int(outside[0])
        raise ValueError(
            f"{name} must be labels from 0 to {classes - 1}, or {UNLABELLED} where a row has none; row {row} has "
            f"{int(y[row])}. Give the model as many classes as there are, or count them from 0."
        )


def check_classes(y: Tensor, classes: int) -> None:
    """Raise unless every class has a labelled row.

    Raises:
        ValueError: If no row has a label, or a class has none; those without are named.
    """
    found = y[is_labelled(y)].unique().tolist()
    if not found:
        raise ValueError(
            f"No training row has a label: all are {UNLABELLED}. A class is known by its labelled rows alone; give "
            "some of each, as data.with_labels(keep=50) does."
        )
    absent = sorted(set(range(classes)) - set(found))
    if absent:
        named = ", ".join(map(str, absent))
        raise ValueError(
            f"Every class needs a labelled training row, and {'class' if len(absent) == 1 else 'classes'} {named} of "
            f"{classes} have none. Label a row of each, as data.with_labels(keep=50) does, or give the model fewer "
            "classes."
        )


def _matches(y: Tensor, logits: Tensor) -> Tensor:
    """Which class is that of the label: (rows, classes) booleans, none where there is no label."""
    return y.unsqueeze(-1) == torch.arange(logits.shape[-1], device=y.device)
