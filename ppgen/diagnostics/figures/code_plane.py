"""Codes of two numbers in the plane, coloured by class, as a figure."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ppgen.diagnostics.figures.panels import rows_as_array

MOST = 20  # classes that colours can tell apart


def codes(codes: Any, labels: Any, *, names: Sequence[str] | None = None) -> Any:
    """Return a figure of codes of two numbers as points, coloured by their class.

    Args:
        codes: Codes, (rows, 2), as `features.encode` gives them; or several of the same rows by name, each of which has
            a panel, such as those of an autoencoder beside principal components.
        labels: Class of each row, whole numbers from 0, (rows,).
        names: Names of the classes, for the legend; their numbers by default.

    Raises:
        ValueError: If codes have no two numbers a row, labels are not one whole number a row, or there are more than 20
            classes.

    References:
        | Reducing the Dimensionality of Data with Neural Networks (Hinton and Salakhutdinov, 2006)
        | https://doi.org/10.1126/science.1127647

    Example:
        >>> import torch
        >>> from ppgen import features, models
        >>> from ppgen.diagnostics import figures
        >>> x, labels = torch.rand(30, 16), torch.arange(30) % 3
        >>> figure = figures.codes(features.encode(models.Autoencoder(16, hidden=(8, 2)), x), labels)
        >>> [text.get_text() for text in figure.legends[0].get_texts()]
        ['0', '1', '2']
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    panels = {name: rows_as_array(name or "codes", each) for name, each in _named(codes).items()}
    classes = _classes(labels)
    for name, points in panels.items():
        if points.shape != (len(classes), 2):
            raise ValueError(
                f"codes{f' of {name!r}' if name else ''} must be two numbers for each of the {len(classes)} labels, "
                f"got shape {points.shape}. Train a model whose code has 2 numbers, such as hidden=(..., 2)."
            )
    count = int(classes.max()) + 1
    if names is not None and len(names) < count:
        raise ValueError(f"names must name the {count} classes, got {len(names)}.")
    palette = mpl.colormaps["tab10" if count <= MOST // 2 else "tab20"]
    figure = Figure(figsize=(4.6 * len(panels) + 0.8, 4.8), layout="constrained")
    for axes, (name, points) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for number in np.unique(classes):
            here = points[classes == number]
            label = str(number) if names is None else names[number]
            axes.scatter(*here.T, s=5, color=palette(int(number)), label=label, linewidths=0, alpha=0.8)
        axes.set_title(name, fontsize="medium")
        axes.set_xlabel("first number of the code")
        axes.set_ylabel("second number of the code")
        axes.spines[["top", "right"]].set_visible(False)
    handles = figure.axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside right upper", frameon=False, markerscale=3, title="class")
    return figure


def _named(codes: Any) -> Mapping[str, Any]:
    if not isinstance(codes, Mapping):
        return {"": codes}
    if not codes:
        raise ValueError("codes must hold the codes of one model or more, by name; got none.")
    return codes


def _classes(labels: Any) -> np.ndarray:
    """Labels as whole numbers from 0, (rows,)."""
    array = np.asarray(labels.detach().cpu() if hasattr(labels, "detach") else labels)
    whole = array.ndim == 1 and array.size and array.dtype.kind in "iu"
    if whole and array.min() < 0:
        raise ValueError(
            f"labels must be whole numbers from 0, one a row, got {array.min()}. Leave out rows without a label, which "
            "have -1, and their codes."
        )
    if not whole:
        raise ValueError(
            f"labels must be whole numbers from 0, one a row, got shape {array.shape} of type {array.dtype}."
        )
    if array.max() >= MOST:
        raise ValueError(f"labels must be of at most {MOST} classes, which colours can tell apart; got {array.max()}.")
    return array.astype(np.int64)
