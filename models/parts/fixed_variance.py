"""Data that are far from the unit variance that a model takes for granted."""

import warnings
from typing import Any

import torch

LOOKED_AT = 10_000  # training rows from which the variances are taken
FAR = 5.0  # ratio of standard deviations


def warn_unless_near_one(data: Any, name: str, remedy: str) -> None:
    """Warn where the features of training data have standard deviations more than five times off 1.

    Features that never change are left out; the others are judged by their median.

    Args:
        data: A `ppgen.datasets.Dataset`.
        name: Of the model.
        remedy: What to do about it beside standardising the data.
    """
    rows = data.batch("train", torch.arange(min(data.num_train, LOOKED_AT))).double().flatten(1)
    if len(rows) < 2:
        return
    deviation = rows.std(0)
    deviation = deviation[deviation > 0]
    if not len(deviation) or 1 / FAR <= float(deviation.median()) <= FAR:
        return
    warnings.warn(
        f"{name} has visible units of variance 1, and the features of the training data have standard deviations of "
        f"{float(deviation.min()):.3g} to {float(deviation.max()):.3g} (median {float(deviation.median()):.3g}): it "
        f"will not fit them. Standardise the data, (x - x.mean(0)) / x.std(0), or {remedy}.",
        stacklevel=2,
    )
