"""Weights of particles that are one draw for the whole data set."""

import math
from typing import NamedTuple

import numpy as np
import pyro
import torch
from torch import Tensor

from ppgen import inference
from ppgen.evaluation.effective import CONSTANT_RANGE, FEW, LONE, MANY_PARTICLES
from ppgen.evaluation.estimate import PARETO_K_LIMIT, Estimate
from ppgen.evaluation.evidence.all_data import AllData
from ppgen.evaluation.likelihood.importance import summarise
from ppgen.evaluation.likelihood.method import Advance
from ppgen.inference.particles.broadcasting import vectorized
from ppgen.inference.particles.log_weights import LogWeights
from ppgen.pair import AnyPair


class JointWeights(NamedTuple):
    """What the joint log-weights of K particles tell.

    Attributes:
        log_weights: log p(x, z) - log q(z), nats: (K,), float64.
        log_evidence: Logarithm of their mean weight, nats.
        se: Its standard error by the delta method, nats; NaN where one weight outweighs all others together.
        elbo: Mean of the log-weights, nats.
        elbo_se: Its standard error, nats.
        ess: Effective number of particles.
        pareto_k: Shape of the weights' tail; NaN where there are too few to tell.
    """

    log_weights: np.ndarray
    log_evidence: float
    se: float
    elbo: float
    elbo_se: float
    ess: float
    pareto_k: float

    @property
    def warning(self) -> str | None:
        """What is doubtful about them, in words, or None."""
        told = []
        if self.pareto_k > PARETO_K_LIMIT:
            told.append(
                f"Pareto k of the joint weights is {self.pareto_k:.2f}, above {PARETO_K_LIMIT}: the guide is too "
                "narrow or too far off, and the value errs low by more than the error bar says; use a better guide, "
                "as more particles help little"
            )
        if not self.ess >= FEW and not self.se <= CONSTANT_RANGE:
            unknown = " (below 2: the error is unknown)" if np.isnan(self.se) else ""
            many = len(self.log_weights) >= MANY_PARTICLES
            told.append(
                f"the effective number of particles is {self.ess:.1f}{unknown}, so that a few draws carry the estimate "
                "and the value errs low; "
                + (
                    "use a better guide, as more particles help little"
                    if many
                    else "use more particles or a better guide"
                )
            )
        return "; ".join(told) or None

    def estimate(
        self, method: str, num_data: int | None, warning: str | None, pareto_k: float | None = None
    ) -> Estimate:
        """The log-evidence in nats, a lower bound for few particles, with its error and what is doubtful about it.

        Args:
            method: How the weights were made, in words.
            num_data: Rows of the data set.
            warning: What is doubtful, or None.
            pareto_k: Shape of the weights' tail, where it says something.
        """
        return Estimate(
            self.log_evidence,
            self.se,
            "lower bound",
            method,
            unit="nats",
            ess=self.ess,
            num_draws=len(self.log_weights),
            num_data=num_data,
            bias=-(self.se**2) / 2,
            joint_pareto_k=pareto_k,
            warning=warning,
        )


@torch.no_grad()
def joint_weights(
    pair: AnyPair,
    found: AllData,
    num_particles: int,
    chunk: int,
    *,
    vectorize: bool = True,
    advance: Advance = None,
) -> JointWeights:
    """Draw particles of all latents, and sum each one's log-weight over the whole data set.

    At most `chunk` particles x rows run at once, at least one particle of all rows. Sums over rows are in float64.

    Args:
        pair: A pair in evaluation mode, seeded.
        found: The data.
        num_particles: Particles.
        chunk: Particles times rows that run at once.
        vectorize: False for programs that cannot broadcast over particles.
        advance: Called with the number of particles done.

    Raises:
        ValueError: If a log-weight is NaN.
    """
    vectorize = vectorized(pair, found.batch, found.layout, vectorize)
    most = max(1, min(chunk // found.num_rows, num_particles))
    kept = torch.empty(num_particles, dtype=torch.float64)
    # The data were held against their support before.
    with pyro.validation_enabled(False):
        for first in range(0, num_particles, most):
            count = min(most, num_particles - first)
            weights = inference.log_weights(pair, found.batch, count, vectorize=vectorize, layout=found.layout)
            kept[first : first + count] = joint_log_weight(weights).cpu()
            if advance is not None:
                advance(first + count)
    if kept.isnan().any():
        raise ValueError("A joint log-weight is NaN: the parameters or the densities of the pair are not finite.")
    return summary(kept)


def joint_log_weight(weights: LogWeights) -> Tensor:
    """Log-weight of each particle for all rows together, nats: (particles,), float64."""
    local = weights.local.double().sum(1)
    return local if weights.outside is None else local + weights.outside.double()


def summary(log_weights: Tensor, *, pareto: bool = True) -> JointWeights:
    """What joint log-weights, (particles,), tell; the tail is unknown, NaN, if it is not asked for.

    Example:
        >>> found = summary(torch.tensor([-1.0, -1.0, -1.0]).double())
        >>> found.log_evidence, found.se, found.elbo, found.ess
        (-1.0, 0.0, -1.0, 3.0)
    """
    found = summarise(log_weights.unsqueeze(1), pareto=pareto)
    mean, se, ess, k = (math.nan if each is None else float(each[0]) for each in found)
    constant = float(log_weights.max() - log_weights.min()) <= CONSTANT_RANGE
    lone = not ess >= LONE and not constant
    count = len(log_weights)
    spread = float(log_weights.std() / count**0.5) if count > 1 else math.nan
    return JointWeights(
        log_weights.numpy(),
        mean,
        math.nan if lone else se,
        float(log_weights.mean()),
        spread,
        ess,
        k,
    )
