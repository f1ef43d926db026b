"""Data as weighted sums of their largest atoms, as a figure."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ppgen.checks.arrays import is_array
from ppgen.diagnostics.figures.dictionary_atoms import named_atoms, scaled, unwhitened
from ppgen.diagnostics.figures.panels import rows_as_array
from ppgen.diagnostics.mosaic import as_images
from ppgen.features import encode

LINES = 10


def decomposition(
    pair_or_matrix: Any,
    x: Any,
    image_shape: Sequence[int] | None = None,
    *,
    codes: Any = None,
    num_atoms: int = 3,
    whitening: Any = None,
) -> Any:
    r"""Return a figure of data, each as the weighted sum of the atoms with the largest codes.

    .. math:: x \approx \sum_{k \in \text{largest}} a_k D_k

    Each line is a row of data: on the left the datum, then the atoms with their weights, and on the right their sum and
    the sum over all codes, with the shares of the datum's square that they explain, `1 - |x - D a|^2 / |x|^2`.

    Args:
        pair_or_matrix: A model with a linear decoder, such as `models.SparseCoding`, or the run that trained it; or the
            matrix D, (features, atoms).
        x: Up to 10 rows of data, (rows, features).
        image_shape: Shape of a row as an image, (height, width); without it rows are drawn as curves.
        codes: Codes of the rows, (rows, atoms); those of the model by default. A matrix needs them.
        num_atoms: Atoms of each sum.
        whitening: A `ppgen.datasets.Whitening` of the data, which is undone in what is shown. Shares are of white data.

    Raises:
        ValueError: If the decoder is not linear, shapes do not fit, or a matrix comes without codes.
        TypeError: If what is given is neither a model with a decoder nor a matrix.

    References:
        | Emergence of Simple-Cell Receptive Field Properties by Learning a Sparse Code for Natural Images (Olshausen
          and Field, 1996)

    Example:
        >>> import torch
        >>> from ppgen import models
        >>> from ppgen.diagnostics import figures
        >>> coder = models.SparseCoding(features=16, atoms=20, penalty=0.1)
        >>> figure = figures.decomposition(coder, torch.randn(2, 16), (4, 4))
        >>> len(figure.axes), figure.axes[0].get_title()
        (12, 'datum')
    """
    from matplotlib.figure import Figure

    _, matrix = named_atoms(pair_or_matrix)
    rows, found = _checked(pair_or_matrix, matrix, x, codes, num_atoms)
    figure = Figure(figsize=(1.25 * (num_atoms + 3), 1.5 * len(rows) + 0.2), layout="constrained")
    panels = figure.subplots(len(rows), num_atoms + 3, squeeze=False)
    for line, row, code in zip(panels, rows, found, strict=True):
        largest = np.abs(code).argsort(kind="stable")[::-1][:num_atoms]
        few = matrix[:, largest] @ code[largest]
        whole = matrix @ code
        shown = unwhitened(np.stack([row, few, whole]), whitening)
        top = float(np.abs(shown[0]).max()) or 1.0
        parts = scaled(unwhitened(matrix[:, largest].T, whitening))
        _draw(line[0], shown[0], image_shape, top, "datum")
        for place, (axes, atom, number) in enumerate(zip(line[1:-2], parts, largest, strict=True)):
            sign = "≈" if place == 0 else "+"
            value = f"{code[number]:.2f}".replace("-", "−")
            _draw(axes, atom, image_shape, 1.0, f"{sign} {value} × atom {number}")
        used = int((code != 0).sum())
        _draw(line[-2], shown[1], image_shape, top, f"sum of {num_atoms}: {_share(row, few)}")
        _draw(line[-1], shown[2], image_shape, top, f"all {used}: {_share(row, whole)}")
    return figure


def _checked(
    pair_or_matrix: Any, matrix: np.ndarray, x: Any, codes: Any, num_atoms: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and their codes."""
    num_features, count = matrix.shape
    if isinstance(num_atoms, bool) or not isinstance(num_atoms, int) or not 1 <= num_atoms <= count:
        raise ValueError(f"num_atoms must be from 1 to the {count} atoms that there are, got {num_atoms!r}.")
    rows = rows_as_array("x", x)
    if rows.shape[1] != num_features:
        raise ValueError(f"x must be rows of the {num_features} features of an atom, got shape {rows.shape}.")
    if len(rows) > LINES:
        raise ValueError(f"x must have at most {LINES} rows, each of which is a line of the figure; got {len(rows)}.")
    if codes is None:
        if is_array(pair_or_matrix):
            raise ValueError("codes must be given beside a matrix, (rows, atoms): only a model can encode data.")
        codes = encode(pair_or_matrix, x)
    found = rows_as_array("codes", codes)
    if found.shape != (len(rows), count):
        raise ValueError(f"codes must have the shape ({len(rows)}, {count}), a code for each atom, got {found.shape}.")
    return rows, found


def _draw(axes: Any, values: np.ndarray, image_shape: Sequence[int] | None, top: float, title: str) -> None:
    """An image, or a curve, from -top to top."""
    images = as_images(values[None], image_shape)
    if images is None:
        axes.plot(values, color="black", linewidth=0.8)
        axes.set_ylim(-1.05 * top, 1.05 * top)
    elif images.ndim == 4:
        axes.imshow((images[0] / top + 1).clip(0, 2) / 2, interpolation="nearest")
    else:
        axes.imshow(images[0], cmap="gray", vmin=-top, vmax=top, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(title, fontsize=7)


def _share(row: np.ndarray, rebuilt: np.ndarray) -> str:
    square = float(np.square(row).sum())
    return f"{1 - float(np.square(row - rebuilt).sum()) / square:.0%}" if square else "no square"
