"""Laws of a datum given the component that it is from, which answer for all components at once."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import softplus

from ppgen.checks.shapes import broadcast_shapes

BLOCK = 2**18  # numbers that one product makes at a time, which caches hold
FEWEST_ROWS = 256


class Component(TorchDistribution):
    """Law of a vector given the number of its component; where all are asked for, one product serves them.

    Args:
        index: Component, whole numbers, (..., rows).
        features: Variables of a datum.
    """

    arg_constraints: dict[str, Any] = {}
    has_rsample = False

    def __init__(self, index: Tensor, features: int) -> None:
        self.index = index
        super().__init__(index.shape, torch.Size((features,)), validate_args=False)

    @abstractmethod
    def log_densities(self, value: Tensor) -> Tensor:
        """Log-densities of data under each component, nats: (..., features) -> (..., components)."""

    @abstractmethod
    def _at(self, index: Tensor) -> "Component":
        """This law of other components."""

    @abstractmethod
    def _draw(self, shape: torch.Size) -> Tensor: ...

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> "Component":
        """This law for rows of a larger batch shape: (...) -> batch_shape."""
        return self._at(self.index.expand(torch.Size(batch_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density given the component, nats: (..., features) -> (...)."""
        rows = value.shape[:-1]
        shape = broadcast_shapes(self.index.shape, rows)
        index = self.index.expand(shape).reshape(-1, *rows).movedim(0, -1)  # states of one datum beside each other
        return self.log_densities(value).gather(-1, index).movedim(-1, 0).reshape(shape)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draws: (*sample_shape, ..., features)."""
        return self._draw(torch.Size(sample_shape) + self.batch_shape + self.event_shape)


class BernoulliComponent(Component):
    """Independent bits.

    Args:
        index: Component, (..., rows).
        logits: Log-odds of each bit, (components, features).
    """

    support = constraints.independent(constraints.boolean, 1)

    def __init__(self, index: Tensor, logits: Tensor) -> None:
        self.logits = logits
        super().__init__(index, logits.shape[-1])

    def _at(self, index: Tensor) -> "BernoulliComponent":
        return BernoulliComponent(index, self.logits)

    def log_densities(self, value: Tensor) -> Tensor:
        return value @ self.logits.mT - softplus(self.logits).sum(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density given the component, nats: (..., features) -> (...)."""
        if self.index.shape != value.shape[:-1]:
            return super().log_prob(value)
        logits = self.logits[self.index]  # of one draw a datum nobody asks for the others
        return (value * logits - softplus(logits)).sum(-1)

    def _draw(self, shape: torch.Size) -> Tensor:
        return torch.bernoulli(torch.sigmoid(self.logits[self.index]).expand(shape))

    @property
    def mean(self) -> Tensor:
        """Probabilities of the bits: (..., features)."""
        return torch.sigmoid(self.logits[self.index])


class GaussianComponent(Component):
    r"""Normal vectors.

    .. math:: \log N(x; \mu_k, \Sigma_k) = \log |W_k| - \tfrac{1}{2} \|W_k (x - \mu_k)\|^2 - \tfrac{D}{2} \log 2 \pi,
              \qquad W_k^\top W_k = \Sigma_k^{-1}

    Args:
        index: Component, (..., rows).
        means: mu, (components, features).
        whitening: W: lower triangular matrices (components or 1, features, features), or the diagonals of such,
            (components or 1, features or 1).
    """

    support = constraints.real_vector

    def __init__(self, index: Tensor, means: Tensor, whitening: Tensor) -> None:
        self.means, self.whitening = means, whitening
        super().__init__(index, means.shape[-1])

    def _at(self, index: Tensor) -> "GaussianComponent":
        return GaussianComponent(index, self.means, self.whitening)

    def log_densities(self, value: Tensor) -> Tensor:
        components, features = self.means.shape
        if self.whitening.dim() == 3:
            log_volume = self.whitening.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        else:
            log_volume = self.whitening.expand(-1, features).log().sum(-1)
        x = value.reshape(-1, features)
        squares = self._squares(x).reshape(*value.shape[:-1], components)
        half_log = 0.5 * features * math.log(2 * math.pi)
        return log_volume - half_log - 0.5 * squares

    def _squares(self, x: Tensor) -> Tensor:
        """Squared Mahalanobis distances: (rows, features) -> (rows, components)."""
        components, features = self.means.shape
        if self.whitening.dim() == 2 or len(self.whitening) == 1:  # a straight line to each mean
            if self.whitening.dim() == 3:
                x, means = x @ self.whitening[0].mT, self.means @ self.whitening[0].mT
            elif len(self.whitening) == 1:
                x, means = x * self.whitening, self.means * self.whitening
            else:
                return self._scaled_squares(x)
            found: Tensor = torch.cdist(x, means, compute_mode="donot_use_mm_for_euclid_dist").square()
            return found
        shift = -(self.whitening @ self.means.unsqueeze(-1)).reshape(-1)
        joined = self.whitening.reshape(-1, features).mT
        parts = []
        for some in x.split(rows_at_once(components * features)):
            white = torch.addmm(shift, some, joined).reshape(-1, components, features)
            parts.append((white * white).sum(-1))
        return torch.cat(parts)

    def _scaled_squares(self, x: Tensor) -> Tensor:
        features = self.means.shape[1]
        precision = self.whitening.square().expand(-1, features)
        means = self.means
        return x.square() @ precision.mT - 2 * x @ (means * precision).mT + (means.square() * precision).sum(-1)

    def _draw(self, shape: torch.Size) -> Tensor:
        noise = torch.randn(shape, dtype=self.means.dtype, device=self.means.device)
        return self.means[self.index] + self._unwhitened(noise)

    def _unwhitened(self, noise: Tensor) -> Tensor:
        whitening = self.whitening if len(self.whitening) > 1 else self.whitening.expand(len(self.means), *self._own)
        if whitening.dim() == 2:
            return noise / whitening[self.index]
        inverse = torch.linalg.solve_triangular(whitening, self._eye, upper=False)
        return (inverse[self.index] @ noise.unsqueeze(-1)).squeeze(-1)

    @property
    def _own(self) -> torch.Size:
        return self.whitening.shape[1:]

    @property
    def _eye(self) -> Tensor:
        return torch.eye(self.means.shape[1], dtype=self.means.dtype, device=self.means.device)

    @property
    def mean(self) -> Tensor:
        """Means of the components: (..., features)."""
        return self.means[self.index]


def rows_at_once(size: int) -> int:
    """Rows that are looked at together where each makes so many numbers."""
    return max(FEWEST_ROWS, BLOCK // size)


def responsibilities(weight_logits: Tensor, law: Component, x: Tensor) -> dist.Categorical:
    """Exact posterior of the component that each row of data is from."""
    return dist.Categorical(logits=weight_logits.log_softmax(-1) + law.log_densities(x))
