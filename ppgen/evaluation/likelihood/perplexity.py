"""Perplexity of documents."""

import math
from typing import Any

import numpy as np

from ppgen.checks.arguments import as_numbers
from ppgen.evaluation.estimate import Estimate


def perplexity(estimate: Estimate, x: Any) -> float:
    r"""Perplexity of a word of documents, from the log-likelihoods of the documents.

    .. math:: \exp\Big(-\frac{1}{N} \sum_n \frac{\log p(v_n)}{D_n}\Big)

    The number of equally likely words between which the model is undecided on average; a document counts the same
    whatever its length.

    Args:
        estimate: `log_likelihood` of the documents.
        x: The same documents as counts, (rows, vocabulary).

    Raises:
        TypeError: If it is no estimate, or `x` holds no numbers.
        ValueError: If the estimate is not of as many rows, a document has no word, or a count is no finite number >= 0.

    References:
        Salakhutdinov and Hinton (2009), Replicated softmax: an undirected topic model, NIPS.

    Example:
        >>> import torch
        >>> from ppgen import evaluation, models
        >>> from ppgen.evaluation import perplexity
        >>> model, counts = models.ReplicatedSoftmax(vocabulary=20, hidden=2), torch.ones(3, 20)
        >>> round(perplexity(evaluation.log_likelihood(model, counts), counts))
        20
    """
    if not isinstance(estimate, Estimate):
        raise TypeError(
            f"estimate must be the evaluation.log_likelihood(pair, x) of the documents, got {type(estimate).__name__}."
        )
    values = None if estimate.per_datum is None else estimate.per_datum.get("log_likelihood")
    counts = as_numbers("x", x)
    if not bool((counts >= 0).all() and counts.isfinite().all()):
        raise ValueError("x must hold counts, finite numbers of at least 0, and holds others.")
    lengths = np.asarray(counts.sum(-1).cpu(), dtype=np.float64)
    if values is None or lengths.shape != np.shape(values):
        rows = "no" if values is None else len(values)
        raise ValueError(
            f"x must hold the documents of the estimate, which has {rows} rows; got counts of shape "
            f"{tuple(counts.shape)}."
        )
    if not (lengths > 0).all():
        raise ValueError(f"x must hold documents of one word or more; row {int((lengths <= 0).argmax())} is empty.")
    return math.exp(-float(np.mean(values / lengths)))
