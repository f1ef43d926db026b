"""Samples beside the training rows that are nearest to them, as a figure: does a model copy its data?"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ppgen.checks.arguments import check_count
from ppgen.diagnostics.figures.panels import rows_as_array
from ppgen.diagnostics.mosaic import as_images, draw_rows, limits_of
from ppgen.features import nearest_rows as nearest

SHADES = ("#b5532a", "#35618f")  # samples, held-out rows


def nearest_rows(
    samples: Any,
    among: Any,
    image_shape: Sequence[int] | None = None,
    *,
    held_out: Any,
    k: int = 3,
    num_samples: int = 12,
    features: Callable[[Any], Any] | None = None,
    title: str = "",
) -> Any:
    r"""Return a figure of samples of a model over their nearest training rows, and the distances beside those of data.

    .. math:: d(x) = \min_n \|f(x) - f(x_n)\|^2

    The first samples stand above the training rows that are nearest to them, and so do held-out rows. On the right are
    the distances of all samples and of all held-out rows. Samples of a model that has learnt its data by heart are
    nearer than held-out rows; blurred samples are too, so look at both parts of the figure. How often a sample is
    nearer than a held-out row stands above: half of the pairs if both are alike (Meehan, Chaudhuri and Dasgupta, 2020).

    Args:
        samples: Draws of a model, (rows, features).
        among: Training rows.
        image_shape: Shape of a row as an image, (height, width), perhaps with colours; without it each row is a strip.
        held_out: Rows of data that the model was not trained on, such as test rows.
        k: Nearest rows of each.
        num_samples: Samples, and held-out rows, that are shown.
        features: What distances are taken of, from rows to a table, such as `training.ImageClassifier.features`; the
            rows themselves by default.
        title: What stands above the whole.

    Raises:
        ValueError: If tables are of different widths or have fewer rows than are asked for.

    References:
        | A Non-Parametric Test to Detect Data-Copying in Generative Models (Meehan, Chaudhuri and Dasgupta, 2020)
        | https://arxiv.org/abs/2004.05675

    Example:
        >>> import torch
        >>> from ppgen.diagnostics import figures
        >>> rows = torch.rand(60, 16)
        >>> figure = figures.nearest_rows(rows[:20] + 0.01, rows[:40], (4, 4), held_out=rows[40:], num_samples=5)
        >>> figure.axes[-1].get_title()
        'nearer than a held-out row: 100 % of pairs'
    """
    check_count("k", k)
    check_count("num_samples", num_samples)
    named = {"samples": samples, "among": among, "held_out": held_out}
    tables = {name: rows_as_array(name, each) for name, each in named.items()}
    widths = {name: each.shape[1] for name, each in tables.items()}
    if len(set(widths.values())) > 1:
        raise ValueError(f"samples, among and held_out must have the same features, got {widths}.")
    for name in ("samples", "held_out"):
        if len(tables[name]) < num_samples:
            raise ValueError(f"num_samples must be at most the {len(tables[name])} rows of {name}, got {num_samples}.")
    spaces = {name: tables[name] if features is None else features(each) for name, each in named.items()}
    groups, distances = {}, {}
    for name, label in (("samples", "samples"), ("held_out", "held-out rows")):
        found = nearest(spaces[name], spaces["among"], k)
        shown = found.indices[:num_samples].cpu().numpy()
        groups[label] = tables[name][:num_samples], tables["among"][shown]
        distances[label] = found.distances[:, 0].cpu().double().numpy()
    return beside_nearest(groups, distances, image_shape, title)


def beside_nearest(
    groups: Mapping[str, tuple[np.ndarray, np.ndarray]],
    distances: Mapping[str, np.ndarray],
    image_shape: Sequence[int] | None,
    title: str = "",
) -> Any:
    """The figure of groups of rows, (rows, features), over their nearest ones, (rows, k, features), and of distances.

    Args:
        groups: Rows shown and their nearest ones, by the name of the group; the second one is of data.
        distances: Squared distance of every row of a group to its nearest one, (rows,).
        image_shape: Shape of a row as an image; without one, each row is a strip.
        title: What stands above the whole.
    """
    from matplotlib.figure import Figure

    limits = limits_of(*(each for group in groups.values() for each in group))
    figure = Figure(figsize=(11.0, 4.9), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.75, 1.0))
    for axes, (name, (rows, near)) in zip(left.subplots(len(groups), 1), groups.items(), strict=True):
        count, k = near.shape[:2]
        lines = np.concatenate([rows[None], near.swapaxes(0, 1)]).reshape(-1, rows.shape[1])
        draw_rows(axes, lines, image_shape, columns=count, limits=limits)
        axes.set_title(f"{name}, and below each its {k} nearest training rows", fontsize="medium")
        if as_images(rows, image_shape) is not None:
            axes.axhline(axes.get_ylim()[0] / (k + 1), color=SHADES[0], linewidth=1.5)
    axes = right.subplots()
    edges = np.histogram_bin_edges(np.concatenate(list(distances.values())), bins=40)
    for (name, values), shade in zip(distances.items(), SHADES, strict=True):
        weights = np.full(len(values), 1 / len(values))
        axes.hist(values, edges, weights=weights, color=shade, alpha=0.55, label=name)
    axes.set_xlabel("squared distance to the nearest training row")
    axes.set_ylabel("share of rows")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_ylim(top=1.2 * axes.get_ylim()[1])  # room for the legend
    axes.legend(frameon=False)
    first, second = distances
    axes.set_title(
        f"nearer than a held-out row: {nearer(distances[first], distances[second]):.0%} of pairs".replace("%", " %"),
        fontsize="medium",
    )
    figure.suptitle(title, fontsize="medium")
    return figure


def nearer(first: np.ndarray, second: np.ndarray) -> float:
    """How often a number of the first is smaller than one of the second, ties counting half.

    Example:
        >>> nearer(np.array([0.0, 2.0]), np.array([1.0, 2.0]))
        0.625
    """
    ordered = np.sort(second)
    below = np.searchsorted(ordered, first, side="left")
    same = np.searchsorted(ordered, first, side="right") - below
    return float((len(second) - below - 0.5 * same).mean() / len(second))
