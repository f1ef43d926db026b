"""Lines of images, several to a name, with what is missing in a colour of its own."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ppgen.diagnostics.mosaic import as_images, draw_rows, limits_of, tile, within_unit

MISSING = "#f4cda5"  # neither a grey level nor the gap between images


def image_grid(
    blocks: Mapping[str, np.ndarray],
    image_shape: Sequence[int],
    title: str = "",
    *,
    columns: int | None = None,
    above: Sequence[str] = (),
) -> Any:
    """A figure of blocks of images below each other, whose names stand on the left; missing entries are in colour.

    Args:
        blocks: Rows of each block, (lines * columns, features), NaN at what is missing.
        image_shape: Shape of a row as an image, (height, width), perhaps with colours.
        title: What stands above the whole.
        columns: Images of a line; by default as many as the first block has.
        above: What stands above each column.

    Raises:
        ValueError: If rows are no images of that shape.
    """
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure

    columns = columns or len(next(iter(blocks.values())))
    everything = np.concatenate(list(blocks.values()))
    images = as_images(everything, image_shape)
    if images is None:
        raise ValueError(
            f"image_shape must be the shape of a row of {everything.shape[1]} features as an image, such as "
            f"(height, width), got {image_shape!r}."
        )
    lines, limits = len(everything) // columns, limits_of(everything)
    size = min(0.6, 7.0 / columns, 9.0 / lines)  # inches of an image
    width, height = size * columns, size * lines * images.shape[1] / images.shape[2]
    longest = max(len(line) for name in blocks for line in name.split("\n"))
    left, top = 0.6 + 0.09 * longest, 0.8 if title else 0.25  # room for words
    figure = Figure(figsize=(max(width + left, 4.5), height + top), layout="constrained")
    axes = figure.add_subplot()
    picture = draw_rows(axes, everything, image_shape, columns=columns, limits=limits)
    missing = np.isnan(images if images.ndim == 3 else images[..., 0])
    shade = tile(np.where(missing, 1.0, np.nan), columns)
    axes.imshow(shade, interpolation="nearest", cmap=ListedColormap([MISSING]), vmin=0, vmax=1)
    line = 0
    for name, values in blocks.items():
        count = len(values) // columns
        middle = (line + count / 2) / lines
        axes.text(-0.01, 1 - middle, name, ha="right", va="center", transform=axes.transAxes)
        line += count
    for column, name in enumerate(above):
        place = (column + 0.5) / columns
        axes.text(place, 1.01, name, ha="center", va="bottom", transform=axes.transAxes, fontsize="small")
    if images.ndim == 3 and not within_unit(limits):
        figure.colorbar(picture, ax=axes, shrink=0.8, label="value")
    figure.suptitle(title, fontsize="medium")
    return figure
