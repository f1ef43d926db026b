"""Normalizing flows as densities of real rows."""

from collections.abc import Sequence
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from ppgen.models.autoregressive.autoregressive_model import AutoregressiveModel
from ppgen.models.parts.arguments import one_of, positive_size, positive_sizes
from ppgen.models.parts.entries import first_rows
from ppgen.models.parts.flow_choices import DENSITIES, flow
from ppgen.models.parts.programs import standard_normal


class NormalizingFlow(AutoregressiveModel):
    r"""Normalizing flow: the density of real rows that an invertible network makes of a standard Normal law.

    .. math:: x = \mu + \sigma \odot T(\epsilon), \quad \epsilon \sim N(0, I), \qquad
        \log p(x) = \log N\big(T^{-1}(y); 0, I\big) - \log \left| \det \frac{\partial T}{\partial \epsilon} \right|
        - \sum_d \log \sigma_d, \quad y = (x - \mu) / \sigma

    log p is exact, in nats of the data as they are given. Features are standardised inside by the mean and standard
    deviation of the training rows, which are saved with the weights; a constant feature is only centred. Whole numbers
    have no density: uniform noise in [0, 1) added to them makes rows that have one, and the mean of log p over the
    noise is a lower bound of the log-probability of the whole numbers. Site: `x`, in the plate `data`.

    References:
        | Masked Autoregressive Flow for Density Estimation (Papamakarios, Pavlakou and Murray, 2017)
        | https://arxiv.org/abs/1705.07057
        | Density Estimation Using Real NVP (Dinh, Sohl-Dickstein and Bengio, 2017)
        | https://arxiv.org/abs/1605.08803
        | Neural Spline Flows (Durkan, Bekasov, Murray and Papamakarios, 2019)
        | https://arxiv.org/abs/1906.04032

    Args:
        features: Observed variables D.
        flow: `"maf"`, masked autoregressive, whose draws take D steps of each network; `"coupling"`, affine coupling
            layers, or `"spline"`, those of rational-quadratic splines, which draw as fast as they score.
        flow_steps: Steps of the flow; of coupling layers there are two a step.
        hidden: Units of the hidden layers of each network.
        bins: Bins of each spline under `"spline"`.

    Raises:
        ValueError: If a number is not positive, the flow is unknown, or one feature is to be split into halves.

    Example:
        Digits of 17 levels, with uniform noise; log p is that of the noisy rows.

        >>> import torch
        >>> from ppgen import models
        >>> levels = torch.randint(0, 17, (20, 64)).float()
        >>> model = models.NormalizingFlow(features=64, flow_steps=2, hidden=(32,))
        >>> model.law().log_prob(levels + torch.rand(20, 64)).shape, model.law().sample((5,)).shape
        (torch.Size([20]), torch.Size([5, 64]))
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self, features: int, flow: str = "maf", flow_steps: int = 5, hidden: Sequence[int] = (100,), bins: int = 8
    ) -> None:
        super().__init__()
        self.features = positive_size("features", features)
        one_of("flow", flow, DENSITIES)
        if flow != "maf" and self.features < 2:
            raise ValueError(
                f"features must be at least 2 under flow={flow!r}, one half of which moves the other, got 1. Take "
                'flow="maf".'
            )
        self.flow = _flow(
            flow,
            self.features,
            positive_size("flow_steps", flow_steps),
            positive_sizes("hidden", hidden),
            positive_size("bins", bins),
        )
        self.register_buffer("mean", torch.zeros(self.features))
        self.register_buffer("scale", torch.ones(self.features))

    @classmethod
    def example(cls) -> tuple["NormalizingFlow", Tensor]:
        """A small instance with six vectors, to try things on."""
        return cls(features=3, flow_steps=2, hidden=(4,)), torch.randn(6, 3)

    def law(self) -> Any:
        """Law of a datum, with events of shape (features,)."""
        moved = self.flow(standard_normal(self.features, self))
        return dist.TransformedDistribution(
            moved, [dist.transforms.AffineTransform(self.mean, self.scale, event_dim=1)]
        )

    def initialise(self, data: Any) -> None:
        """Standardise by the training rows, if that was not yet done."""
        if bool((self.mean != 0).any()) or bool((self.scale != 1).any()):
            return
        rows = first_rows(data).to(self.mean)
        mean, scale = rows.mean(0), rows.std(0, correction=0)
        self.mean.copy_(mean)
        self.scale.copy_(scale.masked_fill(scale <= 1e-6 * mean.abs(), 1.0))


def _flow(name: str, features: int, steps: int, hidden: Sequence[int], bins: int) -> Any:
    return flow(name, features, steps, hidden, **({} if name == "maf" else {"bins": bins}))
