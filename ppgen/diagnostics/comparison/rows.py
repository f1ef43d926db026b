"""Rows that a comparison evaluates, and whether its models can evaluate them: found before anything is trained."""

from collections.abc import Mapping
from typing import Any

import torch

from ppgen import datasets
from ppgen.batch import changed, num_rows
from ppgen.evaluation.likelihood.methods import check_likelihood
from ppgen.training.data.batch_source import BatchSource


def rows_of(source: BatchSource, test: Any) -> tuple[Any, str]:
    """Rows to evaluate, and which they are."""
    if test is not None:
        rows = changed(test, _tensor)
        return rows, f"{num_rows(rows)} rows given"
    if source.dataset is None:
        return source.tensors, f"{source.num_train} training rows"
    names = {"test": "test", "valid": "validation", "train": "training"}
    split = next(name for name in names if len(source.dataset.split(name)))
    rows = source.whole(split)
    return rows, f"{num_rows(rows)} {names[split]} rows"


def _tensor(part: Any) -> torch.Tensor:
    if isinstance(part, datasets.Rows):
        part = part[:]
    try:
        found: torch.Tensor = torch.as_tensor(part)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"test must hold rows of numbers, got {type(part).__name__}: {error}") from error
    if not found.dim():
        raise ValueError("test must hold rows, got a single number.")
    return found


def check_new(pair: Any, other: Any) -> None:
    """Raise a `TypeError` where two calls of a factory gave one model."""
    if pair is other or {id(each) for each in pair.parameters()} & {id(each) for each in other.parameters()}:
        raise TypeError(
            "model_factory must make a new model whenever it is called, and returned parameters that it had returned "
            "before, so that each cell would go on with what another has trained: make the model inside the function."
        )


def check_evaluation(pair: Any, rows: Any, model: str, evaluation: Mapping[str, Any]) -> None:
    """Raise what the evaluation of a trained model of this kind would raise."""
    try:
        check_likelihood(pair, rows, **{name: value for name, value in evaluation.items() if name != "seed"})
    except (TypeError, ValueError) as error:
        raise type(error)(f"test rows cannot be evaluated by {model!r}: {error}") from error
