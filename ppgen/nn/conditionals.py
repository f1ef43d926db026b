"""Conditional distributions p(y | x): modules that return a Pyro distribution with one event dimension."""

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppgen.checks.arguments import check_count
from ppgen.nn.mlp import MLP


class Conditional(nn.Module):
    """Hidden layers with tanh units, then a distribution over `features` variables.

    Args:
        inputs: Variables conditioned on.
        hidden: Units of each hidden layer; may be empty.
        features: Variables of the distribution.

    Raises:
        ValueError: If a number of variables or units is not positive.
    """

    def __init__(self, inputs: int, hidden: Sequence[int], features: int) -> None:
        super().__init__()
        self.features = features
        self.body: nn.Module = MLP((inputs, *hidden), activate_last=True) if len(hidden) else nn.Identity()
        self.last = hidden[-1] if len(hidden) else inputs

    def forward(self, given: Tensor) -> dist.TorchDistribution:
        """Distribution of batch shape (...,) and event shape (features,), given (..., inputs)."""
        raise TypeError("Conditional is abstract; use BernoulliConditional, NormalConditional, ...")

    def initialise(self, mean: Tensor) -> None:
        """Start the output's bias at the value that gives the mean of the data, shape (features,).

        A bias that is not zero any more was trained or given, and stays.
        """
        raise TypeError("Conditional is abstract; use BernoulliConditional, NormalConditional, ...")


class BernoulliConditional(Conditional):
    """Independent Bernoulli variables; `initialise` sets the bias to the logit of the mean within [.001, .999].

    Args:
        inputs: Variables conditioned on.
        hidden: Units of each hidden layer, which are tanh units; may be empty.
        features: Variables of the distribution.

    Raises:
        ValueError: If a number of variables or units is not positive.

    Example:
        >>> import torch
        >>> from ppgen.nn import BernoulliConditional
        >>> BernoulliConditional(2, (4,), 3)(torch.zeros(5, 2)).event_shape
        torch.Size([3])
    """

    def __init__(self, inputs: int, hidden: Sequence[int], features: int) -> None:
        super().__init__(inputs, hidden, features)
        self.logits = MLP((self.last, features))

    def forward(self, given: Tensor) -> dist.TorchDistribution:
        """Independent Bernoulli law of (..., features)."""
        return dist.Bernoulli(logits=self.logits(self.body(given))).to_event(1)

    @torch.no_grad()
    def initialise(self, mean: Tensor) -> None:
        """Start the output's bias at the logit of the mean, (features,), held within [.001, .999]."""
        _start(self.logits, torch.logit(mean.clamp(0.001, 0.999)))


class NormalConditional(Conditional):
    """Independent Normal variables whose mean and log standard deviation are both computed from the input.

    Args:
        inputs: Variables conditioned on.
        hidden: Units of each hidden layer, which are tanh units; may be empty.
        features: Variables of the distribution.

    Raises:
        ValueError: If a number of variables or units is not positive.

    Example:
        >>> import torch
        >>> from ppgen.nn import NormalConditional
        >>> NormalConditional(2, (4,), 3)(torch.zeros(5, 2)).batch_shape
        torch.Size([5])
    """

    def __init__(self, inputs: int, hidden: Sequence[int], features: int) -> None:
        super().__init__(inputs, hidden, features)
        self.loc = MLP((self.last, features))
        self.log_scale = MLP((self.last, features))

    def forward(self, given: Tensor) -> dist.TorchDistribution:
        """Independent Normal law of (..., features)."""
        return self.law(self.body(given))

    def law(self, hidden: Tensor) -> dist.TorchDistribution:
        """Independent Normal law, given the units of the last hidden layer."""
        return dist.Normal(self.loc(hidden), self.log_scale(hidden).exp()).to_event(1)

    @torch.no_grad()
    def initialise(self, mean: Tensor) -> None:
        """Start the location's bias at the mean of the data, (features,)."""
        _start(self.loc, mean)


class CategoricalConditional(Conditional):
    """Independent categorical variables, each over `categories` equally spaced levels 0, 1, ..., categories - 1.

    Args:
        inputs: Variables conditioned on.
        hidden: Units of each hidden layer; may be empty.
        features: Variables of the distribution.
        categories: Levels of each variable.

    Example:
        >>> import torch
        >>> from ppgen.nn import CategoricalConditional
        >>> CategoricalConditional(2, (4,), 3, categories=7)(torch.zeros(5, 2)).event_shape
        torch.Size([3])
    """

    def __init__(self, inputs: int, hidden: Sequence[int], features: int, categories: int = 256) -> None:
        super().__init__(inputs, hidden, features)
        check_count("categories", categories, 2, wanted="at least 2")
        self.categories = categories
        self.logits = MLP((self.last, features * categories))

    def forward(self, given: Tensor) -> dist.TorchDistribution:
        """Independent categorical law of (..., features)."""
        logits = self.logits(self.body(given)).unflatten(-1, (self.features, self.categories))
        return dist.Categorical(logits=logits).to_event(1)

    @torch.no_grad()
    def initialise(self, mean: Tensor) -> None:
        """Bias = the discretised exponential family law with that mean's binomial probabilities, shape (features,)."""
        trials = self.categories - 1
        probability = (mean / trials).clamp(0.001, 0.999).unsqueeze(-1)
        law = torch.distributions.Binomial(trials, probability)
        levels = torch.arange(self.categories, dtype=mean.dtype, device=mean.device)
        _start(self.logits, law.log_prob(levels).clamp(min=-10.0).flatten())


def _start(network: MLP, bias: Tensor) -> None:
    if not network.output.bias.any():
        network.output.bias.copy_(bias)
