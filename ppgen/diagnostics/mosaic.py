"""Rows of data on a matplotlib axes: a mosaic of images, or strips of colours where they are no images."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

DPI = 200
GAP, GAP_AMONG_GREYS = "#b5b5b5", "#9fc0e0"  # the second where the mean of the colours, a grey, is a common value
FINE = 24  # pixels that an image is magnified to at least, so that gaps of one pixel are thin
MAX_STRIPS = 64


def as_images(rows: np.ndarray, image_shape: Sequence[int] | None) -> np.ndarray | None:
    """Rows as images (n, height, width) or (n, height, width, 3); None if they are none.

    Example:
        >>> as_images(np.zeros((2, 12)), (3, 2, 2)).shape
        (2, 2, 2, 3)
        >>> as_images(np.zeros((2, 12)), None) is None
        True
    """
    if image_shape is None or math.prod(image_shape) != rows.shape[1] or len(image_shape) not in (2, 3):
        return None
    images = rows.reshape(len(rows), *image_shape)
    if images.ndim == 3:
        return images
    if images.shape[1] in (1, 3) and images.shape[3] not in (1, 3):
        images = np.moveaxis(images, 1, 3)
    if images.shape[3] == 1:
        return images[..., 0]
    return images if images.shape[3] == 3 else None


def tile(images: np.ndarray, columns: int, gap: int = 1) -> np.ndarray:
    """Images in rows of `columns`, NaN between them and in empty places.

    Example:
        >>> tile(np.ones((3, 2, 2)), columns=2).shape
        (51, 51)
    """
    lines = -(-len(images) // columns)
    factor = max(1, FINE // max(images.shape[1:3]))
    images = images.repeat(factor, 1).repeat(factor, 2)
    height, width = images.shape[1:3]
    whole = np.full((lines * (height + gap) + gap, columns * (width + gap) + gap, *images.shape[3:]), np.nan)
    for index, image in enumerate(images):
        top, left = (index // columns) * (height + gap) + gap, (index % columns) * (width + gap) + gap
        whole[top : top + height, left : left + width] = image
    return whole


def draw_rows(
    axes: Any,
    rows: np.ndarray,
    image_shape: Sequence[int] | None,
    *,
    columns: int,
    limits: tuple[float, float],
    colours: str = "gray_r",
) -> Any:
    """Draw rows, (n, features), and return what a colour bar belongs to.

    Args:
        axes: A matplotlib axes.
        rows: The rows.
        image_shape: Shape of a row as an image; without one, each row is a strip of colours.
        columns: Images side by side.
        limits: Values of the two ends of the colours.
        colours: Name of a matplotlib colour map.
    """
    import matplotlib as mpl

    images = as_images(rows, image_shape)
    if images is None:
        drawn = axes.imshow(
            rows[:MAX_STRIPS],
            aspect="auto",
            interpolation="nearest",
            cmap="viridis" if colours == "gray_r" else colours,
            vmin=limits[0],
            vmax=limits[1],
        )
        axes.set_xlabel("variable")
        axes.set_ylabel("row")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.yaxis.get_major_locator().set_params(integer=True)
        return drawn
    whole = tile(images, columns)
    if whole.ndim == 3:  # red, green, blue
        whole = (whole - limits[0]) / ((limits[1] - limits[0]) or 1.0)
        whole = np.where(np.isnan(whole), 1.0, whole.clip(0, 1))
    gap = GAP if colours != "gray_r" or within_unit(limits) else GAP_AMONG_GREYS
    palette = mpl.colormaps[colours].with_extremes(bad=gap)
    drawn = axes.imshow(whole, interpolation="nearest", cmap=palette, vmin=limits[0], vmax=limits[1])
    axes.set_axis_off()
    return drawn


def limits_of(*arrays: np.ndarray) -> tuple[float, float]:
    """Ends of the colours: 0 and 1 for bits and grey levels, else the range of all but 1 % of the values.

    Example:
        >>> limits_of(np.array([0.0, 0.3]))
        (0.0, 1.0)
    """
    values = np.concatenate([array.ravel() for array in arrays])
    values = values[np.isfinite(values)]
    if len(values) == 0 or (values.min() >= 0 and values.max() <= 1):
        return 0.0, 1.0
    low, high = np.quantile(values, [0.005, 0.995])
    return (float(low), float(high)) if high > low else (float(low) - 0.5, float(low) + 0.5)


def columns_for(count: int) -> int:
    """Columns of a mosaic that is about square or wider, with few empty places.

    Example:
        >>> [columns_for(count) for count in (1, 9, 32, 50, 64)]
        [1, 3, 8, 10, 8]
    """
    root = math.ceil(math.sqrt(count))
    return min(range(root, max(root, round(1.5 * root)) + 1), key=lambda columns: (-count % columns, columns))


def within_unit(limits: tuple[float, float]) -> bool:
    """Whether the colours need no bar: white is 0 and black is 1."""
    return limits == (0.0, 1.0)
