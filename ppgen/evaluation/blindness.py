"""Whether annealing runs whose weights are all the same have seen one state only."""

import numpy as np
import torch
from torch import Tensor

from ppgen.distributions.machines.base_rate_path import BaseRatePath
from ppgen.distributions.machines.samplers import dispersed_draw
from ppgen.evaluation.per_datum import PerDatum

SAME_WEIGHT = 1e-9  # nats; what the weights of runs that went through the same states differ by
ALL_ALIKE = (
    "all annealing runs have one and the same weight: none has left the states that it began in, so that modes "
    "elsewhere are in none of them and the error is unknown"
)
FROM_BOTH = "; anneal from both sides (evaluation.log_partition(pair, method='sandwich'))"
_DRAWS = 32


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


def unless_blind(found: PerDatum, log_weights: Tensor, path: BaseRatePath) -> PerDatum:
    """The estimates of some data, their error unknown (NaN) where all annealing runs of a datum have one weight.

    Args:
        found: Estimates of the data.
        log_weights: Of the runs of each, (chains, rows) or flat, nats.
        path: The path that they went along, one for all or one for each datum.
    """
    same = alike(log_weights.reshape(-1, len(found.se)))
    if not same.any():
        return found
    return found._replace(se=np.where((same & varies(path)).cpu().numpy(), np.nan, found.se))


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
