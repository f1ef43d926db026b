"""Words of documents whose length is given, each from one softmax."""

from typing import Any

from pyro.distributions import TorchDistribution, constraints
from torch import Size, Tensor

from ppgen.distributions.units.supports import documents


class WordLaw(TorchDistribution):
    r"""Counts v of the D words of a document in their order, D being that of the document itself.

    .. math:: \log p(v \mid D) = \sum_i v_i \log \mathrm{softmax}_i(\ell)

    Without the multinomial coefficient, as in `models.ReplicatedSoftmax`. Nothing can be drawn without a length.

    Args:
        logits: (..., vocabulary).

    Example:
        >>> import torch
        >>> WordLaw(torch.zeros(3)).log_prob(torch.tensor([1.0, 0.0, 1.0]))
        tensor(-2.1972)
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012 - torch reads it as a class attribute
    support = documents
    has_rsample = False

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        super().__init__(logits.shape[:-1], logits.shape[-1:], validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "WordLaw":
        """Law of independent copies, as many as the larger `batch_shape` says."""
        return WordLaw(self.logits.expand(*batch_shape, -1))

    def log_prob(self, value: Tensor) -> Tensor:
        """log p of counts given their sum, nats: (..., vocabulary) -> (...,)."""
        return (value * self.logits.log_softmax(-1)).sum(-1)

    @property
    def mean(self) -> Tensor:
        """Probability of each word, the mean of a document of one: (..., vocabulary)."""
        return self.logits.softmax(-1)

    def sample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008 - torch's own signature
        """Refuses.

        Raises:
            ValueError: Always.
        """
        raise ValueError("The length of a document is given and no random variable, so that none is drawn here.")
