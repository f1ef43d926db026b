"""The figures of conditional and latent-variable models, drawn from stored records; nothing is trained.

    python -m benchmarks.conditional.figures                # all figures whose record there is
    python -m benchmarks.conditional.figures plane styles   # some of them
    python -m benchmarks.conditional.figures --quick        # from the trial records of figure_records --quick

Each figure is a function of one record of `benchmarks/conditional/figure_records.py`, and is written beside it as
`conditional-NAME.png`.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.conditional import figure_records
from benchmarks.conditional.figure_records import DRAWS, SIDE
from benchmarks.conditional.figure_words import SEEN
from benchmarks.figure_store import Figure, draw, pictured
from ppgen.diagnostics.figures.image_grid import image_grid
from ppgen.diagnostics.figures.latent_grid import axis_values, of_moved, of_plane
from ppgen.diagnostics.figures.nearest import beside_nearest

Arrays, About = Mapping[str, np.ndarray], Mapping[str, Any]


def quadrants(arrays: Arrays, about: About) -> Any:
    """The quadrant that is given, draws of the others, and the digits in full."""
    given = _images(arrays["given"])
    given[given < 0] = np.nan
    blocks = {"given": given, f"{DRAWS} completions": _images(arrays["draws"]), "original": _images(arrays["whole"])}
    return image_grid(blocks, _shape(about))


def styles(arrays: Arrays, about: About) -> Any:
    """Test digits on the left, and each one's style in all classes."""
    every = _images(arrays["styles"]).reshape(len(arrays["whole"]), 10, -1)
    blank = np.full_like(every[:, :1], np.nan)
    lines = np.concatenate([_images(arrays["whole"])[:, None], blank, every], 1)
    lines[:, 1] = 0
    names = ["given", "", *map(str, range(10))]
    return image_grid({"": lines.reshape(-1, lines.shape[2])}, _shape(about), columns=12, above=names)


def plane(arrays: Arrays, about: About) -> Any:
    """What each place of the plane of two latents stands for."""
    return of_plane(_images(arrays["plane"]), axis_values(SIDE), _shape(about))


def traversals(arrays: Arrays, about: About) -> Any:
    """One latent moved alone, a line for each."""
    return of_moved(_images(arrays["moved"]), about["moved"], about["values"], _shape(about))


def decoders(arrays: Arrays, about: About) -> Any:
    """Reconstructions and decoded noise, of an autoencoder and of a VAE."""
    blocks = {"test digits": arrays["whole"]}
    for name in ("autoencoder", "VAE"):
        blocks[f"{name}:\nreconstructions"] = arrays[f"{name} again"]
    blocks["autoencoder:\nnoise N(0, I)"] = arrays["autoencoder noise"]
    blocks["noise as spread\nas its codes"] = arrays["autoencoder scaled"]
    blocks["VAE:\nnoise N(0, I)"] = arrays["VAE noise"]
    return image_grid({name: _images(each) for name, each in blocks.items()}, _shape(about), columns=20)


def nearest(arrays: Arrays, about: About) -> Any:
    """Draws of a VAE over their nearest training rows, in pixels."""
    return _nearest(arrays, about, "pixels")


def nearest_features(arrays: Arrays, about: About) -> Any:
    """Draws of a VAE over their nearest training rows, in features of a classifier."""
    return _nearest(arrays, about, "features")


def _nearest(arrays: Arrays, about: About, space: str) -> Any:
    groups, distances = {}, {}
    for name, label in (("draws", "draws of the VAE"), ("held out", "test digits")):
        rows = _images(arrays[name])
        groups[label] = rows, _images(arrays[f"{space} {name} near"]).reshape(len(rows), -1, rows.shape[1])
        distances[label] = arrays[f"{space} {name} distances"].astype(np.float64)
    return beside_nearest(groups, distances, _shape(about))


def pixels(arrays: Arrays, about: About) -> Any:
    """Digits, the same shifted by one pixel, and nearer ones of other classes, with their squared distances."""
    from matplotlib.figure import Figure as Canvas

    count, shape = len(arrays["digits"]), _shape(about)
    canvas = Canvas(figsize=(1.05 * count + 1.4, 4.4), layout="constrained")
    lines = {"digits": "digit", "shifted": "shifted by\none pixel", "others": "another\nclass"}
    grid = canvas.subplots(len(lines), count)
    for axes_of, (key, name) in zip(grid, lines.items(), strict=True):
        for number, axes in enumerate(axes_of):
            axes.imshow(arrays[key][number].reshape(shape), cmap="gray_r", vmin=0, vmax=255)
            axes.set_xticks([])
            axes.set_yticks([])
            if key != "digits":
                distance = arrays["own" if key == "shifted" else "other"][number]
                axes.set_title(f"{distance:.1f}", fontsize="medium")
        axes_of[0].set_ylabel(name, rotation=0, ha="right", va="center", labelpad=8)
    return canvas


def _images(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float64) / 255


def _shape(about: About) -> tuple[int, int]:
    return about["side"], about["side"]


FIGURES: Mapping[str, Figure] = {
    "quadrants": Figure("quadrants", quadrants, "Completed quadrants", SEEN["quadrants"]),
    "styles": Figure("styles", styles, "One style, every class", SEEN["styles"]),
    "plane": Figure("latents", plane, "The plane of two latents", SEEN["plane"]),
    "traversals": Figure("latents", traversals, "One latent moved alone", SEEN["traversals"]),
    "decoders": Figure("decoders", decoders, "What reconstruction alone does", SEEN["decoders"]),
    "nearest": Figure("decoders", nearest, "Are draws copies? In pixels", SEEN["nearest"]),
    "nearest_features": Figure("decoders", nearest_features, "Are draws copies? In features", SEEN["nearest_features"]),
    "pixels": Figure("pixels", pixels, "One pixel to the right", SEEN["pixels"]),
}
"""All figures by name."""


def section(folder: Path) -> str:
    """All figures as they stand on the page."""
    return "## Figures\n\n" + pictured(figure_records.STORE, FIGURES, "conditional", folder)


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    return draw(figure_records.STORE, FIGURES, "conditional", __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
