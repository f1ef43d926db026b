"""Images on their way: how an autoregressive model draws them entry by entry, as a figure."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Size, Tensor

from ppgen.checks.arguments import check_count
from ppgen.checks.seeding import check_seed
from ppgen.diagnostics.figures.image_grid import image_grid
from ppgen.diagnostics.figures.ordered_law import ordered_law
from ppgen.pair import as_pair
from ppgen.undisturbed import evaluating


def generation(
    pair: Any,
    image_shape: Sequence[int],
    *,
    num_samples: int = 6,
    num_stages: int | None = None,
    num_completions: int = 0,
    seed: int = 0,
) -> Any:
    r"""Return a figure of images while an autoregressive model draws them, one line each, from nothing to the whole.

    .. math:: x_{o_i} \sim p(x_{o_i} \mid x_{o_1}, \dots, x_{o_{i-1}}), \qquad i = 1, \dots, D

    Entries that are not drawn yet are in colour. With `num_completions` a line below each image shows what the model
    expects of it at that stage, E[x | entries drawn so far], the mean of as many exact completions.

    Args:
        pair: An autoregressive model in one order, or a run that trained one.
        image_shape: Shape of a row as an image, (height, width), perhaps with colours.
        num_samples: Images.
        num_stages: Steps from nothing to the whole; by default one for each row of pixels, or as many of these as fit.
        num_completions: Draws of the mean at each stage; 0 leaves it out.
        seed: Seed of the draws.

    Raises:
        ValueError: If the model is not autoregressive, has several orders, or its rows are no images of that shape.

    Example:
        >>> from ppgen import models
        >>> from ppgen.diagnostics import figures
        >>> figure = figures.generation(models.FullyVisibleBeliefNet(16), (4, 4), num_samples=2)
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['draw 1', 'draw 2', '0', '4', '8', '12', '16']
    """
    check_count("num_samples", num_samples)
    check_count("num_stages", num_stages, optional=True)
    check_count("num_completions", num_completions, 0, wanted="an int, 0 or more")
    counts, blocks = stages(
        pair,
        num_samples,
        num_stages=num_stages or min(int(image_shape[-2]), 12),
        num_completions=num_completions,
        seed=check_seed(seed),
    )
    title = f"{type(as_pair(pair)).__name__}: images after so many entries"
    return image_grid(blocks, image_shape, title, above=[str(count) for count in counts])


def stages(
    pair: Any, num_samples: int, *, num_stages: int, num_completions: int = 0, seed: int = 0
) -> tuple[list[int], dict[str, np.ndarray]]:
    """Draws of an autoregressive model at several stages, and what it expects of the rest at each.

    Args:
        pair: An autoregressive model in one order, or a run that trained one.
        num_samples: Draws.
        num_stages: Steps from nothing to the whole.
        num_completions: Draws that each mean is taken over; 0 for no means.
        seed: Seed of the draws.

    Returns:
        Entries drawn at each stage, and by name rows of each stage, (stages, features), NaN at what is not drawn yet.

    Raises:
        ValueError: If the model is not autoregressive, or has several orders.
    """
    pair = as_pair(pair)
    blocks = {}
    with evaluating(pair, seed), pair.running():
        law, order = ordered_law(pair)
        size = law.event_shape[0]
        steps = min(num_stages, size)
        counts = [round(stage * size / steps) for stage in range(steps + 1)]
        rank = order.argsort()
        hidden = rank >= torch.tensor(counts, device=rank.device).unsqueeze(-1)  # (stages, features)
        for number, row in enumerate(law.sample((num_samples,)), start=1):
            so_far = row.expand_as(hidden).masked_fill(hidden, float("nan"))
            name = f"draw {number}" if num_samples > 1 else "drawn"
            blocks[name] = _array(so_far)
            if num_completions:
                drawn = law.draw(law.uniforms(Size((num_completions, len(so_far)))), so_far)
                blocks["expected" if num_samples == 1 else f"expected {number}"] = _array(drawn).mean(0)
    return counts, blocks


def _array(values: Tensor) -> np.ndarray:
    return values.double().cpu().numpy()
