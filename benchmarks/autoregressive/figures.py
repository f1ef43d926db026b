"""The figures of the page of autoregressive models, drawn from stored records; nothing is trained.

    python -m benchmarks.autoregressive.figures                 # all figures whose record there is
    python -m benchmarks.autoregressive.figures blind_spot five  # some of them
    python -m benchmarks.autoregressive.figures --quick         # from the trial records of figure_records --quick

Each figure is a function of one record of `benchmarks/autoregressive/figure_records.py`, and is written beside it as
`autoregressive-NAME.png`.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.autoregressive import figure_records
from benchmarks.autoregressive.figure_records import DRAWS, FIELD_SHAPE, FIVE, SHAPE
from benchmarks.autoregressive.figure_words import SEEN
from benchmarks.figure_store import Figure, draw, pictured
from ppgen.diagnostics import figures
from ppgen.diagnostics.figures.image_grid import image_grid

Arrays, About = Mapping[str, np.ndarray], Mapping[str, Any]


def completions(arrays: Arrays, about: About) -> Any:
    """Upper halves of test digits, draws of the lower ones, their mean, and the digits in full."""
    draws = arrays["draws"].reshape(-1, arrays["draws"].shape[-1])
    blocks = {"occluded": arrays["given"], f"{DRAWS} completions": draws}
    return image_grid(_floats(blocks | {"mean": arrays["mean"], "original": arrays["whole"]}), SHAPE)


def rows(arrays: Arrays, about: About) -> Any:
    """Images on their way, a row of pixels more in each column."""
    blocks = {f"draw {number}": each for number, each in enumerate(arrays["rows"], start=1)}
    steps = [f"{count} rows" if count != 1 else "1 row" for count in range(SHAPE[0] + 1)]
    return image_grid(_floats(blocks), SHAPE, above=steps)


def progress(arrays: Arrays, about: About) -> Any:
    """One image at several steps, and below it what the model expects of the whole."""
    blocks = {"drawn so far": arrays["drawn"], "expected": arrays["expected"]}
    return image_grid(_floats(blocks), SHAPE, above=[str(count) for count in arrays["counts"]])


def anomalies(arrays: Arrays, about: About) -> Any:
    """Digits, the same with a scratch, and the cost of each pixel."""
    return figures.surprisal(None, arrays["spoilt"], SHAPE, terms=arrays["terms"])


def classes(arrays: Arrays, about: About) -> Any:
    """Draws given a class, a line each."""
    return image_grid(_floats({str(label): each for label, each in enumerate(arrays["draws"])}), SHAPE)


def blind_spot(arrays: Arrays, about: About) -> Any:
    """Pixels that the law of one pixel depends on, in a plain PixelCNN and a gated one."""
    return figures.receptive_fields(dict(arrays), FIELD_SHAPE, entry=about["entry"])


def five(arrays: Arrays, about: About) -> Any:
    """Draws of five models, a line each, below data."""
    return image_grid(_floats({name: arrays[name] for name in ("data", *FIVE)}), SHAPE)


def _floats(blocks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: each.astype(np.float64) for name, each in blocks.items()}


FIGURES: Mapping[str, Figure] = {
    "completions": Figure("pixels", completions, "Occluded, completed, original", SEEN["completions"]),
    "five": Figure("five", five, "Samples of five models", SEEN["five"]),
    "rows": Figure("pixels", rows, "Samples row by row", SEEN["rows"]),
    "progress": Figure("pixels", progress, "Generation in progress", SEEN["progress"]),
    "classes": Figure("classes", classes, "Samples of each class", SEEN["classes"]),
    "blind_spot": Figure("fields", blind_spot, "The blind spot", SEEN["blind_spot"]),
    "anomalies": Figure("pixels", anomalies, "What each pixel costs", SEEN["anomalies"]),
}
"""All figures by name."""


def section(folder: Path) -> str:
    """All figures as they stand on the page."""
    return pictured(figure_records.STORE, FIGURES, "autoregressive", folder)


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    return draw(figure_records.STORE, FIGURES, "autoregressive", __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
