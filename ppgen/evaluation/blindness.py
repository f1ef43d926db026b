"""What is said of data whose annealing runs have all the same weight and have seen one state only."""

import numpy as np
from torch import Tensor

from ppgen.distributions.machines.base_rate_path import BaseRatePath
from ppgen.evaluation.per_datum import PerDatum
from ppgen.inference.annealing.effective_runs import alike, varies

FROM_BOTH = "; anneal from both sides (evaluation.log_partition(pair, method='sandwich'))"


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
