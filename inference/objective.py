"""Objectives: which bound or divergence is climbed."""

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from ppgen.inference.layout import Layout
from ppgen.inference.log_weights import LogWeights
from ppgen.inference.pyro_loss import PyroLoss


@dataclass(frozen=True)
class Objective(PyroLoss):
    """A bound on the log-likelihood as a function of log-weights.

    An objective is a value: it holds no state and one can train many models. It is a loss for `pyro.infer.SVI` too.

    Args:
        num_particles: Draws of the guide for each datum.
        vectorize_particles: Whether they are drawn at once; else one by one, for programs that cannot broadcast.

    Raises:
        ValueError: If there is no particle.
    """

    num_particles: int = 1
    vectorize_particles: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.num_particles, int) or self.num_particles < 1:
            raise ValueError(f"num_particles must be an integer of at least 1, got {self.num_particles!r}.")

    @abstractmethod
    def value(self, weights: LogWeights, num_data: int) -> Tensor:
        """Bound per datum of the batch in nats, a scalar; its gradient is pathwise.

        Args:
            weights: Log-weights, of which `local` is (particles, rows).
            num_data: Rows of the whole data set; what lies outside the data plate counts once for all of them.
        """

    def check(self, layout: Layout, num_rows: int, num_data: int) -> None:
        """Raise ValueError if the objective is not sound for a pair of this structure; sound for any by default."""


@dataclass(frozen=True)
class MultiSampleObjective(Objective):
    """An objective that averages particles inside the logarithm."""

    def check(self, layout: Layout, num_rows: int, num_data: int) -> None:
        """Raise where a scale or a global latent would stand inside the logarithm."""
        name = type(self).__name__
        if layout.scaled:
            raise ValueError(
                f"Site {layout.scaled[0]!r} carries a scale of its own (poutine.scale or an inner subsampled plate). "
                f"Inside the logarithm of {name} it would give no bound: use ELBO, or take the scale away."
            )
        if layout.global_latents and num_rows != num_data:
            raise ValueError(
                f"Site {layout.global_latents[0]!r} lies outside plate {layout.plate!r}, so one particle's weight "
                f"covers the whole data set; {name} on a batch of {num_rows} of {num_data} rows is no bound. Use "
                "batch_size=len(data), or ELBO."
            )

    @staticmethod
    def datum_weights(weights: LogWeights) -> Tensor:
        """Log-weights between which particles compete: (particles, rows), or (particles, 1) with global latents."""
        if not weights.shared or weights.outside is None:
            return weights.local
        return (weights.local.sum(1) + weights.outside).unsqueeze(1)


def average_in_log(log_weights: Tensor) -> Tensor:
    """log of the mean over particles of exp: (particles, ...) -> (...,)."""
    return torch.logsumexp(log_weights, 0) - math.log(log_weights.shape[0])
