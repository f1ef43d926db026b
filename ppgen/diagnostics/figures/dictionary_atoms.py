"""The atoms of a dictionary, or of a linear decoder, as a figure."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ppgen.checks.arrays import as_tensor, is_array
from ppgen.coders import Coder
from ppgen.diagnostics.mosaic import as_images, columns_for, draw_rows
from ppgen.features.linear_decoder import decoder_columns
from ppgen.pair import as_pair

LARGEST = 400


def atoms(
    pair_or_matrix: Any,
    image_shape: Sequence[int] | None = None,
    *,
    whitening: Any = None,
    num_atoms: int | None = None,
) -> Any:
    r"""Return a figure of what each unit of a code puts into the data: the columns of D in x = D a.

    Each atom is divided by its own largest magnitude, since only its shape says something: grey is zero, black -1 and
    white 1.

    Args:
        pair_or_matrix: A model with a linear decoder, such as `models.SparseCoding`, or the run that trained it; or the
            matrix D, (features, atoms).
        image_shape: Shape of a datum as an image, (height, width); without it each atom is a strip.
        whitening: A `ppgen.datasets.Whitening` of the data, which is undone: atoms are shown as pictures of pixels.
        num_atoms: Atoms that are shown, the first ones; by default all, up to 400.

    Raises:
        ValueError: If the decoder is not linear, the whitening is of other data, or there are fewer atoms.
        TypeError: If what is given is neither a model with a decoder nor a matrix.

    References:
        | Emergence of Simple-Cell Receptive Field Properties by Learning a Sparse Code for Natural Images (Olshausen
          and Field, 1996)

    Example:
        >>> from ppgen import models
        >>> from ppgen.diagnostics import figures
        >>> figures.atoms(models.SparseCoding(features=16, atoms=20), (4, 4)).axes[0].get_title()
        'SparseCoding: 20 atoms'
    """
    from matplotlib.figure import Figure

    name, matrix = named_atoms(pair_or_matrix)
    count = matrix.shape[1]
    if num_atoms is None:
        num_atoms = min(count, LARGEST)
    if isinstance(num_atoms, bool) or not isinstance(num_atoms, int) or not 1 <= num_atoms <= count:
        raise ValueError(f"num_atoms must be from 1 to the {count} atoms that there are, got {num_atoms!r}.")
    shown = scaled(unwhitened(matrix.T, whitening)[:num_atoms])
    columns = columns_for(num_atoms)
    images = as_images(shown, image_shape)
    height = 6.0 * -(-num_atoms // columns) * images.shape[1] / (columns * images.shape[2]) if images is not None else 5
    figure = Figure(figsize=(6.0, min(height, 9.0) + 0.4), layout="constrained")
    axes = figure.add_subplot()
    draw_rows(axes, shown, image_shape, columns=columns, limits=(-1.0, 1.0), colours="gray")
    of = "" if num_atoms == count else f"{num_atoms} of "
    axes.set_title(f"{name}: {of}{count} atoms", fontsize="medium")
    return figure


def named_atoms(pair_or_matrix: Any) -> tuple[str, np.ndarray]:
    """What the atoms are of, and D, (features, atoms).

    Raises:
        ValueError: If a decoder is not linear, or a matrix is none.
        TypeError: If what is given is neither a model with a decoder nor a matrix.
    """
    if is_array(pair_or_matrix):
        matrix = as_tensor(pair_or_matrix, "pair_or_matrix").detach().cpu().double().numpy()
        if matrix.ndim != 2 or not matrix.size or not np.isfinite(matrix).all():
            raise ValueError(
                f"pair_or_matrix must be a matrix of finite numbers, (features, atoms), got shape {matrix.shape}."
            )
        return "Dictionary", matrix
    pair = as_pair(pair_or_matrix)
    if not isinstance(pair, Coder):
        raise TypeError(
            f"{type(pair).__name__} has no code of its own, and so no atoms. Give a model with encode and decode, such "
            "as models.SparseCoding, or a matrix (features, atoms); figures.filters shows weights of other models."
        )
    columns = decoder_columns(pair)
    if columns is None:
        raise ValueError(
            f"{type(pair).__name__} has a decoder that is not linear, so that data are no sums of atoms. "
            "figures.filters shows its weights."
        )
    return type(pair).__name__, columns.detach().cpu().numpy()


def unwhitened(rows: np.ndarray, whitening: Any) -> np.ndarray:
    """Rows of white numbers as differences of pixels; as they are without a whitening."""
    if whitening is None:
        return rows
    inverse = getattr(whitening, "inverse", None)
    if not isinstance(inverse, np.ndarray) or inverse.shape != (rows.shape[1],) * 2:
        given = inverse.shape if isinstance(inverse, np.ndarray) else type(whitening).__name__
        raise ValueError(
            f"whitening must be a datasets.Whitening of {rows.shape[1]} pixels, as datasets.photo_whitening gives it; "
            f"got {given}."
        )
    return rows @ inverse


def scaled(rows: np.ndarray) -> np.ndarray:
    """Rows divided by their largest magnitude; rows of zeros stay."""
    largest = np.abs(rows).max(1, keepdims=True)
    return rows / np.where(largest > 0, largest, 1.0)
