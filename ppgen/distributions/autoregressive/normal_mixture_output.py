"""Mixtures of Normal laws."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ppgen.distributions.autoregressive.mixture_output import MixtureOutput


@dataclass(frozen=True)
class NormalMixtureOutput(MixtureOutput):
    r"""Number whose law is a mixture of Normal laws.

    .. math:: p(x) = \sum_k \pi_k \, \mathcal N(x \mid m_k, s_k^2), \quad s = s_{\min} + e^{a}

    The parameters of an entry are K logits of the weights, K means m, and K logarithms of scales a.

    References:
        | RNADE: The Real-Valued Neural Autoregressive Density-Estimator (Uria, Murray and Larochelle, 2013)
        | https://arxiv.org/abs/1306.0186

    Args:
        components: K.
        minimum_scale: Smallest scale, in the units of the data, as repeated values would send a density to infinity.
        scaled_gradient: Whether the gradient in a mean is multiplied by the component's scale, which RNADE was
            trained with. It is then no longer that of log p: steps of narrow components are shorter.

    Raises:
        ValueError: If there is no component, or the smallest scale is not positive.

    Example:
        >>> import torch
        >>> from ppgen.distributions import NormalMixtureOutput
        >>> NormalMixtureOutput(2).log_prob(torch.zeros(6), torch.tensor(0.0)).round(decimals=2)
        tensor(-0.9200)
    """

    def standard_log_density(self, deviation: Tensor) -> Tensor:
        """Logarithm of the standard Normal density, in nats."""
        return -0.5 * deviation.square() - 0.5 * math.log(2 * math.pi)

    def quantile(self, uniforms: Tensor) -> Tensor:
        """Quantiles of the standard Normal law."""
        return torch.special.ndtri(uniforms)
