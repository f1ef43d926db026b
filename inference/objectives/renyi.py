"""The variational Renyi bound."""

import math
from dataclasses import dataclass, field

from torch import Tensor

from ppgen.inference.objectives.objective import MultiSampleObjective, average_in_log
from ppgen.inference.structure.layout import Layout


@dataclass(frozen=True)
class Renyi(MultiSampleObjective):
    r"""Variational Renyi bound of K particles, datum by datum.

    .. math:: \mathcal{L}_\alpha = \frac{1}{1 - \alpha} \log E_{q}[w^{1 - \alpha}]
              \approx \frac{1}{1 - \alpha} \log \frac{1}{K} \sum_k w_k^{1 - \alpha},
              \quad w = \frac{p(x, z)}{q(z \mid x)}

    The value is per datum, in nats. alpha = 0 is the importance-weighted bound, alpha towards 1 the ELBO. For
    alpha < 0 the exact bound lies above log p(x) and its estimate by K particles errs both ways: a value to look at,
    and nothing to train by. Raised, it drives the guide away from the posterior, the further the more particles there
    are; lowered, it has no minimum, as a guide that misses the posterior draws small weights alone. `CUBO` descends
    the bound of alpha = 1 - n without the logarithm, and is sound.

    References:
        | Renyi Divergence Variational Inference (Li and Turner, 2016), https://arxiv.org/abs/1602.02311

    Args:
        num_particles: Draws K of the guide for each datum.
        vectorize_particles: Whether they are drawn at once.
        alpha: Order of the divergence, not 1.

    Raises:
        ValueError: If there is no particle or alpha is 1; before training as for `IWELBO`, and if alpha is below 0.

    Example:
        >>> from ppgen import inference
        >>> inference.Renyi(alpha=0.5, num_particles=10).alpha
        0.5
    """

    num_particles: int = 50
    alpha: float = field(default=0.5, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.alpha, bool) or not isinstance(self.alpha, (int, float)) or not math.isfinite(self.alpha):
            raise ValueError(f"alpha must be a finite number, got {self.alpha!r}.")
        if self.alpha == 1:
            raise ValueError("alpha must not be 1, where the bound is the ELBO: use inference.ELBO().")

    @property
    def sense(self) -> str:  # type: ignore[override]
        """A lower bound for alpha of at least 0; below, the estimate of an upper one, which errs both ways."""
        return "estimate" if self.alpha < 0 else "lower bound"

    def check(self, layout: Layout, num_rows: int, num_data: int) -> None:
        """Raise for an upper bound too, whose estimate is sound neither to raise nor to lower."""
        super().check(layout, num_rows, num_data)
        if self.alpha < 0:
            raise ValueError(
                f"Renyi(alpha={self.alpha:g}) is an upper bound of log p(x) whose estimate by {self.num_particles} "
                "particles errs both ways: raised, it drives the guide away from the posterior; lowered, it has no "
                f"minimum. Fit the guide by CUBO(n={1 - self.alpha:g}), the same bound descended without bias, and the "
                "model by a lower bound, such as IWELBO or an alpha in [0, 1)."
            )

    @property
    def power(self) -> float:
        """Exponent of the weights in the average, 1 - alpha."""
        return 1 - self.alpha

    def average(self, log_weights: Tensor) -> Tensor:
        """Bound of each row, the log of the power mean of the weights, in nats: (particles, rows) -> (rows,)."""
        return average_in_log(self.power * log_weights) / self.power
