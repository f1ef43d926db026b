"""What can be said of a batch when log Z is unknown: its free energy, and its pseudo-log-likelihood."""

import math
from typing import Any

import torch
from torch import Tensor

from ppgen import inference
from ppgen.batch import Batch
from ppgen.distributions import BaseRatePath
from ppgen.distributions.machines.layered_energy import EVEN
from ppgen.inference.structure.machine_sites import base_mean, undirected_sites
from ppgen.inference.structure.support import takes_bits
from ppgen.inference.structure.traces import data_frame, sites


@torch.no_grad()
def undirected_metrics(bound: Any, batch: Batch) -> dict[str, Tensor]:
    r"""Means over a batch, both in nats per datum.

    The free energy is minus the objective without log Z, so that in differences between two sets of rows log
    Z cancels. Where each row has a log Z of its own (lengths of documents, missing ratings) it would not, and the
    free energy is taken above that of independent units of the same row, F(x) - F_A(x). The
    pseudo-log-likelihood stands in only where a log-weight is log p(x) + log Z exactly (the guide is the exact
    posterior) and the data are one tensor of bits:

    .. math:: \sum_i \log p(x_i \mid x_{-i}) \approx F \log \sigma(\log p(x) - \log p(\tilde x))

    with one bit of F, drawn uniformly for each row, flipped in :math:`\tilde x`. log Z cancels here too. Under
    `inference.PseudoLikelihood` it is what is trained, and known exactly, of one-hot groups too. `chance` is its value
    where every bit is a fair coin, :math:`-F \log 2`, and `squares` the mean square of what it is a mean of.

    Args:
        bound: An inference, bound to a pair.
        batch: Rows of data.

    References:
        | Statistical Analysis of Non-Lattice Data (Besag, 1975)
        | Inductive Principles for Restricted Boltzmann Machine Learning (Marlin et al., 2010)
    """
    if any(phase.of_values for phase in bound.phases.values()):
        unnormalised = bound.value(batch, dict.fromkeys(bound.undirected, 0.0), of_data=True)
        pseudo = bound.value(batch, of_data=True)
        return {"pseudo_log_likelihood": pseudo, "free_energy": _independent(bound, batch) - unnormalised}
    if not (isinstance(batch, Tensor) and bound.layout.exact_posterior and _are_bits(batch)):
        return {"free_energy": _independent(bound, batch) - bound.value(batch, of_data=True)}
    flipped = batch.clone()
    rows = torch.arange(len(batch), device=batch.device)
    drawn = torch.randint(batch.shape[1], (len(batch),)).to(batch.device)
    flipped[rows, drawn] = 1 - flipped[rows, drawn]
    with inference.attach(log_partition=dict.fromkeys(bound.undirected, 0.0)):
        found = inference.log_weights(bound.pair, torch.cat([batch, flipped]), layout=bound.layout)
    given, other = found.local[0].split(len(batch))
    if not _observes_bits(found, bound.layout.plate):
        return {"free_energy": _independent(bound, batch) - given.mean()}
    each = torch.nn.functional.logsigmoid(given - other)
    chance = torch.tensor(-batch.shape[1] * math.log(2), dtype=torch.float64)
    return {
        "pseudo_log_likelihood": batch.shape[1] * each.mean(),
        "free_energy": -given.mean(),
        "squares": (batch.shape[1] * each.double()).square().mean(),
        "chance": chance,
    }


def _independent(bound: Any, batch: Batch) -> Tensor:
    """Mean log-density of independent units, not normalised, where each row has a log Z of its own; 0 elsewhere."""
    total = torch.zeros((), dtype=torch.float64)
    for energy in undirected_sites(bound.pair, batch).values():
        if energy.batch_shape and isinstance(batch, Tensor) and batch.shape[-1] == energy.size(EVEN):
            path = BaseRatePath(energy, base_mean(bound.pair, energy))
            total = total + path.log_density(batch, 0.0).mean().double().cpu()
    return total


def _observes_bits(found: inference.LogWeights, plate: str) -> bool:
    """Whether each value of a datum is a bit by itself: counts and one-hot groups may hold nothing but 0 and 1 too."""
    stated = sites(found.model_traces[0]).values()
    observed = [site for site in stated if site["is_observed"] and data_frame(site, plate) is not None]
    return all(takes_bits(site["fn"].support) for site in observed)


def _are_bits(batch: Tensor) -> bool:
    return batch.ndim == 2 and bool(((batch == 0) | (batch == 1)).all())
