"""Data that are no bits, given a layer of units above: real values, and words of documents."""

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppgen.distributions.units.units import UnitsLaw
from ppgen.models.parts.documents import longest_document, words_of
from ppgen.models.parts.fixed_variance import warn_unless_near_one
from ppgen.nn import MLP


class NormalLayer(nn.Module):
    r"""Real values whose means are linear in the layer above, with variances of their own.

    .. math:: x \mid z \sim N(W z + a, \sigma^2)

    Args:
        inputs: Units above.
        features: Variables.
        learn_variance: Whether the variances are parameters; else they are 1.

    Example:
        >>> NormalLayer(2, 3)(torch.zeros(5, 2)).event_shape
        torch.Size([3])
    """

    def __init__(self, inputs: int, features: int, learn_variance: bool = False) -> None:
        super().__init__()
        self.loc = MLP((inputs, features))
        self.log_variance = nn.Parameter(torch.zeros(features)) if learn_variance else None

    @property
    def linear(self) -> nn.Linear:
        """The linear map to the means."""
        return self.loc.output

    def forward(self, given: Tensor) -> dist.TorchDistribution:
        """Law of the variables, event shape (features,), given (..., inputs)."""
        loc = self.loc(given)
        scale = torch.ones_like(loc) if self.log_variance is None else (self.log_variance / 2).exp().expand_as(loc)
        return dist.Normal(loc, scale).to_event(1)

    def inspect_data(self, data: Any, name: str) -> None:
        """Warn where the variances are fixed at 1 and those of the training data are far from it."""
        if self.log_variance is None:
            warn_unless_near_one(data, name, "take learn_variance=True")


class WordLayer(nn.Module):
    r"""Words of documents of known length, all from one softmax that the layer above sets.

    .. math:: \log p(v \mid z, D) = v \cdot (W z + b) - D \log \sum_i \exp(W z + b)_i

    of the D words in their order, whose counts are v, as in `models.ReplicatedSoftmax`: without the multinomial
    coefficient.

    Args:
        inputs: Units above.
        vocabulary: Words.

    Example:
        >>> WordLayer(2, 3)(torch.zeros(1, 2), torch.tensor([[1.0, 0.0, 1.0]])).log_prob(torch.tensor([1.0, 0.0, 1.0]))
        tensor([-2.1972], grad_fn=<SubBackward0>)
    """

    def __init__(self, inputs: int, vocabulary: int) -> None:
        super().__init__()
        self.logits = MLP((inputs, vocabulary))
        self.mean_length: Tensor
        self.register_buffer("mean_length", torch.tensor(float("nan")))
        self._longest: int | None = None  # words of the longest training document: how many a traced step draws

    @property
    def linear(self) -> nn.Linear:
        """The linear map to the logits."""
        return self.logits.output

    @property
    def typical_length(self) -> int:
        """Words of documents drawn without data: as many as the training documents have on average, 100 before."""
        length = float(self.mean_length)
        return max(round(length), 1) if length == length else 100

    def forward(self, given: Tensor, x: Tensor | None) -> dist.TorchDistribution:
        """Law of documents as long as those of x, (rows, vocabulary), given (..., rows, inputs)."""
        weight, bias = self.linear.weight, self.linear.bias
        if x is None:
            x = bias.new_zeros(given.shape[-2], len(bias))
            x[:, 0] = self.typical_length
        return UnitsLaw(words_of(x, bias, self._longest, self.training), given @ weight.mT)

    def inspect_data(self, data: Any, name: str) -> None:
        """Note the length of the longest training document, which a traced step cannot ask for."""
        self._longest = longest_document(data)
