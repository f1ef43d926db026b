"""Fully visible sigmoid belief nets."""

from typing import Any

import torch

from ppgen.distributions import Autoregressive, BernoulliOutput
from ppgen.models.autoregressive.autoregressive_model import AutoregressiveModel
from ppgen.models.parts.arguments import positive_size
from ppgen.nn import CausalLinear


class FullyVisibleBeliefNet(AutoregressiveModel):
    r"""Fully visible sigmoid belief net: each bit is a logistic regression on the bits before it.

    .. math:: p(x) = \prod_i \mathrm{Bernoulli}\Big(x_i \;\Big|\; \sigma\big(b_i + \sum_{j < i} W_{ij} x_j\big)\Big)

    The log-likelihood is concave in the weights. Site: `x`, in the plate `data`.

    References:
        | Connectionist Learning of Belief Networks (Neal, 1992)
        | Does the Wake-Sleep Algorithm Produce Good Density Estimators? (Frey, Hinton and Dayan, 1996)

    Args:
        features: Observed bits.

    Raises:
        ValueError: If the number is not positive.

    Example:
        >>> import torch
        >>> from ppgen import evaluation, models
        >>> model = models.FullyVisibleBeliefNet(4)
        >>> float(evaluation.log_likelihood(model, torch.ones(2, 4), method="exact"))
        -2.7725887298583984
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = positive_size("features", features)
        self.network = CausalLinear(self.features)
        self.output = BernoulliOutput()

    def law(self) -> Any:
        """Law of a datum, with events of shape (features,)."""
        return Autoregressive(self.network, self.output)

    def initialise(self, data: Any) -> None:
        """Start the biases at the logits of the training means."""
        mean = torch.as_tensor(data.mean).to(self.device).flatten()
        self.network.initialise(torch.logit(mean.clamp(0.001, 0.999)).unsqueeze(-1))
