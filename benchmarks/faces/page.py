"""docs/faces.md from its record, and the figure beside it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import pages, record
from benchmarks.faces.features import STRONGEST

PAGE = record.ROOT / "docs" / "faces.md"
Record = Mapping[str, Any]

TEXT = """\
# Edges and parts of faces

<!-- Written by benchmarks/faces/page.py from benchmarks/results/faces.json; edits are lost. -->

A {{py:class}}`~ppgen.models.ConvolutionalDBN` of two layers on {train} grey images of 25 x 25 pixels, 80 faces and
their mirror images, without labels: the experiment of Lee, Grosse, Ranganath and Ng (2009) at the size of a stamp.
`{command}` trains it in {processor:.0f} s of processor time on one core and draws the figure.

![Images, filters of the first layer, those of the second in the image, and patches](../benchmarks/results/faces.png)

- The first layer has {maps[0]} filters of {sizes[0]} x {sizes[0]} pixels. Median share of a filter's power that has
  one orientation: {own:.2f} (quartiles {own_range}); of filters of white noise {noise:.2f} ({noise_range}).
- The second layer has {maps[1]} filters, each of which sees {side} x {side} pixels. They are drawn as Lee and others
  do, as sums of the first layer's filters by its weights, and below as what they answer to most: the mean of the
  {strongest} patches of the training faces with the strongest responses, before whitening.
- The place of a unit's strongest response in an image has a standard deviation over images of {training:.1f} pixels
  on the training faces, which are aligned, {faces:.1f} on {held_out} other faces, and {others:.1f} on {other} images
  of other things (medians over units; {even:.1f} if all places were equally likely).

{seen}

## How

- Images are whitened (frequencies f weighted by f exp(-(f / {cutoff})^4), in cycles a pixel), divided by the contrast
  in a window of {spread:g} pixels, and scaled to {scale:g} times the standard deviation of the machine's own noise.
- Each layer is a {{py:class}}`~ppgen.models.ConvolutionalRBM` trained by CD-1 with Adam, step sizes {rates} falling to
  zero, {epochs} epochs of batches of {batch}, centring off, and sparsity targets {targets}, of weight {weights}, in
  `inference.ELBO(sparsity_target=..., sparsity_weight=...)`. The targets pull and are not reached: the mean activity
  of a unit is {activities} at the end. Hidden biases start at {biases}.
- The second layer learns from bits of the first one's pooling units, drawn anew for each batch.
"""
# Of the figure that is kept: whoever draws it anew looks again.
SEEN = """\
What a look at the figure says, which no number here does: the first layer has edges and bars of several orientations,
upright and slanted ones more often than lying ones, and a few blobs and corners. About half of the second layer's units
are parts of faces: eyes (patches 2, 3, 18 and 24), a forehead over its brows (9), the bridge of a nose between two
eyes (15), a nose with brows above and a mouth below (17), sides of a face (1, 5, 14, 21 and 23). The others are
contours that nobody would name. The units are detectors of such shapes anywhere, not of faces: the places of their
strongest responses hardly tell a face from other things, an eye being at two places to begin with. With 80 faces to
learn from, trials of other settings gave other parts."""


def write(found: Record, check: bool) -> int:
    """Write the page, or say whether it is out of date; returns the exit code."""
    return pages.write(PAGE, page(found), check, "python -m benchmarks.faces.measure --render")


def page(found: Record) -> str:
    """The page."""
    data, network, layers = found["data"], found["network"], found["layers"]
    (lower, upper), step = network["filter_sizes"], network["pools"][0]
    places = (25 - lower + 1) // step - upper + 1
    return TEXT.format(
        **{name: data[name] for name in ("train", "cutoff", "spread", "scale")},
        command=found["command"],
        processor=found["time"]["processor"],
        maps=network["filters"],
        sizes=network["filter_sizes"],
        own=found["orientation"]["filters"][1],
        own_range=_range(found["orientation"]["filters"]),
        noise=found["orientation"]["noise"][1],
        noise_range=_range(found["orientation"]["noise"]),
        side=step * upper + lower - 1,
        strongest=STRONGEST,
        training=found["scatter"]["training faces"][1],
        faces=found["scatter"]["other faces"][1],
        others=found["scatter"]["no faces"][1],
        held_out=data["faces"],
        other=data["others"],
        even=step * ((places**2 - 1) / 12) ** 0.5,
        seen=SEEN,
        rates=_listed(layers, "lr"),
        epochs=_listed(layers, "epochs"),
        batch=found["training"]["batch_size"],
        targets=_listed(layers, "target"),
        weights=_listed(layers, "weight"),
        biases=_listed(layers, "bias"),
        activities=" and ".join(f"{each['activity']:.3f}" for each in layers),
    )


def _range(quartiles: list[float]) -> str:
    return f"{quartiles[0]:.2f} to {quartiles[2]:.2f}"


def _listed(layers: list[Record], name: str) -> str:
    return " and ".join(dict.fromkeys(f"{each[name]:g}" for each in layers))


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
