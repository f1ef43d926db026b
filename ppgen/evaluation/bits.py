"""Bits per dimension, with the convention stated."""

import math
from dataclasses import replace
from typing import Any

from ppgen.checks.arguments import check_count, check_kind, check_number
from ppgen.evaluation.estimate import Estimate

_OTHER_SIDE = {"lower bound": "upper bound", "upper bound": "lower bound"}


def bits_per_dimension(log_likelihood: Any, dimensions: int, *, scale: float = 1.0) -> Estimate:
    r"""Log-likelihood as bits for each number of a datum; small is good.

    .. math:: b = -\frac{\log p(x)}{D \ln 2} + \log_2 s

    Of a discrete law, a probability of levels, it is as it stands, s = 1. A density changes with the scale of the data:
    that of x / 256 counts with s = 256 (8 bits more), of x / 255 with 255, of x brought from 0, ..., 255 to [-1, 1]
    with 127.5, and is then one of levels of width 1. With uniform noise added to the levels its bits are an upper bound
    on those of a discrete law (Theis, van den Oord and Bethge, 2016); without noise they bound nothing.

    Args:
        log_likelihood: As `log_likelihood` gives it, in nats per datum.
        dimensions: Numbers D of a datum: features, with all channels of an image.
        scale: By how much the data were divided, s, of a density; 1 of a discrete law.

    Returns:
        Bits per dimension with their errors. A lower bound of log p is an upper bound of bits.

    Raises:
        TypeError: If it is no estimate.
        ValueError: If it is not in nats per datum, or a number is not positive.

    References:
        | A Note on the Evaluation of Generative Models (Theis, van den Oord and Bethge, 2016)
        | https://arxiv.org/abs/1511.01844

    Example:
        >>> import torch
        >>> from ppgen import evaluation, models
        >>> found = evaluation.log_likelihood(models.FullyVisibleBeliefNet(4), torch.ones(2, 4), method="exact")
        >>> evaluation.bits_per_dimension(found, dimensions=4)
        1.0000 bits per dimension, exact, exact, 2 rows; spread over data ±0.0000
    """
    check_kind("log_likelihood", log_likelihood, Estimate, "an estimate, as evaluation.log_likelihood gives it")
    check_count("dimensions", dimensions)
    check_number("scale", scale, "be positive", lambda value: value > 0)
    if log_likelihood.unit != "nats per datum":
        raise ValueError(f"log_likelihood must be in nats per datum, got one in {log_likelihood.unit}.")
    nats = dimensions * math.log(2)  # of one bit for each dimension

    def spread(error: float | None) -> float | None:
        return None if error is None else error / nats

    return replace(
        log_likelihood,
        value=-log_likelihood.value / nats + math.log2(scale),
        se=log_likelihood.se / nats,
        kind=_OTHER_SIDE.get(log_likelihood.kind, log_likelihood.kind),
        unit="bits per dimension",
        data_se=spread(log_likelihood.data_se),
        log_partition_se=spread(log_likelihood.log_partition_se),
        bias=None if log_likelihood.bias is None else -log_likelihood.bias / nats,
        per_datum=None,
    )
