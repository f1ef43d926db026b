"""What a model makes of latents on a grid: the plane of two of them, and each of them moved alone, as figures."""

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
import torch

from ppgen.checks.arguments import as_numbers, check_count, check_number
from ppgen.diagnostics.figures.image_grid import image_grid
from ppgen.features import decode
from ppgen.pair import as_pair

TAIL = 0.02  # of the prior beyond the outermost images, on each side


def manifold(
    pair: Any, image_shape: Sequence[int], *, size: int = 16, limits: tuple[float, float] | None = None, title: str = ""
) -> Any:
    r"""Return a figure of the data that two latents stand for, over the plane of both.

    .. math:: E[x \mid z_1, z_2], \qquad z_j = \Phi^{-1}(u_j)

    with u on an even grid, so that each image stands for as much of a standard Normal prior as the others. Above and at
    the left stand the values of the latents.

    Args:
        pair: A model with one latent site of two numbers, such as `models.VAE(..., latent=2)`, an autoencoder with
            codes of two, or a run that trained one.
        image_shape: Shape of a row as an image, (height, width), perhaps with colours.
        size: Images on each side.
        limits: Lowest and highest value of each latent, evenly spaced between; for codes without a prior.
        title: What stands above the whole.

    Raises:
        ValueError: If the latent has not two numbers, or `limits` are not in order.

    References:
        | Auto-Encoding Variational Bayes (Kingma and Welling, 2014)
        | https://arxiv.org/abs/1312.6114

    Example:
        >>> from ppgen import models
        >>> from ppgen.diagnostics import figures
        >>> figure = figures.manifold(models.VAE(features=16, latent=2, hidden=(4,)), (4, 4), size=5)
        >>> len(figure.axes[0].texts)
        10
    """
    check_count("size", size, 2)
    return of_plane(plane(pair, size, limits), axis_values(size, limits), image_shape, title)


def plane(pair: Any, size: int, limits: tuple[float, float] | None = None) -> np.ndarray:
    """Means of the data over the plane of two latents, (size * size, features), the second latent falling downwards.

    Raises:
        ValueError: If the latent has not two numbers, or `limits` are not in order.
    """
    values = torch.tensor(axis_values(size, limits))
    z = torch.stack([values.repeat(size), values.flip(0).repeat_interleave(size)], 1)
    return decode(as_pair(pair), z).double().cpu().numpy()


def axis_values(size: int, limits: tuple[float, float] | None = None) -> list[float]:
    """Values of a latent on an axis: quantiles of N(0, 1), or evenly spaced.

    Example:
        >>> axis_values(3, (-1.0, 1.0))
        [-1.0, 0.0, 1.0]
    """
    if limits is None:
        return [NormalDist().inv_cdf(share) for share in np.linspace(TAIL, 1 - TAIL, size)]
    if len(limits) != 2 or not limits[0] < limits[1]:
        raise ValueError(f"limits must be the lowest and the highest value of a latent, got {limits!r}.")
    return np.linspace(*limits, size).tolist()


def of_plane(rows: np.ndarray, values: Sequence[float], image_shape: Sequence[int], title: str = "") -> Any:
    """The figure of `plane`, with the values of the latents at its sides."""
    names, size = [_number(value) for value in values], len(values)
    lines = {str(number): line for number, line in enumerate(rows.reshape(size, size, -1))}
    figure = image_grid(lines, image_shape, title, above=names)
    for text, name in zip(figure.axes[0].texts[:size], names[::-1], strict=True):
        text.set_text(name)
        text.set_fontsize("small")
    return figure


def traversals(
    pair: Any,
    image_shape: Sequence[int],
    *,
    code: Any = None,
    latents: Sequence[int] | None = None,
    span: float = 2.5,
    steps: int = 11,
    title: str = "",
) -> Any:
    r"""Return a figure of what the data become when one latent moves and the others stay, a line for each latent.

    .. math:: E[x \mid z_1, \dots, z_{j-1}, t, z_{j+1}, \dots], \qquad t \in [-\text{span}, \text{span}]

    A latent that the model does not use leaves its line as it is.

    Args:
        pair: A model with one latent site of several numbers, an autoencoder, or a run that trained one.
        image_shape: Shape of a row as an image, (height, width), perhaps with colours.
        code: Where the others stay, (latents,), such as a row of `features.encode`; zeros by default, which `latents`
            or a model of the zoo tells the number of.
        latents: Numbers of those that are moved; all by default.
        span: How far they move to both sides of 0.
        steps: Images of a line.
        title: What stands above the whole.

    Raises:
        ValueError: If the code is no table of numbers, or a latent is none of its own.

    References:
        | beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework (Higgins, Matthey, Pal,
          Burgess, Glorot, Botvinick, Mohamed and Lerchner, 2017)
        | https://openreview.net/forum?id=Sy2fzU9gl

    Example:
        >>> from ppgen import models
        >>> from ppgen.diagnostics import figures
        >>> figure = figures.traversals(models.VAE(features=16, latent=3, hidden=(4,)), (4, 4), steps=3)
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['latent 0', 'latent 1', 'latent 2', '-2.5', '0.0', '2.5']
    """
    check_count("steps", steps, 2)
    check_number("span", span, "be above 0", lambda value: value > 0)
    rows, moved, values = moved_latents(pair, code, latents, span, steps)
    return of_moved(rows, moved, values, image_shape, title)


def moved_latents(
    pair: Any, code: Any, latents: Sequence[int] | None, span: float, steps: int
) -> tuple[np.ndarray, list[int], list[float]]:
    """Means of the data with one latent moved, (moved, steps, features), which latents, and their values.

    Raises:
        ValueError: If the code is no vector of numbers, or a latent is none of its own.
    """
    pair = as_pair(pair)
    if code is None:
        size = getattr(pair, "num_codes", getattr(pair, "latent", None))
        if not isinstance(size, int):
            raise ValueError(f"code must be given: {type(pair).__name__} does not say how many latents it has.")
        place = torch.zeros(size)
    else:
        place = as_numbers("code", code).float()
        if place.dim() != 1 or not len(place):
            raise ValueError(f"code must be a vector of numbers, one for each latent, got shape {tuple(place.shape)}.")
    chosen = list(range(len(place))) if latents is None else list(latents)
    if not chosen or not all(type(each) is int and 0 <= each < len(place) for each in chosen):
        raise ValueError(f"latents must be numbers from 0 to {len(place) - 1}, got {latents!r}.")
    values = torch.linspace(-span, span, steps)
    z = place.repeat(len(chosen), steps, 1)
    for line, number in enumerate(chosen):
        z[line, :, number] = values
    found = decode(pair, z.flatten(0, 1)).double().cpu().numpy()
    return found.reshape(len(chosen), steps, -1), chosen, values.tolist()


def of_moved(
    rows: np.ndarray, latents: Sequence[int], values: Sequence[float], image_shape: Sequence[int], title: str = ""
) -> Any:
    """The figure of `moved_latents`."""
    blocks = {f"latent {number}": line for number, line in zip(latents, rows, strict=True)}
    return image_grid(blocks, image_shape, title, above=[_number(value) for value in values])


def _number(value: float) -> str:
    """One digit after the point, and no minus before 0.0."""
    return f"{round(value, 1) + 0.0:.1f}"
