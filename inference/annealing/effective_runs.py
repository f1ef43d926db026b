"""When a few of the annealing runs carry an estimate, or all of them are blind to what they did not meet."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppgen.distributions.machines.base_rate_path import BaseRatePath
from ppgen.distributions.machines.samplers import dispersed_draw

FEW = 10.0  # effective draws below which a few carry an estimate
LONE = 2.0  # below it one draw does, and the spread of the weights tells nothing of those that were not seen
LOW_ESS = 0.1  # share of annealing runs below which a few carry the whole estimate
SAME_WEIGHT = 1e-9  # nats; what the weights of runs that went through the same states differ by
FEW_RUNS = (
    "the effective number of annealing runs is {ess:.1f} of {num_chains}, so a few carry the estimate and its error is "
    "not to be trusted; use more betas"
)
ALL_ALIKE = (
    "all annealing runs have one and the same weight: none has left the states that it began in, so that modes "
    "elsewhere are in none of them and the error is unknown"
)
_DRAWS = 32


def few_runs(ess: Any, num_chains: int) -> Any:
    """Whether a few of the annealing runs carry an estimate, of an effective number or of each of an array.

    Fewer than a tenth of them, and fewer than ten where that is not half of all. The weights of annealing have lighter
    tails than those of a guide, so that eight good ones of sixteen will do.
    """
    return np.logical_not(ess >= max(LOW_ESS * num_chains, min(FEW, num_chains / 2)))


def alike(log_weights: Tensor) -> Tensor:
    """Whether the log-weights of several runs, (chains, ...), are one and the same: (...,)."""
    if len(log_weights) < 2:
        return torch.zeros(log_weights.shape[1:], dtype=torch.bool, device=log_weights.device)
    return log_weights.amax(0) - log_weights.amin(0) <= SAME_WEIGHT


def blind(log_weights: Tensor, path: BaseRatePath) -> bool:
    """Whether some runs have one and the same weight though a weight depends on where a run goes.

    Where it does not, because no unit is coupled or all of a side are held at values, annealing is exact.

    Args:
        log_weights: Of the runs, (chains, ...), nats.
        path: The path that they went along.
    """
    return bool(alike(log_weights).any()) and bool(varies(path).any())


@torch.no_grad()
def varies(path: BaseRatePath) -> Tensor:
    """Whether the machine differs from its base model by more than a constant, at draws from a wide law; or each does.

    Of the energy's batch shape.
    """
    energy = path.energy.to(torch.float64)
    device = energy.parameters()[0].device
    exact = BaseRatePath(energy, None if path.mean is None else path.mean.double())
    generator = torch.Generator(device=device).manual_seed(0)
    values = dispersed_draw(energy, (_DRAWS, *energy.batch_shape), generator)
    difference = exact.log_density(values, 1.0) - exact.log_density(values, 0.0)
    return difference.amax(0) - difference.amin(0) > SAME_WEIGHT
