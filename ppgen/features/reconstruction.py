"""What a pair makes of data that it has encoded."""

from typing import Any

import torch
from torch import Tensor

from ppgen.features.blocks import ROWS_AT_ONCE, blocks
from ppgen.features.posterior_means import expected_data, posterior_means


def reconstruct(pair: Any, data: Any, *, batch_size: int = ROWS_AT_ONCE) -> Tensor:
    """Mean of the data given their codes, row by row: decode(encode(x)).

    Of a pair without a code of its own, the mean of the model's law with every latent at the mean of the guide.

    Args:
        pair: A model of the zoo, a `ppgen.Pair` or a run.
        data: (rows, features), tensor or array; for programs with several arguments a tuple or a mapping.
        batch_size: Rows at once.

    Returns:
        (rows, features), on the device of the pair.

    Raises:
        ValueError: If arguments or data are wrong, the model observes several sites, or a law has no mean.
        TypeError: If `pair` or `data` is none.

    Example:
        >>> import torch
        >>> from ppgen import features, models
        >>> features.reconstruct(models.VAE(features=4, latent=2, hidden=(3,)), torch.eye(4)).shape
        torch.Size([4, 4])
    """
    return torch.cat([mean for _, mean in with_means(pair, data, batch_size)])


def with_means(pair: Any, data: Any, batch_size: int) -> list[tuple[Tensor, Tensor]]:
    """Data of each block and their means given the codes, (rows, features) each."""
    found = []
    with blocks(pair, data, batch_size) as (ready, layout, batches):
        for batch in batches:
            if layout is None:
                seen, mean = batch, ready.decode(ready.encode(batch))
                if getattr(getattr(ready, "observation", None), "counts_words", False):
                    mean = batch.sum(-1, keepdim=True) * mean  # of a document as long as this one
            else:
                seen, mean = expected_data(ready, batch, layout, posterior_means(ready, batch, layout))
            found.append((seen, mean))
    return found
