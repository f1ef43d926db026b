"""The importance-weighted bound."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ppgen.inference.objectives.objective import MultiSampleObjective, average_in_log


@dataclass(frozen=True)
class IWELBO(MultiSampleObjective):
    r"""Importance-weighted evidence lower bound of K particles, datum by datum.

    .. math:: \mathcal{L}_K = E\Big[\log \frac{1}{K} \sum_{k=1}^K \frac{p(x, z_k)}{q(z_k \mid x)}\Big] \le \log p(x)

    The value is per datum, in nats; it grows with K towards log p(x).

    References:
        | Importance Weighted Autoencoders (Burda, Grosse and Salakhutdinov, 2016)
        | https://arxiv.org/abs/1509.00519

    Args:
        num_particles: Draws K of the guide for each datum.
        vectorize_particles: Whether they are drawn at once.

    Raises:
        ValueError: If there is no particle; before training, if a site carries a scale of its own, or if the pair has
            global latents and the batch is not the whole data set.

    Example:
        >>> from ppgen import inference
        >>> inference.IWELBO().num_particles
        50
    """

    weight_shares: ClassVar[bool] = True

    num_particles: int = 50

    def average(self, log_weights: Tensor) -> Tensor:
        """Bound of each row, the log of the mean weight, in nats: (particles, rows) -> (rows,)."""
        return average_in_log(log_weights)
