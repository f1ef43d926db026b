"""Bayes' rule with one density a class, the errors of both, and which evidence is typical of a class."""

from dataclasses import dataclass

import torch
from torch import Tensor

FEWEST = 10  # rows of a class from which its own mean is known


@dataclass(frozen=True)
class ClassEvidence:
    r"""What each part says of each row, and Bayes' rule, with the errors of both.

    .. math:: \log p(y \mid x) = \log \pi_y + \log p(x \mid y) - \log p(x), \qquad
              \mathrm{se}^2 = \sum_c (\delta_{yc} - p(c \mid x))^2 \, \mathrm{se}_c^2

    Attributes:
        log_likelihood: log p(x | y), nats: (rows, classes).
        se: Its standard error in each row, without that of log Z: (rows, classes).
        common_se: Standard error of each part's log Z, the same in all rows: (classes,).
        log_prior: log pi: (classes,).
    """

    log_likelihood: Tensor
    se: Tensor
    common_se: Tensor
    log_prior: Tensor

    @property
    def log_joint(self) -> Tensor:
        """log p(x, y), nats: (rows, classes)."""
        return self.log_likelihood + self.log_prior

    @property
    def log_marginal(self) -> Tensor:
        """log p(x), the classes summed out, nats: (rows,)."""
        return self.log_joint.logsumexp(-1)

    @property
    def log_posterior(self) -> Tensor:
        """log p(y | x), nats: (rows, classes)."""
        return self.log_joint.log_softmax(-1)

    @property
    def posterior_se(self) -> Tensor:
        """Standard error of log p(y | x), nats: (rows, classes)."""
        variance = self.se.square() + self.common_se.square()
        return (self._slopes.square() * variance.unsqueeze(-2)).sum(-1).sqrt()

    def of(self, place: Tensor) -> tuple[float, float]:
        """Mean log p(y | x) at the classes (rows,), and its standard error: errors of log Z do not average out."""
        rows = torch.arange(len(place))
        value = self.log_posterior[rows, place].mean()
        slopes = self._slopes[rows, place]
        own = (slopes * self.se).square().sum() / len(place) ** 2
        common = (slopes.mean(0) * self.common_se).square().sum()
        return float(value), float((own + common).sqrt())

    @property
    def _slopes(self) -> Tensor:
        """d log p(y | x) / d log p(x | c): (rows, y, c)."""
        return torch.eye(len(self.log_prior)).to(self.log_prior) - self.log_posterior.exp().unsqueeze(-2)


class TypicalEvidence:
    """Mean and covariance, in each class, of what parts and background say of rows that were held out.

    Args:
        held: Of rows that were held out.
        background: log p under the background model of the same rows, (rows,), or None.
    """

    def __init__(self, held: ClassEvidence, background: Tensor | None) -> None:
        self._divides = background is not None and bool((background < 0).all() & (held.log_likelihood < 0).all())
        seen, best = self._statistics(held, background), held.log_posterior.argmax(-1)
        size, classes = seen.shape[1], len(held.log_prior)
        self._scale = seen.std(0).clamp(min=1e-12) if len(seen) > 1 else torch.ones(size).to(seen)
        seen = seen / self._scale
        own = [seen[best == place] for place in range(classes)]
        means = [rows.mean(0) if len(rows) >= FEWEST else seen.mean(0) for rows in own]
        left = torch.cat([rows - mean for rows, mean in zip(own, means, strict=True)])
        tiny = 1e-6 * torch.eye(size).to(seen)
        pooled = left.mT @ left / len(left) + tiny
        self._means, covariances = torch.stack(means), []
        for rows in own:  # that of all classes weighs as much as so many rows as there are numbers in t
            centred = rows - rows.mean(0) if len(rows) else rows
            covariances.append((centred.mT @ centred + size * pooled) / (len(rows) + size))
        self._covariances = torch.stack(covariances)

    def distance(self, evidence: ClassEvidence, background: Tensor | None) -> Tensor:
        """Squared Mahalanobis distance to the most probable class, and the log-determinant: (rows,)."""
        best = evidence.log_posterior.argmax(-1)
        off = (self._statistics(evidence, background) / self._scale - self._means[best]).unsqueeze(-1)
        square = (off * torch.linalg.solve(self._covariances[best], off)).sum((-2, -1))
        return square + torch.logdet(self._covariances)[best]

    def _statistics(self, evidence: ClassEvidence, background: Tensor | None) -> Tensor:
        values = evidence.log_likelihood.nan_to_num(neginf=-1e6)
        if background is None:
            return values
        column = background.nan_to_num(neginf=-1e6).unsqueeze(-1)
        return torch.cat([values / column if self._divides else values - column, column], -1)
