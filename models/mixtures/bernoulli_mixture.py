"""Mixture of products of Bernoulli laws."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, one_hot

from ppgen.models.mixtures.components import BernoulliComponent
from ppgen.models.mixtures.mixture_model import MixtureModel, smallest_count
from ppgen.models.mixtures.starts import kmeans, random_rows, some_rows
from ppgen.models.parts.arguments import number_from_zero
from ppgen.models.parts.penalty import state_density


class BernoulliMixture(MixtureModel):
    r"""Mixture of products of Bernoulli laws: each datum is from one component, whose bits are independent.

    .. math:: p(x) = \sum_k \pi_k \prod_j p_{kj}^{x_j} (1 - p_{kj})^{1 - x_j}

    Its likelihood is known, and by default it is trained by EM. Each component has seen `pseudo_count` rows at the mean
    of the training data before it sees any: a Beta prior of each p, so that EM and gradients find its maximum a
    posteriori, and a pixel that is never on in a component is not impossible.

    .. math:: p_{kj} = \frac{\sum_n r_{nk} x_{nj} + c \, m_j}{\sum_n r_{nk} + c}, \qquad r_{nk} = q(z = k \mid x_n)

    The prior is a factor `prior` outside of the plate: it counts once for all data in the value of training, and no
    log p(x) has a part of it. Components that no row is from any more keep the mean m and no weight; `weights` says
    which. Sites: `z`, the component, and `x`, shape (features,), bits, in the plate `data`.

    References:
        | Maximum Likelihood from Incomplete Data via the EM Algorithm (Dempster, Laird and Rubin, 1977)
        | Pattern Recognition and Machine Learning (Bishop, 2006)

    Args:
        features: Observed variables.
        components: Components.
        pseudo_count: Rows c, above 0, that each component has seen at the mean.
        start: Where components start at the first fit: at `"rows"` of the training data chosen at random, halfway to
            the mean; or at their `"kmeans"` clusters.

    Raises:
        ValueError: If a size or the count is not positive; at the first fit, if there are more components than
            different training rows.

    Example:
        >>> import ppgen
        >>> from ppgen import datasets, evaluation, models
        >>> bits = datasets.load("digits", binarize="threshold")
        >>> mixture = models.BernoulliMixture(features=64, components=20)
        >>> run = ppgen.fit(mixture, bits, "em", epochs=5, progress=False)
        >>> found = evaluation.log_likelihood(mixture, bits.test)
        >>> found.kind, float(found) > -25, mixture.probabilities.shape
        ('exact', True, torch.Size([20, 64]))
    """

    def __init__(
        self,
        features: int,
        components: int,
        pseudo_count: float = 1.0,
        start: Literal["rows", "kmeans"] = "rows",
    ) -> None:
        super().__init__(features, components, start)
        self.pseudo_count = number_from_zero("pseudo_count", pseudo_count)
        if not self.pseudo_count:
            raise ValueError(f"pseudo_count must be above 0, got {pseudo_count!r}: with 0 a bit may be impossible.")
        self.logits = nn.Parameter(0.1 * torch.randn(self.components, self.features))
        self.mean: Tensor
        self.register_buffer("mean", torch.full((self.features,), 0.5))

    @property
    def probabilities(self) -> Tensor:
        """p, the probability of each bit in each component: (components, features)."""
        return torch.sigmoid(self.logits.detach())

    def component(self, index: Tensor) -> BernoulliComponent:
        """The law of data given their components (..., rows)."""
        return BernoulliComponent(index, self.logits)

    def state_prior(self) -> None:
        """The Beta priors of the probabilities, up to a constant."""
        on, off = logsigmoid(self.logits), logsigmoid(-self.logits)
        state_density("prior", self.pseudo_count * (self.mean * on + (1 - self.mean) * off).sum())

    def start_from(self, data: Any) -> None:
        """Note the mean of the training rows, and start components at rows or clusters, each with its pseudo-count."""
        count = data.num_train
        self.mean.copy_((count * data.mean.to(self.mean) + 0.5) / (count + 1))  # never 0, never 1
        if self.start == "rows":
            x = random_rows(data, self.components).to(self.mean)
            shares = torch.eye(self.components).to(x)
        else:
            x = some_rows(data).to(self.mean)
            shares = one_hot(kmeans(x, self.components)[1], self.components).to(x)
        self.set_from(self.sums(shares, x))

    def sums(self, shares: Tensor, x: Tensor) -> dict[str, Tensor]:
        """Expected rows of each component, and how often its bits are on."""
        return {"count": shares.sum(0), "on": shares.mT @ x}

    def maximise(self, statistics: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights and log-odds of the highest posterior density."""
        count, on = statistics["count"], statistics["on"]
        off = (count.unsqueeze(-1) - on).clamp(min=0)  # rounding
        logits = (on + self.pseudo_count * self.mean).log() - (off + self.pseudo_count * (1 - self.mean)).log()
        return {"weight_logits": smallest_count(count).log().log_softmax(-1), "logits": logits}
