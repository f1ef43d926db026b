"""docs/faces.md from its record, and the figure beside it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pages
import record

PAGE = record.ROOT / "docs" / "faces.md"
Record = Mapping[str, Any]

TEXT = """\
# Edges and parts of faces

<!-- Written by benchmarks/faces.py from benchmarks/results/faces.json; edits are lost. -->

A {{py:class}}`~ppgen.models.ConvolutionalDBN` of two layers on {train} grey images of 25 x 25 pixels, 80 faces and
their mirror images, without labels: the experiment of Lee, Grosse, Ranganath and Ng (2009) at the size of a stamp.
`{command}` trains it in {minutes:.1f} minutes of one core ({processor:.0f} s of processor time) and draws the figure.

![Images, filters of the first layer, filters of the second in the image, and patches](../benchmarks/results/faces.png)
"""


def write(found: Record, check: bool) -> int:
    """Write the page, or say whether it is out of date; returns the exit code."""
    return pages.write(PAGE, page(found), check, "python benchmarks/faces.py --render")


def page(found: Record) -> str:
    """The page."""
    return TEXT.format(
        train=found["data"]["train"],
        command=found["command"],
        minutes=found["time"]["seconds"] / 60,
        processor=found["time"]["processor"],
    )


def draw(path: Path, images: np.ndarray, lower: np.ndarray, upper: np.ndarray, seen: np.ndarray) -> None:
    """Draw what the network sees and what it has made of it, one panel above the other.

    Args:
        path: The PNG file.
        images: Whitened images, (images, rows, columns).
        lower: Filters of the first layer.
        upper: Filters of the second layer as they look in the image.
        seen: Mean grey patch at the strongest responses of each unit of the second layer.
    """
    from matplotlib.figure import Figure

    from ppgen.diagnostics.mosaic import DPI, draw_rows

    panels = (
        (images[:12], 12, "Images as the network sees them: whitened, of equal contrast"),
        (lower, 12, "First layer: filters"),
        (upper, 12, "Second layer: sums of the first layer's filters by its weights"),
        (seen, 12, "Second layer: mean grey patch at the strongest responses of the same units"),
    )
    heights = [-(-len(each) // columns) for each, columns, _ in panels]
    whole = Figure(figsize=(8.0, 0.75 * sum(heights) + 0.35 * len(panels)), layout="constrained")
    for axes, (each, columns, title) in zip(whole.subplots(len(panels), 1, height_ratios=heights), panels, strict=True):
        scaled = each / np.abs(each).max((1, 2), keepdims=True)
        rows = scaled.reshape(len(each), -1)
        draw_rows(axes, rows, each.shape[1:], columns=columns, limits=(-1.0, 1.0), colours="gray")
        axes.set_title(title, fontsize=9, loc="left")
    whole.savefig(path, dpi=DPI)
