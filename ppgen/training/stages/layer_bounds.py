"""The variational bound of a stack of layers, as greedy training adds them."""

import math
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from torch import Tensor

from ppgen import inference, seeds
from ppgen.distributions.machines.base_rate_path import BaseRatePath
from ppgen.distributions.machines.enumeration import exact_log_partition
from ppgen.distributions.machines.layered_energy import LayeredEnergy
from ppgen.inference.annealing.annealing import anneal, make_betas
from ppgen.inference.annealing.effective_runs import ALL_ALIKE, FEW_RUNS, LONE, blind, few_runs
from ppgen.training.data.batch_source import fixed_subset
from ppgen.undisturbed import forked, keeping_modes

EXACT_STATES = 2**16  # of the smaller side, up to which log Z is summed: a second at 500 units on the other
_ROWS = 200  # rows weighed at once


@dataclass(frozen=True)
class LayerBound:
    """Variational bound of the model that the layers up to one make, in nats per datum.

    With one layer it is the log-likelihood of the machine.

    Attributes:
        layer: Number of hidden layers.
        train: Mean over the training rows, or 1,000 of them.
        valid: Mean over the validation rows, or 1,000 of them; None if there are none.
        log_partition: log Z of the machine at the top.
        se: Standard error of `train` from the draws of the guide and from log Z; the rows are given. NaN where the
            annealing runs cannot tell it.
        method: How log Z was found. By annealing it errs low, so that the bound errs high; where a few of its runs
            carry it, or all have one weight, that is said here.
    """

    layer: int
    train: float
    valid: float | None
    log_partition: float
    se: float
    method: str

    def __repr__(self) -> str:
        valid = "" if self.valid is None else f", validation {self.valid:.4f}"
        return (
            f"LayerBound({self.layer} hidden layer{'s' if self.layer > 1 else ''}: training {self.train:.4f} "
            f"± {self.se:.2g}{valid} nats per datum; log Z {self.log_partition:.4f}, {self.method})"
        )


def layer_bound(
    pair: Any, dataset: Any, layer: int, *, num_particles: int, num_chains: int, betas: Any, seed: int
) -> LayerBound:
    """Bound of a stack of layers on data.

    Args:
        pair: The model that they make, with one machine, at its top.
        dataset: The data below all layers.
        layer: Number of hidden layers.
        num_particles: Draws of the guide for each row.
        num_chains: Annealing runs of log Z, where it is not enumerated.
        betas: Their ladder.
        seed: Seed of all draws.
    """
    energy = pair.machine().base_energy
    with torch.no_grad(), keeping_modes(pair), forked(pair.device, seeds.derive(seed, "bound", layer)):
        pair.eval()
        log_z, error, method = _log_partition(energy, pair.data_mean, num_chains, betas)
        train, variance = _mean(pair, dataset.train, log_z, num_particles)
        valid = _mean(pair, dataset.valid, log_z, num_particles)[0] if len(dataset.valid) else None
    return LayerBound(layer, train, valid, log_z, math.sqrt(variance + error**2), method)


def _log_partition(energy: LayeredEnergy, mean: Tensor, num_chains: int, betas: Any) -> tuple[float, float, str]:
    """log Z, its standard error, and how it was found."""
    if energy.num_states(energy.smaller_side) <= EXACT_STATES:
        return float(exact_log_partition(energy, EXACT_STATES)), 0.0, "enumerated"
    ladder = make_betas(betas)
    device = energy.parameters()[0].device
    generator = torch.Generator(device=device).manual_seed(int(torch.randint(2**62, ())))
    path = BaseRatePath(energy, mean if mean.isfinite().all() else None)
    runs = anneal(path, ladder, num_chains, generator)
    weights = (runs.log_weights - runs.log_weights.max()).exp()
    value = runs.log_base_partition + runs.log_weights.max() + weights.mean().log()
    ess = float(weights.sum().square() / weights.square().sum())
    method = f"AIS ({num_chains} chains x {len(ladder) - 1} betas)"
    if blind(runs.log_weights, path):
        return float(value), math.nan, f"{method}: {ALL_ALIKE}"
    if few_runs(ess, num_chains):
        method = f"{method}: {FEW_RUNS.format(ess=ess, num_chains=num_chains)}"
    error = weights.std() / weights.mean() / math.sqrt(num_chains) if ess >= LONE else math.nan
    return float(value), float(error), method


def _mean(pair: Any, rows: Any, log_z: float, num_particles: int) -> tuple[float, float]:
    """Mean log-weight over rows, or 1,000 of them, and its variance from the draws."""
    chosen = torch.arange(len(rows)) if len(rows) <= 1000 else fixed_subset(len(rows), 1000, "bound")
    means, variances = [], []
    with inference.attach(log_partition=log_z), pyro.validation_enabled(False):
        for index in chosen.split(_ROWS):
            batch = rows[index].to(next(pair.parameters()))
            local = inference.log_weights(pair, batch, num_particles).local.double()
            means.append(local.mean(0))
            variances.append(local.var(0) / num_particles)
    mean, variance = torch.cat(means), torch.cat(variances)
    return float(mean.mean()), float(variance.sum()) / len(mean) ** 2
