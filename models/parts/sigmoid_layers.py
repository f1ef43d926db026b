"""Layers of Bernoulli units, given another layer or alone: what sigmoid belief networks are built of."""

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppgen.distributions import AutoregressiveBernoulli
from ppgen.distributions.units.bernoulli import ThresholdBernoulli
from ppgen.nn import MLP, Conditional


class SigmoidLayer(Conditional):
    """Bernoulli units whose logits are computed from another layer.

    Args:
        inputs: Variables conditioned on.
        hidden: Deterministic tanh units between them and the logits; empty for affine logits.
        features: Units of the layer.
        autoregressive: Whether each unit also depends on those before it in the layer, with weights that start at
            zero; one unit alone has none.

    Example:
        >>> import torch
        >>> SigmoidLayer(2, (), 3, autoregressive=True)(torch.zeros(5, 2)).event_shape
        torch.Size([3])
    """

    def __init__(self, inputs: int, hidden: Sequence[int], features: int, autoregressive: bool = False) -> None:
        super().__init__(inputs, hidden, features)
        self.logits = MLP((self.last, features))
        self.weight = within_layer(features, autoregressive)

    @property
    def linear(self) -> nn.Linear:
        """The linear map to the logits."""
        return self.logits.output

    def forward(self, given: Tensor) -> dist.TorchDistribution:
        """Law of the units, event shape (features,), given (..., inputs)."""
        return sigmoid_law(self.logits(self.body(given)), self.weight)

    @torch.no_grad()
    def initialise(self, mean: Tensor) -> None:
        """Bias = logit(mean), the mean held within [.001, .999], unless the bias was trained or given before."""
        bias = self.logits.output.bias
        if not bias.any():
            bias.copy_(torch.logit(mean.clamp(0.001, 0.999)))


class CountingLayer(SigmoidLayer):
    r"""Bernoulli units above the counts of a document, with a bias for each of its D words.

    .. math:: p(z = 1 \mid v) = \sigma(v^\top W + D \, c), \quad D = \sum_i v_i

    Args:
        vocabulary: Words that are counted.
        features: Units of the layer.

    Example:
        >>> import torch
        >>> CountingLayer(4, 3)(torch.ones(5, 4)).event_shape
        torch.Size([3])
    """

    def __init__(self, vocabulary: int, features: int) -> None:
        super().__init__(vocabulary, (), features)

    def forward(self, given: Tensor) -> dist.TorchDistribution:
        """Law of the units, event shape (features,), given counts (..., vocabulary)."""
        linear = self.linear
        return sigmoid_law(given @ linear.weight.mT + given.sum(-1, keepdim=True) * linear.bias)


class SigmoidPrior(nn.Module):
    """Bernoulli units with logits of their own, which start at zero.

    Args:
        features: Units of the layer.
        autoregressive: Whether each unit also depends on those before it.

    Example:
        >>> SigmoidPrior(3)().event_shape
        torch.Size([3])
    """

    def __init__(self, features: int, autoregressive: bool = False) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(features))
        self.weight = within_layer(features, autoregressive)

    def forward(self) -> dist.TorchDistribution:
        """Law of the units, event shape (features,)."""
        return sigmoid_law(self.bias, self.weight)


def within_layer(features: int, autoregressive: bool) -> nn.Parameter | None:
    """Weights from each unit of a layer to the later ones, (features, features), zero; None if there are none."""
    return nn.Parameter(torch.zeros(features, features)) if autoregressive and features > 1 else None


def sigmoid_law(logits: Tensor, weight: Tensor | None = None) -> dist.TorchDistribution:
    """Bernoulli units with logits (..., units): independent, or autoregressive with a weight (units, units).

    Example:
        >>> import torch
        >>> sigmoid_law(torch.zeros(2, 3), torch.zeros(3, 3))
        AutoregressiveBernoulli(logits: torch.Size([2, 3]), weight: torch.Size([3, 3]))
    """
    if weight is None:
        return ThresholdBernoulli(logits=logits).to_event(1)
    return AutoregressiveBernoulli(logits, weight)
