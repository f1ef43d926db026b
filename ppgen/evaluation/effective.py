"""How many effective draws an estimate from weights needs before its error means something."""

import numpy as np

from ppgen.inference.annealing.effective_runs import FEW, LONE

SHARE = 0.1  # share of the data from which what is doubtful of them is doubtful of their mean
CONSTANT_RANGE = 1e-3  # nats; log-weights closer than this differ by rounding, and have neither error nor tail
MANY_PARTICLES = 1000  # of so many a good guide makes more than ten effective ones
_LARGEST_SE = 1.0  # nats; what the delta method says of a datum whose estimate is one draw


def delta_error(ess: np.ndarray, num_draws: int) -> np.ndarray:
    """Standard error of the logarithm of a mean weight by the delta method, in nats: at most one.

    Example:
        >>> delta_error(np.array([1.0, 5.0]), 5)
        array([1., 0.])
    """
    return np.sqrt(np.maximum(num_draws / ess - 1, 0.0) / (num_draws - 1))


def error_of_mean(se: np.ndarray) -> float:
    """Standard error of the mean over data from those of the data, which are independent, in nats.

    NaN where the errors of more than a tenth of the data are unknown; up to that share these count with a nat each, the
    most that the delta method gives.

    Example:
        >>> error_of_mean(np.array([0.3, 0.4])), error_of_mean(np.array([0.3, np.nan]))
        (0.25, nan)
    """
    return float(np.sqrt(np.square(filled(se, float(np.isnan(se).mean()))).sum()) / len(se))


def bias_of_mean(se: np.ndarray) -> float:
    """First-order bias of the mean over data of logarithms of means, -se^2 / 2, in nats; NaN as for the error."""
    return -float(np.square(filled(se, float(np.isnan(se).mean()))).mean()) / 2


def few_particles(ess: np.ndarray, se: np.ndarray, num_particles: int) -> str | None:
    """What to say where more than a tenth of the data have fewer than ten effective particles.

    Weights that are all alike, those of an exact posterior, need no second particle.

    Args:
        ess: Effective particles of each datum.
        se: Standard error of each datum, nats; NaN where it is unknown.
        num_particles: Particles of each datum.
    """
    share = float((~(ess >= FEW) & ~(se <= CONSTANT_RANGE)).mean())
    if share <= SHARE:
        return None
    unknown = float(np.isnan(se).mean())
    of_these = f" (below {LONE:.0f} for {unknown:.0%}, whose errors are unknown)" if unknown else ""
    many = num_particles >= MANY_PARTICLES
    return (
        f"the effective number of particles is below {FEW:.0f} for {share:.0%} of rows{of_these}, so that a few draws "
        "carry their estimates and the value errs low; "
        + ("use a better guide, as more particles help little" if many else "use more particles or a better guide")
    )


def filled(se: np.ndarray, unknown: float) -> np.ndarray:
    """Errors with a nat in the place of the unknown ones, unless they are of more than a tenth of the data.

    Args:
        se: Standard errors, nats.
        unknown: Fraction of the data whose errors are NaN.
    """
    return se if unknown > SHARE else np.where(np.isnan(se), _LARGEST_SE, se)
