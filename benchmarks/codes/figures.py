"""The figures of the page of codes, drawn from stored records; nothing is trained.

    python -m benchmarks.codes.figures                  # all figures whose record there is
    python -m benchmarks.codes.figures atoms faces      # some of them
    python -m benchmarks.codes.figures --quick          # from the trial records of figure_records --quick

Each figure is a function of one record of `benchmarks/codes/figure_records.py`, and is written beside it as
`codes-NAME.png`.
"""

import sys
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.codes import figure_records
from benchmarks.codes.deep_autoencoder import SIDE
from benchmarks.codes.patches import SIZE
from benchmarks.figure_store import Figure, draw
from ppgen.diagnostics import figures
from ppgen.diagnostics.mosaic import columns_for, draw_rows

Arrays, About = Mapping[str, np.ndarray], Mapping[str, Any]


def atoms(arrays: Arrays, about: About) -> Any:
    """The dictionary in pixels, the atoms that most patches use first."""
    return figures.atoms(arrays["atoms"], (SIZE, SIZE), whitening=_whitening(arrays))


def decomposition(arrays: Arrays, about: About) -> Any:
    """Patches as weighted sums of three atoms each."""
    given = arrays["atoms"], arrays["patches"], (SIZE, SIZE)
    return figures.decomposition(*given, codes=arrays["codes"], whitening=_whitening(arrays))


def _whitening(arrays: Arrays) -> Any:
    return SimpleNamespace(inverse=arrays["inverse"])


def faces(arrays: Arrays, about: About) -> Any:
    """Held-out faces, the autoencoder's and the principal components', in three rows."""
    errors, count = about["errors"], about["hidden"][-1]
    rows = {
        "held-out faces": arrays["data"],
        f"autoencoder, {count} numbers: error {errors['autoencoder']:.2f}": arrays["autoencoder"],
        f"{count} principal components: error {errors['components']:.2f}": arrays["components"],
    }
    return figures.side_by_side(rows, (SIDE, SIDE), colours="gray")


def filters(arrays: Arrays, about: About) -> Any:
    """Filters of denoising autoencoders at three levels of noise, each divided by its largest magnitude."""
    from matplotlib.figure import Figure as Canvas

    side = about["side"]
    canvas = Canvas(figsize=(10.5, 3.9), layout="constrained")
    for axes, name in zip(canvas.subplots(1, len(about["levels"])), about["levels"], strict=True):
        rows = arrays[name].astype(np.float64)
        shown = rows / np.abs(rows).max(1, keepdims=True)
        draw_rows(axes, shown, (side, side), columns=columns_for(len(shown)), limits=(-1.0, 1.0), colours="gray")
        axes.set_title(f"{name} of the pixels masked", fontsize="medium")
    return canvas


def codes(arrays: Arrays, about: About) -> Any:
    """Codes of two numbers of test digits, coloured by class."""
    panels = {
        f"{name}: nearest of the same digit {found['same']:.0%}": arrays[name] for name, found in about["codes"].items()
    }
    return figures.codes(panels, arrays["labels"])


FIGURES: Mapping[str, Figure] = {
    "atoms": Figure("bases", atoms),
    "decomposition": Figure("bases", decomposition),
    "faces": Figure("faces", faces),
    "filters": Figure("filters", filters),
    "codes": Figure("codes", codes),
}
"""All figures by name."""


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    return draw(figure_records.STORE, FIGURES, "codes", __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
