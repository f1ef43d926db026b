"""Mixtures of laws with a location and a scale."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from ppgen.checks.arguments import check_count, check_number
from ppgen.checks.switches import check_switches
from ppgen.distributions.autoregressive.output_law import OutputLaw, inside, inverse_cdf


@dataclass(frozen=True)
class MixtureOutput(OutputLaw):
    r"""Number whose law is a mixture; the base of the Normal and the Laplace one.

    .. math:: p(x) = \sum_k \pi_k \, \frac{1}{s_k} f\Big(\frac{x - m_k}{s_k}\Big), \quad s = s_{\min} + e^{a}

    The parameters of an entry are K logits of the weights, K locations m, and K logarithms of scales a. Scales stay
    above a smallest one, as repeated values in data would send a density to infinity.

    Args:
        components: K.
        minimum_scale: Smallest scale, in the units of the data.
        scaled_gradient: Whether the gradient in a location is multiplied by the component's scale, which RNADE was
            trained with. It is then no longer that of log p: steps of narrow components are shorter.

    Raises:
        ValueError: If there is no component, or the smallest scale is not positive.
    """

    components: int
    minimum_scale: float = 1e-3
    scaled_gradient: bool = False

    num_uniforms = 2  # of a component, and within it

    def __post_init__(self) -> None:
        check_count("components", self.components)
        check_switches(scaled_gradient=self.scaled_gradient)
        check_number("minimum_scale", self.minimum_scale, "be positive", lambda scale: scale > 0)

    @property
    def num_parameters(self) -> int:
        """3 K: logits, locations, logarithms of scales."""
        return 3 * self.components

    @property
    def support(self) -> Any:
        """All numbers."""
        return constraints.real

    @property
    def wanted(self) -> str:
        """Numbers."""
        return "finite numbers"

    @abstractmethod
    def standard_log_density(self, deviation: Tensor) -> Tensor:
        """Logarithm of f, the law of location 0 and scale 1, in nats."""

    @abstractmethod
    def quantile(self, uniforms: Tensor) -> Tensor:
        """Inverse of the cumulative distribution of f, for numbers in (0, 1)."""

    def parts(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, locations and logarithms of scales, each (..., K)."""
        logits, locations, raw = parameters.unflatten(-1, (3, self.components)).unbind(-2)
        return logits, locations, floored(raw, self.minimum_scale)

    def log_prob(self, parameters: Tensor, value: Tensor) -> Tensor:
        """log p in nats: (..., 3 K) and (...,) -> (...,)."""
        logits, locations, log_scales = self.parts(parameters)
        if self.scaled_gradient:
            scales = log_scales.detach().exp()
            locations = locations * scales + (locations * (1 - scales)).detach()
        deviation = (value.unsqueeze(-1) - locations) * (-log_scales).exp()
        return (logits.log_softmax(-1) + self.standard_log_density(deviation) - log_scales).logsumexp(-1)

    def draw(self, parameters: Tensor, uniforms: Tensor) -> Tensor:
        """Quantiles of a component that is drawn first: (..., 3 K) and (..., 2) -> (...,)."""
        logits, locations, log_scales = self.parts(parameters)
        component = inverse_cdf(logits, uniforms[..., 0]).unsqueeze(-1)
        location, log_scale = (each.gather(-1, component).squeeze(-1) for each in (locations, log_scales))
        return location + log_scale.exp() * self.quantile(inside(uniforms[..., 1]))

    def mean(self, parameters: Tensor) -> Tensor:
        """Mean: (..., 3 K) -> (...,)."""
        logits, locations, _ = self.parts(parameters)
        return (logits.softmax(-1) * locations).sum(-1)

    def start(self, values: Tensor) -> Tensor:
        """Equal weights, quantiles of data for locations, their spread for scales: (rows, D) -> (D, 3 K)."""
        return started(values, self.components, self.minimum_scale)


def floored(raw: Tensor, minimum: float) -> Tensor:
    """Logarithm of `minimum + exp(raw)`, whose gradient is nowhere 0."""
    return torch.logaddexp(raw, torch.full((), math.log(minimum), dtype=raw.dtype, device=raw.device))


def started(values: Tensor, components: int, minimum: float) -> Tensor:
    """Parameters of mixtures that stand at the quantiles of data: (rows, D) -> (D, 3 components)."""
    ranks = ((torch.arange(components, device=values.device) + 0.5) / components * len(values)).long()
    locations = values.sort(0).values[ranks].T
    # Of the spread of the data, and narrower where many components share it; twice the floor where data are constant.
    scale = (values.std(0, correction=0) / math.sqrt(components)).clamp(min=2 * minimum)
    raw = (scale - minimum).log().unsqueeze(-1).expand(-1, components)
    return torch.cat([torch.zeros_like(locations), locations, raw], -1)
