"""The code of every datum."""

from typing import Any

import torch
from torch import Tensor

from ppgen.features.blocks import ROWS_AT_ONCE, blocks
from ppgen.features.posterior_means import by_row, posterior_means


def encode(pair: Any, data: Any, *, site: str | None = None, batch_size: int = ROWS_AT_ONCE) -> Tensor:
    """Code of every row: that of the model where it has one, else the mean of the guide at a latent site.

    Models with a code of their own (`ppgen.coders.Coder`: autoencoders, sparse coding) are asked for it. Of any other
    pair it is the mean of the guide's law, with the latents before it at their means too: of a machine P(h = 1 | v).
    Nothing is drawn, and the pair is run in evaluation mode.

    Args:
        pair: A model of the zoo, a `ppgen.Pair` or a run.
        data: (rows, features), tensor or array, such as one split of a data set; for programs with several arguments a
            tuple or a mapping.
        site: Latent site whose means are taken, where there are several.
        batch_size: Rows at once.

    Returns:
        (rows, codes), on the device of the pair.

    Raises:
        ValueError: If arguments or data are wrong, there are several latent sites and none is named, or the law has no
            mean.
        TypeError: If `pair` or `data` is none.

    Example:
        >>> import torch
        >>> from ppgen import features, models
        >>> features.encode(models.Autoencoder(4, hidden=(3, 2)), torch.eye(4)).shape
        torch.Size([4, 2])
        >>> features.encode(models.RBM(visible=4, hidden=3), torch.eye(4)).shape
        torch.Size([4, 3])
    """
    with blocks(pair, data, batch_size) as (ready, layout, batches):
        if layout is None:
            _check_none(site, type(ready).__name__)
            found = [ready.encode(batch) for batch in batches]
        else:
            site = _site(site, [name for name in layout.latent if name in layout.model_laws])
            event_dim = layout.guide_laws[site].event_dim
            means = (posterior_means(ready, batch, layout)[site] for batch in batches)
            found = [by_row(mean, event_dim, layout) for mean in means]
    return torch.cat(found)


def _check_none(site: str | None, model: str) -> None:
    if site is not None:
        raise ValueError(f"site: {model} has one code, given by its encode; leave site out, got {site!r}.")


def _site(site: str | None, known: list[str]) -> str:
    if not known:
        raise ValueError("The pair has no latent site, so that there is nothing to take for a code.")
    if site is None and len(known) > 1:
        raise ValueError(f"The pair has the latent sites {known}: name the one to take, site={known[-1]!r}.")
    if site is not None and site not in known:
        raise ValueError(f"site must be one of the latent sites {known}, got {site!r}.")
    return site or known[0]
