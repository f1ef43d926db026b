"""How far the mean activities of hidden units are from a target: what keeps most units of a large layer off."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from ppgen.distributions import LayerConditional
from ppgen.distributions.units.supports import AtMostOne
from ppgen.inference.structure.layout import Layout
from ppgen.inference.structure.support import takes_bits
from ppgen.inference.structure.traces import element_law, sites


def sparse_sites(layout: Layout) -> list[str]:
    """Latent sites of bits."""
    return [name for name in layout.latent if _of_bits(layout.guide_laws[name])]


def activity_penalty(traces: Sequence[Any], latent: Iterable[str], target: float) -> Tensor:
    r"""Squared distance of mean activities from a target, summed over the units of every latent site of bits.

    .. math:: \sum_j \Big(\rho - \frac{1}{B} \sum_b E_q[z_{bj} \mid x_b]\Big)^2

    Units of a machine that share a bias, such as those of a feature map, share their mean activity too. In a machine
    the gradient is that in the biases alone: along the weights it would pull all of them the same way.

    References:
        | Sparse Deep Belief Net Model for Visual Area V2 (Lee, Ekanadham and Ng, 2008)

    Args:
        traces: Traces of the guide.
        latent: Sites that it draws.
        target: Activity rho.
    """
    total: Any = 0.0
    for name in latent:
        laws = [site["fn"] for trace in traces for found, site in sites(trace).items() if found == name]
        if laws and _of_bits(laws[0]):
            means = torch.stack([_mean(fn) for fn in laws]).mean(0)
            sharing = _sharing(laws[0])
            grouped = means.unflatten(-1, (-1, sharing)).mean(-1)
            total = total + sharing * (target - grouped).square().sum()
    return total


def _of_bits(fn: Any) -> bool:
    return isinstance(fn.support, AtMostOne) or takes_bits(fn.support)


def _mean(fn: Any) -> Tensor:
    """Mean of each unit over particles and rows, (units,): of a layer of a machine given constant inputs."""
    law, mean = element_law(fn), fn.mean
    if isinstance(law, LayerConditional):
        energy, to = law.machine_energy, law.layer
        sent = [energy.sent(index, to, energy.units[index].statistic(given)) for index, given in law.given.items()]
        mean = energy.units[to].mean(sum(sent[1:], sent[0]).detach())
    return mean.reshape(-1, fn.event_shape.numel()).mean(0)


def _sharing(fn: Any) -> int:
    """Units next to each other that have one bias."""
    law = element_law(fn)
    if not isinstance(law, LayerConditional):
        return 1
    units = law.machine_energy.units[law.layer]
    return units.size // units.parameters()[0].numel()
