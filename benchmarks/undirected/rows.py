"""What the parts of the comparison of undirected models share: the form of a figure, the choice of a candidate."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Row = dict[str, Any]


def row(model: str, figures: Sequence[float], parameters: int | None = None, **more: Any) -> Row:
    """A model's figure: mean of the figures of folds, documents or patches, and its standard error."""
    numbers = np.asarray(figures, dtype=np.float64)
    se = float(numbers.std(ddof=1)) / math.sqrt(len(numbers)) if len(numbers) > 1 else None
    return {"model": model, "mean": float(numbers.mean()), "se": se, "parameters": parameters, **more}


def best(tried: Mapping[str, float], largest: bool = False) -> str:
    """The candidate with the best validation figure."""
    return (max if largest else min)(tried, key=lambda name: tried[name])
