"""What a pair makes of latents that somebody else chose."""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from ppgen.batch import parts_of
from ppgen.checks.arguments import as_numbers
from ppgen.coders import Coder
from ppgen.features.blocks import ROWS_AT_ONCE, blocks
from ppgen.features.posterior_means import expected_data
from ppgen.inference.structure.layout import Layout
from ppgen.pair import GenerativeModel, as_pair


def decode(pair: Any, latents: Any, data: Any = None, *, batch_size: int = ROWS_AT_ONCE) -> Tensor:
    r"""Mean of the data given latents, row by row: E[x | z].

    Of a model with a code of its own, such as an autoencoder, the latents are codes. Nothing is drawn.

    Args:
        pair: A model of the zoo, a `ppgen.Pair` or a run.
        latents: Values of the latent site, (rows, ...), or where there are several a mapping of those of all by site.
        data: As many rows of data, in the form that the pair takes them. What the model observes in them is not looked
            at; covariates are. A model of the zoo of one table needs none.
        batch_size: Rows at once.

    Returns:
        (rows, features), on the device of the pair.

    Raises:
        ValueError: If arguments or data are wrong, a site is none of the model's latents or has values of another
            shape, the model observes several sites, or a law has no mean.
        TypeError: If `pair` or `data` is none.

    Example:
        >>> import torch
        >>> from ppgen import features, models
        >>> features.decode(models.VAE(features=4, latent=2, hidden=(3,)), torch.zeros(5, 2)).shape
        torch.Size([5, 4])
        >>> features.decode(models.Autoencoder(4, hidden=(2,)), torch.zeros(5, 2)).shape
        torch.Size([5, 4])
    """
    pair = as_pair(pair)
    values = {
        name: as_numbers(f"latents[{name!r}]" if name else "latents", each)
        for name, each in (latents.items() if isinstance(latents, Mapping) else [("", latents)])
    }
    counts = {name: len(each) if each.dim() else 0 for name, each in values.items()}
    rows = max(counts.values(), default=0)
    if not rows or len(set(counts.values())) > 1:
        raise ValueError(f"latents must be values for the same rows, one or more, got {counts or 'none'}.")
    for name, each in values.items():
        if not bool(each.isfinite().all()):
            raise ValueError(f"latents{f' at {name!r}' if name else ''} must be finite.")
    if isinstance(pair, Coder):
        return _of_codes(pair, values, batch_size)
    if data is None:
        data = _empty(pair, rows)
    for part in parts_of(data):
        if np.ndim(part) and len(part) != rows:
            raise ValueError(f"data must have the {rows} rows of the latents, got {len(part)}.")
    found = []
    with torch.no_grad(), blocks(pair, data, batch_size) as (ready, layout, batches):
        structure = cast(Layout, layout)  # of every pair without codes of its own
        values = _checked(values, structure, ready)
        start = 0
        for batch in batches:
            given = {name: each[start : start + batch_size] for name, each in values.items()}
            _, mean = expected_data(ready, batch, structure, given)
            start += batch_size
            found.append(mean)
    return torch.cat(found)


def _of_codes(pair: Any, values: dict[str, Tensor], batch_size: int) -> Tensor:
    codes = values.get("")
    if codes is None or codes.dim() != 2 or codes.shape[1] != pair.num_codes:
        shape = None if codes is None else tuple(codes.shape)
        raise ValueError(
            f"latents must be codes of {type(pair).__name__}, (rows, {pair.num_codes}), got "
            f"{f'shape {shape}' if shape else f'values at {list(values)}'}."
        )
    with torch.no_grad(), blocks(pair, torch.zeros(1, pair.num_features), batch_size) as (ready, _, batches):
        like = next(iter(batches))
        return torch.cat([ready.decode(part.to(like)) for part in codes.split(batch_size)])


def _empty(pair: Any, rows: int) -> Tensor:
    """Data of zeros, in the place of what the model observes."""
    size = getattr(pair, "num_features", None)
    if not isinstance(pair, GenerativeModel) or not isinstance(size, int) or hasattr(pair, "inputs"):
        raise ValueError(
            f"data must be given: {type(pair).__name__} takes arguments beside what it observes, or does not say how "
            "many features that has."
        )
    return torch.zeros(rows, size)


def _checked(values: dict[str, Tensor], layout: Layout, pair: Any) -> dict[str, Tensor]:
    """Values by site, of the type of the pair and of the shapes in which the model draws them."""
    known = [name for name in layout.latent if name in layout.model_laws]
    if set(values) == {""}:
        if len(known) != 1:
            raise ValueError(f"The pair has the latent sites {known}: give latents as a mapping from sites to values.")
        values = {known[0]: values[""]}
    like = next((each for each in pair.parameters() if each.is_floating_point()), torch.zeros(()))
    if set(values) != set(known):
        raise ValueError(f"latents must be values of all the latent sites {known}, got {list(values)}.")
    for name, each in values.items():
        law = layout.model_laws[name]
        wanted = (*law.batch_shape, *law.event_shape)[len(law.batch_shape) + layout.row_dim + 1 :]
        if tuple(each.shape[1:]) != wanted:
            sizes = "".join(f", {size}" for size in wanted)
            raise ValueError(f"latents at {name!r} must have shape (rows{sizes}), got {tuple(each.shape)}.")
    return {name: each.to(like) for name, each in values.items()}
