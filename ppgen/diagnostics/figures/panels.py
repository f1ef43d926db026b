"""The same rows of data as several models have them: a mosaic each, all with the same colours."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ppgen.diagnostics.mosaic import as_images, draw_rows, limits_of, within_unit

COLUMNS, MOST = 16, 20  # of a mosaic of many rows, and rows that stand on one line


def side_by_side(
    rows: Mapping[str, Any],
    image_shape: Sequence[int] | None = None,
    *,
    title: str = "",
    colours: str = "gray_r",
) -> Any:
    """Return a figure of rows of data and of what several models make of them, below each other with the same colours.

    Args:
        rows: Rows of each block, (rows, features), all of one shape, by the name that stands above it.
        image_shape: Shape of a row as an image, (height, width), perhaps with colours; without it each row is a strip.
        title: What stands above the whole.
        colours: Name of a matplotlib colour map; `"gray"` for photographs, whose large values are light.

    Raises:
        ValueError: If there is no block, or their shapes differ.

    Example:
        >>> import torch
        >>> from ppgen.diagnostics import figures
        >>> figure = figures.side_by_side({"data": torch.rand(5, 16), "means": torch.rand(5, 16)}, (4, 4))
        >>> [axes.get_title() for axes in figure.axes]
        ['data', 'means']
    """
    blocks = {name: rows_as_array(name, each) for name, each in rows.items()}
    shapes = {name: each.shape for name, each in blocks.items()}
    if not shapes:
        raise ValueError("rows must hold one block of rows or more, by name; got none.")
    first = next(iter(shapes))
    for name, shape in shapes.items():
        if shape != shapes[first]:
            raise ValueError(f"{name!r} must have the shape of {first!r}, {shapes[first]}, got {shape}.")
    count = len(blocks[first])
    columns = count if count <= MOST else COLUMNS
    return panels_of(blocks, image_shape, title, columns=columns, stacked=True, colours=colours)


def rows_as_array(name: str, values: Any) -> np.ndarray:
    """Rows of numbers, (rows, features), in float64.

    Raises:
        ValueError: If they have no rows or no features.
    """
    array = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values, dtype=np.float64)
    if array.ndim < 2 or not array.size:
        raise ValueError(f"{name!r} must be rows of numbers, (rows, features), got shape {array.shape}.")
    return array.reshape(len(array), -1)


def panels_of(
    panels: dict[str, np.ndarray],
    image_shape: Sequence[int] | None,
    title: str,
    *,
    columns: int,
    stacked: bool,
    colours: str = "gray_r",
) -> Any:
    """A figure with one mosaic a panel, all with the same colours."""
    from matplotlib.figure import Figure

    limits = limits_of(*panels.values())
    rows = next(iter(panels.values()))
    images = as_images(rows, image_shape)
    lines = -(-len(rows) // columns)
    shape = images.shape[1:3] if images is not None else (3, 4)
    height = (lines * shape[0]) / (columns * shape[1]) if images is not None else (0.4 if stacked else 0.9)
    width = 7.6 if stacked else 4.0
    grid = (len(panels), 1) if stacked else (1, len(panels))
    tall = grid[0] * (width * height + 0.35) + 0.6
    figure = Figure(figsize=(grid[1] * width, min(tall, 10.0)), layout="constrained")
    drawn: Any = None
    for index, (name, values) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(*grid, index)
        drawn = draw_rows(axes, values, image_shape, columns=columns, limits=limits, colours=colours)
        axes.set_title(name, fontsize="medium")
    if images is None or (images.ndim == 3 and not within_unit(limits)):
        figure.colorbar(drawn, ax=figure.axes, shrink=0.8, label="value")
    figure.suptitle(title, fontsize="medium")
    return figure
