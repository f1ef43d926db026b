"""Figures of a trained pair: its course of training, samples, completions, reconstructions and filters."""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pyro import poutine
from torch import Tensor, nn

from ppgen.batch import parts_of, split_batch
from ppgen.checks.arrays import is_array
from ppgen.checks.seeding import check_seed
from ppgen.coders import Coder, HasEncoderLayers
from ppgen.conditional import ConditionalModel
from ppgen.diagnostics.figures.curves import curve
from ppgen.diagnostics.figures.panels import panels_of, side_by_side
from ppgen.diagnostics.mosaic import DPI, as_images, columns_for, draw_rows
from ppgen.evaluation.rows import CheckedRows
from ppgen.features import reconstruct
from ppgen.features.blocks import ROWS_AT_ONCE
from ppgen.features.reconstruction import with_means
from ppgen.inference.structure.machine_sites import undirected_sites
from ppgen.inference.structure.traces import sites, unconditioned
from ppgen.pair import as_pair
from ppgen.undisturbed import evaluating

_LOGGER = logging.getLogger(__name__)
COLUMNS = 8


def samples(
    pair: Any,
    image_shape: Sequence[int] | None = None,
    *,
    num_samples: int = 64,
    seed: int = 0,
    **options: Any,
) -> Any:
    """Return a figure of draws from the model, beside their means given what they were drawn from.

    Under a Boltzmann machine the draws come from Gibbs chains, and their R-hat stands above the picture.

    Args:
        pair: A pair or a run.
        image_shape: Shape of a row as an image, (height, width), perhaps with colours; without it each row is
            a strip.
        num_samples: Draws.
        seed: Seed of the draws.
        **options: Other arguments of `ppgen.sample`.

    Example:
        >>> from ppgen import models
        >>> from ppgen.diagnostics import figures
        >>> figure = figures.samples(models.VAE(features=16, latent=2, hidden=(4,)), (4, 4), num_samples=9)
        >>> [axes.get_title() for axes in figure.axes]
        ['draws', 'means of their law given the latents']
    """
    seed = check_seed(seed)
    from ppgen.training import sample

    drawn = sample(pair, num_samples, seed=seed, **options)
    rows = drawn.samples.shape[1] if drawn.samples.dim() == 3 else None
    panels = {"draws": _rows(_by_row(drawn.samples))}
    if drawn.means is not None and bool(torch.isfinite(drawn.means).all()):
        panels["means of their law given the latents"] = _rows(_by_row(drawn.means))
    note = "" if rows is None else f", one line for each of {rows} rows"
    if drawn.rhat is not None:
        note += f"\nblock Gibbs, {drawn.num_chains} chains, R-hat of their free energies and units {drawn.rhat:.3f}"
    return panels_of(
        panels,
        image_shape,
        f"{num_samples} samples of {type(as_pair(pair)).__name__}{note}",
        columns=columns_for(num_samples) if rows is None else num_samples,
        stacked=False,
    )


def reconstructions(
    pair: Any,
    x: Any,
    image_shape: Sequence[int] | None = None,
    *,
    num_samples: int = 50,
    seed: int = 0,
    beside: Mapping[str, Any] | None = None,
    colours: str = "gray_r",
) -> Any:
    r"""Return a figure of data above their reconstructions, the mean of the posterior predictive law.

    .. math:: \hat x = \frac{1}{S} \sum_s E[x \mid z_s], \qquad z_s \sim q(z \mid x)

    Models with a code of their own, such as autoencoders, are shown at that code, decode(encode(x)), without draws.

    Args:
        pair: A pair or a run.
        x: Data, (rows, features); for programs with several arguments a tuple or a mapping.
        image_shape: Shape of a row as an image; without it each row is a strip.
        num_samples: Draws S of the guide.
        seed: Seed of the draws.
        beside: Reconstructions of the same rows by others, such as principal components: (rows, features) or a model
            each, by the name that stands above them.
        colours: Name of a matplotlib colour map; `"gray"` for photographs, whose large values are light.

    Raises:
        ValueError: If the model observes nothing, or what is to stand beside has other shapes.

    Example:
        >>> import torch
        >>> from ppgen import models
        >>> from ppgen.diagnostics import figures
        >>> vae = models.VAE(features=16, latent=2, hidden=(4,))
        >>> [axes.get_title() for axes in figures.reconstructions(vae, torch.ones(8, 16), (4, 4)).axes]
        ['data', 'mean of the reconstructions over 50 draws of the guide']
        >>> small = models.Autoencoder(16, hidden=(2,))
        >>> figure = figures.reconstructions(small, torch.ones(8, 16), (4, 4), beside={"zeros": torch.zeros(8, 16)})
        >>> [axes.get_title() for axes in figure.axes][:3]
        ['data', 'Autoencoder', 'zeros']
    """
    seed = check_seed(seed)
    pair = as_pair(pair)
    name = type(pair).__name__
    if isinstance(pair, Coder):
        blocks = with_means(pair, x, ROWS_AT_ONCE)
        data, mean = (torch.cat(each) for each in zip(*blocks, strict=True))
        title = name
    else:
        data, mean = _reconstruct(pair, x, num_samples, seed)
        title = f"mean of the reconstructions over {num_samples} draws of the guide"
    others = {key: value if is_array(value) else reconstruct(value, x) for key, value in (beside or {}).items()}
    taken = sorted({"data", title} & set(others))
    if taken:
        raise ValueError(f"beside: {taken[0]!r} already names a row of the figure; give it another name.")
    return side_by_side(
        {"data": _rows(data), title: _rows(mean), **others},
        image_shape,
        title=f"{name}: {len(data)} rows of data and their reconstructions",
        colours=colours,
    )


def filters(
    pair: Any, image_shape: Sequence[int] | None = None, *, num_features: int | None = None, layer: int = 1
) -> Any:
    """Return a figure of the weights between the data and the hidden units next to them, the largest first.

    For a Boltzmann machine that is the coupling of its two lowest layers, else the last linear layer that puts
    out the data (of a decoder), or the first that takes them in. Filters that every position shares are drawn at their
    own size; those of an upper layer of a convolutional network as what they lay down in the image. Colours are
    symmetric about zero.

    Args:
        pair: A pair or a run.
        image_shape: Shape of a row as an image; without it the weights of a unit are a strip.
        num_features: Variables of a datum; by default those of the image or of the model.
        layer: Hidden layer of a convolutional network, from 1.

    Raises:
        ValueError: If no weights of that size are found, or there is no such layer.

    Example:
        >>> from ppgen import models
        >>> from ppgen.diagnostics import figures
        >>> figures.filters(models.RBM(visible=16, hidden=6), (4, 4)).axes[0].get_title()
        'RBM: weights of the visible units to 6 hidden units'
    """
    from matplotlib.figure import Figure

    pair = as_pair(pair)
    if num_features is None:
        num_features = int(np.prod(image_shape)) if image_shape is not None else getattr(pair, "features", None)
    pictures = _pictures(pair, layer)
    if pictures is not None:
        weights, what = _rows(pictures), f"filters of layer {layer} of"
        image_shape = (pictures.shape[1] * pictures.shape[2], pictures.shape[3])  # channels below each other
    else:
        weights, what = _weights(pair, num_features)
    order = np.linalg.norm(weights, axis=1).argsort()[::-1]
    shown = weights[order[:64]]
    top = float(np.abs(shown).max()) or 1.0
    count = "" if len(shown) == len(weights) else f"{len(shown)} of "
    columns = columns_for(len(shown))
    images = as_images(shown, image_shape)
    height = 4.8
    if images is not None:
        height *= -(-len(shown) // columns) * images.shape[1] / (columns * images.shape[2])
    figure = Figure(figsize=(6.0, min(height, 9.0) + 0.5), layout="constrained")
    axes = figure.add_subplot()
    grey = images is None or images.ndim == 3
    drawn = draw_rows(axes, shown, image_shape, columns=columns, limits=(-top, top), colours="RdBu_r")
    axes.set_title(f"{type(pair).__name__}: {what} {count}{len(weights)} hidden units", fontsize="medium")
    if grey:
        figure.colorbar(drawn, ax=axes, shrink=0.8, label="weight")
    if images is None:
        axes.set_ylabel("hidden unit, by size of its weights")
    return figure


def write_all(run: Any, dataset: Any, folder: Any) -> list[Path]:
    """Write curve.png, samples.png, reconstructions.png and filters.png; return the paths of those that were.

    A figure that the pair does not allow is left out, and the logger of this module tells why.

    Args:
        run: A run of `ppgen.fit`.
        dataset: Its `ppgen.datasets.Dataset`.
        folder: Folder of the pictures, made if there is none.
    """
    from ppgen.training.run_folder.storage import replacing

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    shape = dataset.image_shape
    paired = isinstance(dataset.train, tuple)  # x and y
    parts = {name: dataset.split(name) if paired else (dataset.split(name),) for name in ("test", "valid", "train")}
    split = next(name for name, given in parts.items() if len(given[0]))
    pair = as_pair(run)
    given = paired and isinstance(pair, ConditionalModel)  # of x and y, y alone is drawn
    if paired and shape and parts[split][given][:1].shape[-1] != math.prod(shape):
        shape = None  # a part of an image
    count = 2 * COLUMNS * (1 if shape else 2)
    rows = tuple(part[:count] for part in parts[split])
    drawn = {"covariates": rows[0][:COLUMNS], "num_samples": COLUMNS} if given else {}
    num_features = getattr(pair, "num_features", None) if paired else dataset.num_features
    made = {
        "curve": lambda: curve(run),
        "samples": lambda: samples(run, shape, **drawn),
        "reconstructions": lambda: reconstructions(run, rows if paired else rows[0], shape),
        "filters": lambda: filters(run, shape, num_features=num_features),
    }
    paths = []
    for name, make in made.items():
        try:
            figure = make()
        except ValueError as error:
            _LOGGER.warning("No figure %r: %s", name, error)
            continue
        paths.append(folder / f"{name}.png")
        with replacing(paths[-1]) as temporary:
            figure.savefig(temporary, dpi=DPI, format="png", bbox_inches="tight", pad_inches=0.1)
    return paths


def _reconstruct(pair: Any, x: Any, num_samples: int, seed: int) -> tuple[Tensor, Tensor]:
    """Observed values and the mean of their law, averaged over draws of the guide."""
    rows = CheckedRows(x, pair)
    batch = rows(0, len(rows))
    with evaluating(pair):
        pair.prepare(batch)
    args, kwargs = split_batch(batch)
    total: Any = 0.0
    data: Tensor | None = None
    with evaluating(pair, seed), pair.running():
        for _ in range(num_samples):
            guide = poutine.trace(pair.guide).get_trace(*args, **kwargs)
            program = unconditioned(poutine.replay(pair.model, trace=guide))
            found = [
                site
                for site in sites(poutine.trace(program).get_trace(*args, **kwargs)).values()
                if site["infer"].get("was_observed") and site["infer"]["obs"].numel()
            ]
            if not found:
                raise ValueError("The model observes nothing, so there is nothing to reconstruct.")
            given = parts_of(batch)
            site = next((s for s in found if any(s["infer"]["obs"] is value for value in given)), found[0])
            data = site["infer"]["obs"]
            total = total + _mean(site)
    if data is None:
        raise ValueError(f"num_samples must be 1 or more, got {num_samples}.")
    return data, total / num_samples


def _mean(site: Any) -> Tensor:
    """Mean of the law at a site, or a draw of it where it has none."""
    try:
        mean = site["fn"].mean
    except (NotImplementedError, AttributeError):
        return site["value"].to(torch.get_default_dtype())
    return mean if bool(torch.isfinite(mean).all()) else site["value"].to(torch.get_default_dtype())


def _pictures(pair: Any, layer: int) -> Tensor | None:
    """Filters of a convolutional model, (filters, channels, rows, columns); None for other models."""
    if callable(getattr(pair, "filters", None)):
        return pair.filters(layer)
    if layer != 1:
        raise ValueError(f"layer={layer} needs a convolutional model; of {type(pair).__name__} layer 1 can be drawn.")
    return None


def _weights(pair: Any, num_features: int | None) -> tuple[np.ndarray, str]:
    """Weights (hidden units, features) next to the data, and what they are."""
    try:
        energies = undirected_sites(pair)
    except ValueError:
        energies = {}
    for energy in energies.values():
        weight = getattr(energy.couplings[0], "weight", None)
        if weight is not None and num_features in (None, weight.shape[0]):
            return _rows(weight.T), f"weights of the {energy.names[0]} units to"
    if isinstance(pair, HasEncoderLayers):
        return _rows(pair.encoder_layers()[0][0].T), "weights of the data to"
    linear = {name: module for name, module in pair.named_modules() if isinstance(module, nn.Linear)}
    outputs = [
        module
        for name, module in linear.items()
        if module.out_features == num_features and "scale" not in name  # not that of a standard deviation
    ]
    if outputs:
        return _rows(outputs[-1].weight.T), "output weights of"
    for module in linear.values():
        if num_features in (None, module.in_features):
            return _rows(module.weight), "weights of the data to"
    raise ValueError(f"The pair has no linear layer over the {num_features} variables of a datum.")


def _by_row(values: Tensor) -> Tensor:
    """Draws of one row after those of another; others as they are."""
    return values.transpose(0, 1).flatten(0, 1) if values.dim() == 3 else values


def _rows(values: Tensor) -> np.ndarray:
    array = values.detach().cpu().to(torch.float64).numpy()
    return array.reshape(len(array), -1)
