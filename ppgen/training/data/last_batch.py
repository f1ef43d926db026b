"""Batches of one row, which batch normalisation cannot use in training."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from ppgen.inference.particles.model_alone import prepare_pair
from ppgen.training.data.batch_source import BatchSource


@contextmanager
def explaining_lone_rows(pair: Any, num_rows: int, batch_size: int) -> Iterator[None]:
    """Context in which batch normalisation that refuses a batch is told with what to do.

    Args:
        pair: The pair that is run.
        num_rows: Rows of the batch.
        batch_size: Rows of a usual one.

    Raises:
        ValueError: Names the module, and the argument to change.
    """
    try:
        yield
    except ValueError as error:
        if not str(error).startswith("Expected more than 1 value per channel"):
            raise
        names = [name for name, module in pair.named_modules() if isinstance(module, _BatchNorm)]
        remedy = "drop_last=True, or another batch_size" if batch_size > num_rows else "a batch_size of at least 2"
        raise ValueError(
            f"Batch normalisation ({', '.join(names)}) cannot be trained on a batch of {num_rows} row: it takes mean "
            f"and variance of a batch. Give {remedy}; got batch_size={batch_size}."
        ) from error


def check_last_batch(pair: Any, source: BatchSource, batch_size: int, objective: Any) -> None:
    """Run a pair with batch normalisation on one row if the last batch of an epoch will have one.

    Raises:
        ValueError: If the pair cannot do with it, or the objective.
    """
    if source.num_train % batch_size != 1:
        return
    if objective.compares_draws and objective.least_rows > 1:
        raise ValueError(
            f"{type(objective).__name__} compares rows with each other, and the last batch of an epoch would have one "
            f"row: {source.num_train} rows in batches of {batch_size}. Give drop_last=True, or another batch_size."
        )
    if not any(isinstance(module, _BatchNorm) for module in pair.modules()):
        return
    with explaining_lone_rows(pair, 1, batch_size):
        prepare_pair(pair, source.batch("train", torch.zeros(1, dtype=torch.long)))
