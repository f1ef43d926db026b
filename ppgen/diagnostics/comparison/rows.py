"""Rows that a comparison evaluates, and whether its models can evaluate them: found before anything is trained."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from ppgen import datasets
from ppgen.batch import changed, num_rows
from ppgen.evaluation import Estimate, log_evidence, log_likelihood
from ppgen.evaluation.evidence.all_data import all_data, is_joint
from ppgen.evaluation.evidence.evidence import check_evidence, check_method
from ppgen.evaluation.likelihood.latent_annealing import budget
from ppgen.evaluation.likelihood.methods import check_likelihood
from ppgen.training.data.batch_source import BatchSource

LOG_EVIDENCE = "log-evidence"  # how the method is called where one weight covers all data


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


def check_evaluation(pair: Any, rows: Any, what: str, model: str, evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Raise what the evaluation of a trained model of this kind would raise.

    Returns:
        Its arguments, with the runs and the ladder of annealing that it takes where none are given.

    Args:
        pair: A new pair.
        rows: Rows to evaluate.
        what: Which they are.
        model: Name of the model.
        evaluation: Arguments of `evaluation.log_likelihood`, or of `evaluation.log_evidence`.
    """
    try:
        if is_joint(pair, rows):
            if not what.endswith(("training rows", "rows given")):
                raise ValueError(
                    "latents are common to all data, so that a fit is a posterior of its training rows, and of no "
                    "others; give test= the training rows."
                )
            check_evidence(all_data(pair, rows))
            check_method(evaluation["method"])
            num_chains, betas = budget(evaluation["num_chains"], evaluation["betas"])
        else:
            asked = {name: value for name, value in evaluation.items() if name != "seed"}
            num_chains, betas = check_likelihood(pair, rows, **asked)
        return {**evaluation, "num_chains": num_chains, "betas": betas}
    except (TypeError, ValueError) as error:
        raise type(error)(f"test rows cannot be evaluated by {model!r}: {error}") from error


def evaluated(pair: Any, rows: Any, **options: Any) -> Estimate:
    """log p(x) of the rows, the mean over them; where latents are common to all, log-evidence over their number.

    Args:
        pair: A trained pair.
        rows: Rows to evaluate.
        options: Arguments of `evaluation.log_likelihood`, or of `evaluation.log_evidence`.
    """
    if not is_joint(pair, rows):
        return log_likelihood(pair, rows, **options)
    found = log_evidence(pair, rows, **options)
    count = found.num_data
    if count is None:  # no data plate: all data are one datum
        return replace(found, method=f"{LOG_EVIDENCE}, {found.method}", bias=None)
    return replace(
        found,
        value=found.value / count,
        se=found.se / count,
        unit="nats per datum",
        method=f"{LOG_EVIDENCE} over {count} rows, {found.method}",
        bias=None,
    )
