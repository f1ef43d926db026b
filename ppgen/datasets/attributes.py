"""Attributes of images that are computed from their moments: how much ink, how slanted, how wide."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ppgen.checks.arguments import check_count, check_tensors

ATTRIBUTES = ("ink", "slant", "width")


def image_attributes(rows: Tensor, image_shape: Sequence[int]) -> Tensor:
    r"""Ink, slant and width of images, from the moments of their grey levels a at row r and column c.

    .. math:: \text{ink} = \bar a, \qquad \text{slant} = -\mu_{rc} / \mu_{rr}, \qquad
              \text{width} = \sqrt{\mu_{cc}} / \text{columns}

    with central moments such as :math:`\mu_{rc} = \sum a (r - \bar r)(c - \bar c) / \sum a`. Ink is a share of the
    image; slant is columns to the right for each row upwards; width a share of the image's. What an image without ink
    or of one row of it has no value of is 0.

    Args:
        rows: Grey levels or bits, at least 0, (B, height * width).
        image_shape: (height, width).

    Returns:
        (B, 3).

    Raises:
        TypeError: If the rows are no tensor of real numbers or the shape no whole numbers.
        ValueError: If the shape is no plane image's, the rows have another number of pixels, or a level is negative.

    Example:
        >>> import torch
        >>> from ppgen import datasets
        >>> stroke = torch.eye(4).flip(1).reshape(1, 16)  # from lower left to upper right
        >>> datasets.image_attributes(stroke, (4, 4))[:, :2]
        tensor([[0.2500, 1.0000]])
    """
    check_tensors(rows=rows)
    if isinstance(image_shape, str) or not isinstance(image_shape, Sequence):
        raise TypeError(f"image_shape must be (height, width) of the images, got {image_shape!r}.")
    shape = tuple(check_count("each number in image_shape", size) for size in image_shape)
    if len(shape) != 2 or rows.dim() != 2 or rows.shape[1] != shape[0] * shape[1]:
        raise ValueError(
            f"Attributes are those of images (height, width), rows of as many pixels; got image_shape {shape} and rows "
            f"of shape {tuple(rows.shape)}."
        )
    if len(rows) and not float(rows.min()) >= 0:
        raise ValueError(f"rows must hold grey levels of at least 0, got {float(rows.min()):g}.")
    rows = rows if rows.is_floating_point() else rows.float()
    images = rows.unflatten(1, shape)
    places = [torch.arange(size, dtype=rows.dtype, device=rows.device) for size in shape]
    total = images.sum((1, 2)).clamp(min=torch.finfo(rows.dtype).tiny)
    share = images / total[:, None, None]
    r, c = places[0][:, None].expand(shape), places[1].expand(shape)

    def mean(values: Tensor) -> Tensor:
        return (share * values).sum((1, 2))

    r, c = r - mean(r)[:, None, None], c - mean(c)[:, None, None]
    tall = mean(r * r)
    flat = tall < 1e-6
    slant = torch.where(flat, torch.zeros_like(tall), -mean(r * c) / tall.masked_fill(flat, 1.0))
    return torch.stack([rows.mean(1), slant, mean(c * c).sqrt() / shape[1]], 1)


def attributes_of(rows: Any, image_shape: Sequence[int]) -> Tensor:
    """Attributes of a split, in memory or mapped from disk, some rows at a time: (N, 3)."""
    parts = [image_attributes(rows[start : start + 10_000], image_shape) for start in range(0, len(rows), 10_000)]
    return torch.cat(parts) if parts else torch.zeros(0, len(ATTRIBUTES))
