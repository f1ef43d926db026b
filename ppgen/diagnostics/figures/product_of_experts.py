"""Two hidden units of a topic model as experts whose opinions multiply, as a figure."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ppgen.distributions import Multinomial
from ppgen.pair import as_pair
from ppgen.stacks import HasMachine

ALONE, TOGETHER = ("#1f4e79", "#c8552b"), "#3a7d44"


def experts(pair: Any, words: Sequence[str], units: Sequence[int] = (0, 1), *, k: int = 10) -> Any:
    r"""Return a figure of the words that two hidden units favour, each alone and both together.

    .. math:: p(\text{word } i \mid h) \propto e^{b_i} \prod_j e^{W_{ij} h_j}

    Every unit that is on multiplies in a factor for each word, and the product is normalised: a word that both favour
    can be more probable than under either, which no mixture of the two laws allows. Bars are probabilities of the k
    most probable words with no other unit on; where both are, dots are those of the same words under one alone. The
    entropy of each law stands above it: fewer nats are a sharper law.

    Args:
        pair: A topic model, `models.ReplicatedSoftmax`, or a run that trained one.
        words: The vocabulary in the order of the counts.
        units: Indices of the two hidden units.
        k: Words shown for each law.

    Raises:
        TypeError: If the data of the pair are no word counts.
        ValueError: If `words` has another length than the vocabulary, `units` are not two different hidden units, or k
            is not from 1 to the size of the vocabulary.

    References:
        | Training Products of Experts by Minimizing Contrastive Divergence (Hinton, 2002)
        | Replicated Softmax: an Undirected Topic Model (Salakhutdinov and Hinton, 2009)

    Example:
        >>> from ppgen import models
        >>> from ppgen.diagnostics import figures
        >>> model = models.ReplicatedSoftmax(vocabulary=4, hidden=2)
        >>> figure = figures.experts(model, ["sea", "salt", "oven", "ship"], k=3)
        >>> [axes.get_title().split(",")[0] for axes in figure.axes]
        ['unit 0 alone', 'unit 1 alone', 'both together']
    """
    from matplotlib.figure import Figure

    laws = _laws(pair, units)
    size = len(laws[0])
    if len(words) != size:
        raise ValueError(f"words must name the {size} words of the vocabulary, got {len(words)}.")
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= size:
        raise ValueError(f"k must be a number of words from 1 to {size}, got {k!r}.")
    names = [*(f"unit {unit} alone" for unit in units), "both together"]
    figure = Figure(figsize=(9.6, 1.5 + 0.24 * k), layout="constrained")
    panels = figure.subplots(1, 3, sharex=True)
    places = np.arange(k)
    for axes, name, law, colour in zip(panels, names, laws, (*ALONE, TOGETHER), strict=True):
        top = np.argsort(-law, kind="stable")[:k]
        axes.barh(places, law[top], color=colour, height=0.7)
        axes.set_yticks(places, [words[word] for word in top])
        axes.invert_yaxis()
        entropy = -float((law * np.log(law, out=np.zeros_like(law), where=law > 0)).sum())
        axes.set_title(f"{name}, entropy {entropy:.2f} nats", fontsize="medium")
        axes.set_xlabel("probability of a word")
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
    for unit, law, colour in zip(units, laws, ALONE, strict=False):
        panels[2].plot(
            law[top], places, "o", color=colour, markersize=5, markeredgecolor="white", label=f"under unit {unit} alone"
        )
    figure.legend(*panels[2].get_legend_handles_labels(), loc="outside lower right", ncols=2, frameon=False)
    figure.suptitle(f"{type(as_pair(pair)).__name__}: two hidden units as experts", fontsize="medium")
    return figure


@torch.no_grad()
def _laws(pair: Any, units: Sequence[int]) -> list[np.ndarray]:
    """Law of a word with the first unit on, the second, and both: three arrays (vocabulary,)."""
    pair = as_pair(pair)
    energy = pair.machine().base_energy if isinstance(pair, HasMachine) else None
    if energy is None or not isinstance(energy.units[0], Multinomial) or len(energy.units) != 2:
        raise TypeError(f"experts shows words, of a models.ReplicatedSoftmax; got {type(pair).__name__}.")
    count = energy.units[1].size
    known = [isinstance(unit, int) and not isinstance(unit, bool) and 0 <= unit < count for unit in units]
    if len(known) != 2 or not all(known) or units[0] == units[1]:
        raise ValueError(f"units must be two different hidden units from 0 to {count - 1}, got {units!r}.")
    states = torch.zeros(3, count).to(energy.parameters()[0])
    states[[0, 2], units[0]] = 1
    states[[1, 2], units[1]] = 1
    counts = pair.machine().conditional("visible", given=states).mean
    return list((counts / counts.sum(-1, keepdim=True)).double().cpu().numpy())
