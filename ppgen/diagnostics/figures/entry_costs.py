"""What each entry of a datum costs: terms of an exact likelihood as maps."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ppgen.diagnostics.figures.panels import rows_as_array
from ppgen.diagnostics.mosaic import as_images, draw_rows, limits_of
from ppgen.pair import as_pair


def surprisal(
    pair: Any, rows: Any, image_shape: Sequence[int] | None = None, *, terms: Any = None, title: str | None = None
) -> Any:
    r"""Return a figure of data above maps of how unlikely each entry is given those before it.

    .. math:: s_i(x) = -\log p(x_i \mid x_{<i}), \qquad \sum_i s_i(x) = -\log p(x)

    Entries that do not fit what came before stand out: an anomaly is seen where it begins, in the order of the model.
    Below each map stands its sum, -log p(x), in nats. Of images in colour the maps are sums over the channels.

    Args:
        pair: A model whose likelihood is a product over entries, such as an autoregressive one, or a run; None if
            `terms` are given.
        rows: A few rows of data, (rows, features).
        image_shape: Shape of a row as an image, (height, width) or (channels, height, width); without it rows are
            strips.
        terms: log p of each entry given those before it, (rows, features), in nats; by default
            `evaluation.log_likelihood(pair, rows, method="exact", per_position=True).pointwise`.
        title: What stands above the whole; the name of the model by default.

    Raises:
        ValueError: If the likelihood is no product over entries, or terms have another shape than rows.

    Example:
        >>> import torch
        >>> from ppgen import models
        >>> from ppgen.diagnostics import figures
        >>> figure = figures.surprisal(models.FullyVisibleBeliefNet(16), torch.ones(2, 16), (4, 4))
        >>> [text.get_text() for text in figure.axes[1].texts]
        ['11.1 nats', '11.1 nats']
    """
    from matplotlib.figure import Figure

    from ppgen.evaluation import log_likelihood

    if terms is None:
        terms = np.asarray(log_likelihood(pair, rows, method="exact", per_position=True).pointwise)
    data, cost = rows_as_array("rows", rows), -rows_as_array("terms", terms)
    if data.shape != cost.shape:
        raise ValueError(f"terms must have the shape of rows, {data.shape}, got {cost.shape}.")
    if title is None:
        title = "" if pair is None else type(as_pair(pair)).__name__
    images, totals = as_images(data, image_shape), cost.sum(1)
    if images is not None and image_shape is not None:
        image_shape, channels = tuple(image_shape), data.shape[1] // int(np.prod(images.shape[1:3]))
        cost = cost.reshape(len(cost), channels, -1).sum(1)
    size = min(0.9, 7.6 / len(data))
    tall, wide = (1.6, 7.6) if images is None else (size * images.shape[1] / images.shape[2], size * len(data))
    figure = Figure(figsize=(max(wide + 1.2, 5.0), 2 * tall + 1.1), layout="constrained")
    above, below = figure.subplots(2, 1)
    columns = len(data)
    draw_rows(above, data, image_shape, columns=columns, limits=limits_of(data))
    above.set_title("data", fontsize="medium")
    grid = None if images is None else images.shape[1:3]
    limits = (0.0, float(np.quantile(cost, 0.995)) or 1.0)
    drawn = draw_rows(below, cost, grid, columns=columns, limits=limits, colours="magma_r")
    below.set_title("-log p of each entry given those before it", fontsize="medium")
    if images is not None:
        for column, total in enumerate(totals):
            place, told = (column + 0.5) / columns, f"{total:.1f} nats"
            below.text(place, -0.03, told, ha="center", va="top", transform=below.transAxes, fontsize="x-small")
    figure.colorbar(drawn, ax=[above, below], shrink=0.7, label="nats", extend="max")
    figure.suptitle(title, fontsize="medium")
    return figure
