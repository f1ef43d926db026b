"""How far reconstructions are from the data."""

import math
from typing import Any

from ppgen.features.blocks import ROWS_AT_ONCE
from ppgen.features.reconstruction import with_means


def reconstruction_error(pair: Any, data: Any, *, batch_size: int = ROWS_AT_ONCE) -> float:
    r"""Squared error of the reconstructions, summed over the features and averaged over the rows.

    .. math:: \frac{1}{N} \sum_n \|x_n - \hat x_n\|^2

    as Hinton and Salakhutdinov (2006) report it; many libraries print the mean over features too, which is that divided
    by their number. It is in the units of the data and no likelihood.

    Args:
        pair: A model of the zoo, a `ppgen.Pair` or a run.
        data: (rows, features), tensor or array; for programs with several arguments a tuple or a mapping.
        batch_size: Rows at once.

    Raises:
        ValueError: If arguments or data are wrong, the model observes several sites, or a law has no mean.
        TypeError: If `pair` or `data` is none.

    References:
        | Reducing the Dimensionality of Data with Neural Networks (Hinton and Salakhutdinov, 2006)
        | https://doi.org/10.1126/science.1127647

    Example:
        >>> import torch
        >>> from ppgen import features, models
        >>> model = models.Autoencoder(4, hidden=(2,), tied=True)
        >>> with torch.no_grad():
        ...     for tensor in model.parameters():
        ...         _ = tensor.zero_()
        >>> features.reconstruction_error(model, torch.eye(4))
        1.0
    """
    blocks = with_means(pair, data, batch_size)
    sums = [float((seen.double() - mean.double()).square().sum()) for seen, mean in blocks]
    return math.fsum(sums) / sum(len(seen) for seen, _ in blocks)
