"""The chi-square upper bound."""

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from ppgen.inference.objectives.objective import MultiSampleObjective, average_in_log
from ppgen.inference.objectives.own_gradient import OwnGradient, guide_density, outside_density
from ppgen.inference.particles.log_weights import LogWeights
from ppgen.inference.structure.layout import Layout


@dataclass(frozen=True)
class CUBO(OwnGradient, MultiSampleObjective):
    r"""Chi-square upper bound of order n, datum by datum: fits a guide that covers the posterior.

    .. math:: \mathrm{CUBO}_n = \frac{1}{n} \log E_{q(z \mid x)}[w^n] \ge \log p(x),
              \quad w = \frac{p(x, z)}{q(z \mid x)}

    Training descends E[w^n], whose estimate by K draws is unbiased, and not its logarithm. The weights of a datum are
    divided by the largest of them, and the others are a particle's baseline:

    .. math:: -(n - 1) \frac{1}{K} \sum_k \Big(v_k - \frac{1}{K - 1} \sum_{j \ne k} v_j\Big)
              \nabla_\phi \log q(z_k \mid x), \quad v_k = \Big(\frac{w_k}{\max_j w_j}\Big)^n

    It works at sites of every kind and is zero, draw by draw, where the guide is the exact posterior. Dividing by the
    largest weight biases it where the guide cannot be: with few particles the guide is less wide. It moves the guide
    alone: a model that makes an upper bound less makes its data less likely. Train the model by another objective.

    The value per datum, in nats, is an estimate and no bound: the logarithm of the mean of few weights lies below that
    of their expectation. It does not tell which epoch is the best; `ppgen.evaluation.log_likelihood` does.

    References:
        | Variational Inference via chi Upper Bound Minimization (Dieng, Tran, Ranganath, Paisley and Blei, 2017)
        | https://arxiv.org/abs/1611.00328

    Args:
        num_particles: Draws K of the guide for each datum, 2 or more.
        vectorize_particles: Whether they are drawn at once.
        n: Order of the bound, more than 1.

    Raises:
        ValueError: If there are not two particles, or n is not a finite number above 1; before training, as `IWELBO`,
            and if a site is undirected.

    Example:
        >>> from ppgen import inference
        >>> inference.CUBO(num_particles=10).n
        2
    """

    sense: ClassVar[str] = "upper bound"
    trains_model: ClassVar[bool] = False

    num_particles: int = 10
    n: float = field(default=2, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_particles < 2:
            raise ValueError(
                f"num_particles must be at least 2: a weight is compared with the others, got {self.num_particles}."
            )
        if isinstance(self.n, bool) or not isinstance(self.n, (int, float)) or not 1 < self.n < math.inf:
            raise ValueError(f"n must be a finite number above 1, got {self.n!r}.")

    @property
    def value_kind(self) -> str:
        """An estimate, which errs both ways."""
        return "estimate"

    @property
    def power(self) -> float:
        """Exponent of the weights in the average, n."""
        return self.n

    def average(self, log_weights: Tensor) -> Tensor:
        """Log of the power mean of the weights."""
        return average_in_log(self.n * log_weights) / self.n

    def surrogate(self, weights: LogWeights, pair: Any, batch: Any, layout: Layout) -> Tensor:
        """Minus E[w^n], through log q of the particles."""
        columns = self.datum_weights(weights)
        powers = (self.n * (columns.detach() - columns.detach().amax(0))).exp()
        others = (powers.sum(0) - powers) / (len(powers) - 1)
        density = guide_density(weights, columns)
        if weights.shared:
            density = density + outside_density(weights).unsqueeze(1)
        return (self.n - 1) * ((powers - others) * density).mean(0).sum() / weights.local.shape[1]
