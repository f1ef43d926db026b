"""Vectors of a codebook, one at each position, under a law of their numbers in the book."""

from dataclasses import dataclass
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Size, Tensor
from torch.distributions import constraints

from ppgen.distributions import CategoricalOutput


@dataclass(frozen=True)
class CodeOutput(CategoricalOutput):
    """Number of a code, which networks see as it is: a name, and no level.

    Args:
        levels: Codes of the codebook.

    Example:
        >>> CodeOutput(8).code(torch.tensor(5.0))
        tensor(5.)
    """

    def code(self, value: Tensor) -> Tensor:
        """The value itself."""
        return value


class CodebookLaw(TorchDistribution):
    r"""Law of vectors, each of which is one of a codebook, given the law of their numbers.

    .. math:: p(z) = p(c), \quad z_i = e_{c_i}

    A discrete law, though values are real: all others have probability 0. It stands where a decoder reads the vectors,
    so that gradients reach whoever computed them.

    Args:
        numbers: Law of c, with events of shape (positions,) of whole numbers from 0.
        codebook: e, (codes, size).

    Example:
        >>> import pyro.distributions as dist, torch
        >>> law = CodebookLaw(dist.Categorical(torch.ones(2, 3)).to_event(1), torch.eye(3))
        >>> law.log_prob(torch.eye(3)[[0, 2]].flatten()), law.log_prob(torch.zeros(6))
        (tensor(-2.1972), tensor(-inf))
    """

    arg_constraints = {}  # noqa: RUF012 - torch reads it as a class attribute
    has_rsample = False

    def __init__(self, numbers: Any, codebook: Tensor, *, validate_args: bool | None = None) -> None:
        self.numbers, self.codebook = numbers, codebook.detach()
        (positions,) = numbers.event_shape
        event = Size((positions * codebook.shape[-1],))
        super().__init__(numbers.batch_shape, event, validate_args=validate_args)

    @property
    def support(self) -> Any:
        """Vectors of the codebook side by side."""
        return _OfCodebook(self.codebook)

    def log_prob(self, value: Tensor) -> Tensor:
        """log p in nats, (..., positions x size) -> (...,): that of the numbers of the vectors."""
        if self._validate_args:
            self._validate_sample(value)
        found, known = _found(value, self.codebook)
        log_prob = self.numbers.log_prob(found.to(value.dtype))
        return torch.where(known.all(-1), log_prob, torch.full_like(log_prob, -torch.inf))

    @torch.no_grad()
    def sample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008 - torch's own signature
        """Vectors of drawn numbers: `sample_shape + batch_shape + (positions x size,)`."""
        return self.codebook[self.numbers.sample(sample_shape).long()].flatten(-2)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "CodebookLaw":
        """Law of independent events, as many as the larger `batch_shape` says."""
        law = self._get_checked_instance(CodebookLaw, _instance)
        law.numbers, law.codebook = self.numbers.expand(batch_shape), self.codebook
        super(CodebookLaw, law).__init__(Size(batch_shape), self.event_shape, validate_args=False)
        law._validate_args = self._validate_args
        return law


def nearest(vectors: Tensor, codebook: Tensor) -> Tensor:
    """Numbers of the nearest vectors of a codebook: (..., size) and (codes, size) -> (...,) whole numbers.

    Example:
        >>> nearest(torch.tensor([[0.9, 0.2], [0.1, 0.8]]), torch.eye(2))
        tensor([0, 1])
    """
    # |v - e|^2 without |v|^2, which is common to all e.
    return (codebook.square().sum(-1) - 2 * vectors @ codebook.T).argmin(-1)


def _found(value: Tensor, codebook: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers of vectors side by side, (..., positions), and which of them are those of the codebook exactly."""
    with torch.no_grad():
        vectors = value.detach().unflatten(-1, (-1, codebook.shape[-1]))
        # Not by `nearest`, whose rounding may take a vector of the book for one that is close to it.
        flat = vectors.reshape(-1, vectors.shape[-1])
        distances = torch.cdist(flat, codebook, compute_mode="donot_use_mm_for_euclid_dist")
        numbers = distances.argmin(-1).reshape(vectors.shape[:-1])
        return numbers, (vectors == codebook[numbers]).all(-1)


class _OfCodebook(constraints.Constraint):
    is_discrete = True
    event_dim = 1

    def __init__(self, codebook: Tensor) -> None:
        self.codebook = codebook
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        return _found(value, self.codebook)[1].all(-1)
