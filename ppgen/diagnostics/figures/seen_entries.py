"""Which entries a position of an autoregressive model sees, by derivatives: blind spots as a figure."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ppgen.checks.arrays import as_tensor, is_array
from ppgen.checks.seeding import check_seed
from ppgen.diagnostics.figures.image_grid import MISSING
from ppgen.diagnostics.figures.ordered_law import ordered_law
from ppgen.diagnostics.mosaic import as_images
from ppgen.pair import as_pair
from ppgen.undisturbed import evaluating

AFTER, ITSELF = "#ececec", "#c8552b"


def receptive_fields(
    pairs: Any, image_shape: Sequence[int], *, entry: int, rows: Any = None, num_samples: int = 8, seed: int = 0
) -> Any:
    r"""Return a figure of the entries that the law of one entry depends on, by derivatives of its parameters.

    .. math:: \max_{x, p} \left| \frac{\partial \theta_{ip}(x)}{\partial x_j} \right|

    on a logarithmic scale, in float64. Entries before it whose derivative is exactly 0 are in a colour of their own:
    with them a causal network is blind to what it might see. Those after it, and itself, must have none.

    Args:
        pairs: An autoregressive model in one order or a run; or several by the name that stands above each. In the
            place of a model its derivatives may stand, as `entry_derivatives` of this module gives them.
        image_shape: Shape of a row as an image, (height, width).
        entry: Index i of the entry in a row of data.
        rows: Data at which derivatives are taken, (rows, features); by default draws of each model.
        num_samples: Draws in their place.
        seed: Seed of the draws.

    Raises:
        ValueError: If a model is not autoregressive or has several orders, or there is no such entry.

    Example:
        >>> from ppgen import models
        >>> from ppgen.diagnostics import figures
        >>> plain = models.PixelCNN((6, 6), channels=2, layers=3, first_size=3)
        >>> figures.receptive_fields({"plain": plain}, (6, 6), entry=32).axes[0].get_title()
        'plain\n27 of 32 entries before are seen'
    """
    from matplotlib.colors import ListedColormap, LogNorm
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    named = pairs if isinstance(pairs, Mapping) else {type(as_pair(pairs)).__name__: pairs}
    given = {"entry": entry, "rows": rows, "num_samples": num_samples, "seed": seed}
    found = {
        name: np.asarray(each, dtype=np.float64) if is_array(each) else entry_derivatives(each, **given)
        for name, each in named.items()
    }
    if not found:
        raise ValueError("pairs must hold one model or more, by name; got none.")
    seen = np.concatenate([each[np.nan_to_num(each) > 0] for each in found.values()])
    norm = LogNorm(*((seen.min(), seen.max()) if len(seen) else (0.1, 1.0)))
    figure = Figure(figsize=(3.3 * len(found) + 0.9, 3.9), layout="constrained")
    picture: Any = None
    panels = figure.subplots(1, len(found), squeeze=False)[0]
    for axes, (name, values) in zip(panels, found.items(), strict=True):
        images = as_images(values[None], image_shape)
        if images is None or images.ndim > 3:
            raise ValueError(
                f"image_shape must be (height, width) of {len(values)} features, got {tuple(image_shape)}."
            )
        image = images[0]
        itself = np.zeros(len(values))
        itself[entry] = 1.0
        kinds = np.where(np.isnan(image), 0.0, 1.0) + as_images(itself[None], image_shape)[0] * 2  # type: ignore[index]
        axes.imshow(kinds, cmap=ListedColormap([AFTER, MISSING, ITSELF]), vmin=0, vmax=2, interpolation="nearest")
        picture = axes.imshow(np.where(image > 0, image, np.nan), cmap="Blues", norm=norm, interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        before = int((~np.isnan(values)).sum())
        axes.set_title(f"{name}\n{int((np.nan_to_num(values) > 0).sum())} of {before} entries before are seen")
        axes.title.set_fontsize("medium")
    figure.colorbar(picture, ax=list(panels), shrink=0.75, label="largest derivative of a parameter")
    kinds_of = {ITSELF: "the entry", MISSING: "before it, derivative 0", AFTER: "after it"}
    patches = [Patch(facecolor=colour, label=label) for colour, label in kinds_of.items()]
    figure.legend(handles=patches, loc="outside lower center", ncols=3, frameon=False, fontsize="small")
    return figure


def entry_derivatives(pair: Any, *, entry: int, rows: Any = None, num_samples: int = 8, seed: int = 0) -> np.ndarray:
    """Largest derivative, over rows and parameters, of the law of one entry in each entry of a datum, in float64.

    Args:
        pair: An autoregressive model in one order, or a run that trained one.
        entry: Index of the entry in a row of data.
        rows: Data, (rows, features); by default draws of the model.
        num_samples: Draws in their place.
        seed: Seed of the draws.

    Returns:
        Array (features,), exactly 0 where there is no dependence, NaN at the entry itself and at those after it.

    Raises:
        ValueError: If the model is not autoregressive or has several orders, there is no such entry, or the law of the
            entry depends on itself or on later ones.
    """
    pair = copy.deepcopy(as_pair(pair)).double()
    with evaluating(pair, check_seed(seed)), torch.enable_grad(), pair.running():
        law, order = ordered_law(pair)
        size = law.event_shape[0]
        if isinstance(entry, bool) or not isinstance(entry, int) or not 0 <= entry < size:
            raise ValueError(
                f"entry must be an index from 0 to {size - 1}, as rows have {size} features; got {entry!r}."
            )
        x = law.sample((num_samples,)) if rows is None else as_tensor(rows, "rows").to(order.device, torch.float64)
        x = x.detach().requires_grad_()
        position = int((order == entry).nonzero())
        parameters = law.parameters(x)[..., position, :].sum(0)
        largest = torch.zeros(size, dtype=x.dtype, device=x.device)
        for each in parameters:
            (slope,) = torch.autograd.grad(each, x, retain_graph=True, allow_unused=True)
            if slope is not None:
                largest = torch.maximum(largest, slope.abs().amax(0))
    later = order[position:]
    if bool((largest[later] != 0).any()):
        raise ValueError(f"The law of entry {entry} depends on itself or on later entries: the network is not causal.")
    largest[later] = torch.nan
    return largest.cpu().numpy()
