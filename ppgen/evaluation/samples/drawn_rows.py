"""Rows drawn from a pair's model, as evaluations by draws take them."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppgen.checks.arrays import as_tensor, is_array
from ppgen.inference.particles.model_alone import run_model, takes_num_rows
from ppgen.pair import AnyPair
from ppgen.undisturbed import evaluating

_AT_ONCE = 2_000


def drawn_rows(pair: AnyPair, num_samples: int, seed: int) -> Tensor:
    """Draws of the model in evaluation mode, as means of their law where it has one: (num_samples, features).

    Args:
        pair: A pair whose model takes `num_rows`.
        num_samples: How many.
        seed: Seed of the draws.

    Raises:
        ValueError: If the model cannot be called without data.
    """
    if not takes_num_rows(pair):
        raise ValueError(
            f"The model of {type(pair).__name__} takes no num_rows, and cannot be drawn without data: give draws of "
            "it, such as those of ppgen.sample(pair, num_samples, like=...), in the place of the pair."
        )
    parts = []
    with evaluating(pair, seed), pair.running():
        for first in range(0, num_samples, _AT_ONCE):
            count = min(_AT_ONCE, num_samples - first)
            run = run_model(pair, None, count)
            try:
                drawn = run.drawn("mean")
            except (NotImplementedError, AttributeError):
                drawn = run.drawn("sample")
            parts.append(drawn.reshape(count, -1))
    return torch.cat(parts)


def as_table(name: str, rows: Any, like: Tensor | None = None, least: int = 1) -> Tensor:
    """Rows of real numbers as a table: (rows, features).

    Args:
        name: Name of the argument.
        rows: A tensor or an array with one row a datum, or what stands for one, such as `ppgen.sample` returns.
        like: A table with as many features, whose type and device it takes.
        least: The fewest rows that it may have.

    Raises:
        TypeError: If it is no array of numbers.
        ValueError: If it has too few rows, other features, or a value that is not finite.
    """
    if hasattr(rows, "__array__") and not is_array(rows):
        rows = np.asarray(rows)
    if not is_array(rows):
        raise TypeError(f"{name} must be a tensor or an array of rows, got {type(rows).__name__}.")
    table = as_tensor(rows, name)
    if table.dim() < 2 or len(table) < least:
        raise ValueError(
            f"{name} must have shape (rows, features) and at least {least} rows, got {tuple(table.shape)}."
        )
    table = table.reshape(len(table), -1)
    table = table.to(like) if like is not None else table if table.is_floating_point() else table.float()
    if like is not None and table.shape[1] != like.shape[1]:
        raise ValueError(f"{name} must have {like.shape[1]} features, got {table.shape[1]}.")
    if not bool(torch.isfinite(table).all()):
        raise ValueError(f"{name} must be finite, and holds NaN or infinity.")
    return table
