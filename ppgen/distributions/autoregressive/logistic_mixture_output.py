"""Discretised mixtures of logistic laws."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid

from ppgen.checks.arguments import check_count
from ppgen.distributions.autoregressive.mixture_output import floored, started
from ppgen.distributions.autoregressive.output_law import OutputLaw, inside, inverse_cdf

MINIMUM_SCALE = math.exp(-7)  # on the scale on which values go from -1 to 1


@dataclass(frozen=True)
class LogisticMixtureOutput(OutputLaw):
    r"""Whole number from 0 to `levels - 1`: the bin into which a mixture of logistic laws falls.

    .. math:: P(x) = \sum_k \pi_k \Big[\sigma\Big(\frac{c(x) + h - m_k}{s_k}\Big) -
        \sigma\Big(\frac{c(x) - h - m_k}{s_k}\Big)\Big], \quad c(x) = \frac{2 x}{L - 1} - 1, \quad h = \frac{1}{L - 1}

    The bins of the first and the last value reach to infinity. The parameters of an entry are K logits of the weights,
    K locations m and K logarithms of scales, on the scale on which values go from -1 to 1, as networks see them.

    References:
        | PixelCNN++: Improving the PixelCNN with Discretized Logistic Mixture Likelihood and Other Modifications
          (Salimans, Karpathy, Chen and Kingma, 2017)
        | https://arxiv.org/abs/1701.05517

    Args:
        components: K.
        levels: How many values L there are.

    Raises:
        ValueError: If there is no component, or there are fewer than two values.

    Example:
        >>> import torch
        >>> from ppgen.distributions import LogisticMixtureOutput
        >>> output = LogisticMixtureOutput(components=2, levels=3)
        >>> output.log_prob(torch.zeros(3, 6), output.values).exp().sum().round(decimals=4)
        tensor(1.)
    """

    components: int
    levels: int

    num_uniforms = 2  # of a component, and within it

    def __post_init__(self) -> None:
        check_count("components", self.components)
        check_count("levels", self.levels, 2)

    @property
    def num_parameters(self) -> int:
        """3 K: logits, locations, logarithms of scales."""
        return 3 * self.components

    @property
    def support(self) -> Any:
        """0, ..., levels - 1."""
        return constraints.integer_interval(0, self.levels - 1)

    @property
    def wanted(self) -> str:
        """Whole numbers up to the last level."""
        return f"whole numbers from 0 to {self.levels - 1}"

    @property
    def values(self) -> Tensor:
        """0, ..., levels - 1."""
        return torch.arange(self.levels, dtype=torch.get_default_dtype())

    def parts(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, locations and logarithms of scales, each (..., K)."""
        logits, locations, raw = parameters.unflatten(-1, (3, self.components)).unbind(-2)
        return logits, locations, floored(raw, MINIMUM_SCALE)

    def log_prob(self, parameters: Tensor, value: Tensor) -> Tensor:
        r"""log p in nats: (..., 3 K) and (...,) -> (...,).

        With a and b the upper and the lower edge, in scales from a location, the difference of the two cumulative
        probabilities is the product sigma(a) sigma(-b) (1 - exp(b - a)), whose logarithm and gradient are finite
        however far a value lies from all locations and however wide a component is.
        """
        logits, locations, log_scales = self.parts(parameters)
        half, inverse = 1 / (self.levels - 1), (-log_scales).exp()
        centred = self.code(value).unsqueeze(-1) - locations
        below_upper = logsigmoid((centred + half) * inverse)
        above_lower = logsigmoid((half - centred) * inverse)
        inner = _log_one_minus_exp(math.log(2 * half) - log_scales)
        first, last = (value == 0).unsqueeze(-1), (value == self.levels - 1).unsqueeze(-1)
        zero = torch.zeros((), dtype=parameters.dtype, device=parameters.device)
        each = (
            torch.where(last, zero, below_upper)
            + torch.where(first, zero, above_lower)
            + torch.where(first | last, zero, inner)
        )
        return (logits.log_softmax(-1) + each).logsumexp(-1)

    def draw(self, parameters: Tensor, uniforms: Tensor) -> Tensor:
        """Bins of quantiles of a component that is drawn first: (..., 3 K) and (..., 2) -> (...,)."""
        logits, locations, log_scales = self.parts(parameters)
        component = inverse_cdf(logits, uniforms[..., 0]).unsqueeze(-1)
        location, log_scale = (each.gather(-1, component).squeeze(-1) for each in (locations, log_scales))
        point = location + log_scale.exp() * torch.logit(inside(uniforms[..., 1]))
        return ((point + 1) * ((self.levels - 1) / 2)).round().clamp(0, self.levels - 1)

    def mean(self, parameters: Tensor) -> Tensor:
        """Mean number, the sum of the probabilities to be at least so much: (..., 3 K) -> (...,)."""
        logits, locations, log_scales = self.parts(parameters)
        weights, inverse, half = logits.softmax(-1), (-log_scales).exp(), 1 / (self.levels - 1)
        total = torch.zeros_like(weights[..., 0])
        for level in range(1, self.levels):
            edge = (2 * level - 1) * half - 1  # in double precision, whatever that of the parameters
            total = total + (weights * torch.sigmoid((locations - edge) * inverse)).sum(-1)
        return total

    def code(self, value: Tensor) -> Tensor:
        """Value scaled to [-1, 1]."""
        return value * (2 / (self.levels - 1)) - 1

    def start(self, values: Tensor) -> Tensor:
        """Equal weights, quantiles of data for locations, their spread for scales: (rows, D) -> (D, 3 K)."""
        # The scale of a logistic law is its standard deviation times sqrt(3) / pi.
        return started(self.code(values), self.components, MINIMUM_SCALE)


def _log_one_minus_exp(log_width: Tensor) -> Tensor:
    """log(1 - exp(-w)) of log w, without a cancellation where w is small."""
    width = log_width.exp()
    small = width < 1e-2
    far = torch.where(small, torch.ones_like(width), width)
    return torch.where(small, log_width - width / 2 + width.square() / 24, torch.log(-torch.expm1(-far)))
