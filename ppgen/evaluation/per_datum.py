"""What a method of a likelihood finds for each datum."""

from typing import NamedTuple

import numpy as np


class PerDatum(NamedTuple):
    """Importance estimate of each datum of a block, arrays of shape (rows,).

    Attributes:
        log_likelihood: log of the mean weight, nats.
        se: Its standard error by the delta method, nats; NaN for one particle, and no more than 1 however far off.
        ess: Effective number of particles.
        pareto_k: Shape of the weights' tail, NaN where it is unknown; None if it was not asked for, or if there are
            fewer than 25 particles.
    """

    log_likelihood: np.ndarray
    se: np.ndarray
    ess: np.ndarray
    pareto_k: np.ndarray | None
