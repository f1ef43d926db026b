"""Rows of data of which a part is given, and what a model makes of the rest, as a figure."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ppgen.checks.seeding import check_seed
from ppgen.diagnostics.figures.image_grid import MISSING, image_grid
from ppgen.diagnostics.mosaic import as_images, draw_rows, limits_of
from ppgen.pair import as_pair


def completions(
    pair: Any,
    rows: Any,
    image_shape: Sequence[int] | None = None,
    *,
    whole: Any = None,
    num_samples: int = 6,
    num_chains: int = 100,
    seed: int = 0,
    **options: Any,
) -> Any:
    r"""Return a figure of rows of which a part is given, draws of the rest, and the mean of these.

    .. math:: x_{\text{free}} \sim p(x_{\text{free}} \mid x_{\text{given}})

    Each column is a row of data: on top what is given, with what is missing in colour, and below it draws and their
    mean. Of an autoregressive model they are independent and exact. Of a Boltzmann machine each is the end of a Gibbs
    chain of its own, and the mean over all chains is of the data's law given the hidden units; the largest R-hat among
    the rows stands above the picture: where it is not near 1, the chains do not agree on the ways to complete a row.
    Rows that are no images are strips; of these the mean is shown, and no draws.

    Args:
        pair: A Boltzmann machine or an autoregressive model of the zoo, or a run that trained one.
        rows: Rows of data, (rows, features), NaN at what is to be simulated.
        image_shape: Shape of a row as an image, (height, width), perhaps with colours; without it each row is
            a strip.
        whole: The same rows in full, to be shown below them all.
        num_samples: Draws of each row that are shown.
        num_chains: Chains of each row, which R-hat and the mean are taken over; exact draws are as many.
        seed: Seed of the draws.
        **options: Other arguments of `ppgen.sample`.

    Raises:
        ValueError: If nothing is missing, `whole` has another shape, more draws are to be shown than there are chains,
            the model is neither a Boltzmann machine nor autoregressive, or what is given does not come first in its
            order.

    Example:
        >>> import torch
        >>> from ppgen import models
        >>> from ppgen.diagnostics import figures
        >>> half = torch.ones(5, 16)
        >>> half[:, 8:] = float("nan")
        >>> figure = figures.completions(models.RBM(visible=16, hidden=4), half, (4, 4), warmup_steps=50, sweeps=5)
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['given', 'draws', 'mean of draws']
    """
    seed = check_seed(seed)
    from ppgen.training import sample

    if isinstance(num_samples, bool) or not isinstance(num_samples, int) or not 1 <= num_samples <= num_chains:
        raise ValueError(
            f"num_samples must be from 1 to num_chains={num_chains}, as each draw ends a chain; got {num_samples!r}."
        )
    if whole is not None and np.shape(whole) != np.shape(rows):
        raise ValueError(f"whole must have the shape of rows, {tuple(np.shape(rows))}, got {tuple(np.shape(whole))}.")
    drawn = sample(pair, num_chains, given=rows, num_chains=num_chains, seed=seed, **options)
    # Means given hidden units say more than draws; means of entries given those of the draw before them do not.
    draws = drawn.samples if drawn.means is None or drawn.rhat is None else drawn.means
    blocks = {
        "given": _array(rows),
        "draws": _array(drawn.samples[:num_samples]).reshape(-1, drawn.samples.shape[-1]),
        "mean of draws": _array(draws).mean(0),
    }
    if whole is not None:
        blocks["in full"] = _array(whole)
    title = f"{type(as_pair(pair)).__name__}: {_how(drawn.rhat, num_chains, len(blocks['given']))}"
    if image_shape is None or as_images(blocks["given"], image_shape) is None:
        del blocks["draws"]
        return _strips(blocks, title)
    return image_grid(blocks, image_shape, title)


def _how(rhat: float | None, num_chains: int, rows: int) -> str:
    """Which draws those are."""
    if rhat is None:
        return f"{num_chains} independent draws a row,\nexact given a part"
    # R-hat is NaN where the energies of every row are all the same, or there are too few of them to tell.
    told = "not defined" if math.isnan(rhat) else f"{rhat:.3f}"
    several = ", the largest of the rows" if rows > 1 and told != "not defined" else ""
    return (
        f"block Gibbs given a part, {num_chains} chains a row\nR-hat of their free energies and units {told}{several}"
    )


def _strips(blocks: dict[str, np.ndarray], title: str) -> Any:
    """Blocks of strips of colours below each other, one for each row."""
    from matplotlib.figure import Figure

    limits = limits_of(*blocks.values())
    figure = Figure(figsize=(7.0, 0.8 + 1.6 * len(blocks)), layout="constrained")
    axes_of = figure.subplots(len(blocks), 1, sharex=True)
    picture: Any = None
    for axes, (name, values) in zip(axes_of, blocks.items(), strict=True):
        axes.set_facecolor(MISSING)
        picture = draw_rows(axes, values, None, columns=1, limits=limits)
        axes.set_title(name, fontsize="medium")
        axes.label_outer()
    figure.colorbar(picture, ax=list(axes_of), shrink=0.8, label="value")
    figure.suptitle(title, fontsize="medium")
    return figure


def _array(values: Any) -> np.ndarray:
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values, dtype=np.float64)
