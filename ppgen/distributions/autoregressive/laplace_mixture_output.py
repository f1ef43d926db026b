"""Mixtures of Laplace laws."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ppgen.distributions.autoregressive.mixture_output import MixtureOutput


@dataclass(frozen=True)
class LaplaceMixtureOutput(MixtureOutput):
    r"""Number whose law is a mixture of Laplace laws.

    .. math:: p(x) = \sum_k \frac{\pi_k}{2 s_k} \, e^{-|x - m_k| / s_k}, \quad s = s_{\min} + e^{a}

    The parameters of an entry are K logits of the weights, K locations m, and K logarithms of scales a.

    References:
        | RNADE: The Real-Valued Neural Autoregressive Density-Estimator (Uria, Murray and Larochelle, 2013)
        | https://arxiv.org/abs/1306.0186

    Args:
        components: K.
        minimum_scale: Smallest scale, in the units of the data, as repeated values would send a density to infinity.
        scaled_gradient: Whether the gradient in a location is multiplied by the component's scale. It is then no longer
            that of log p: steps of narrow components are shorter.

    Raises:
        ValueError: If there is no component, or the smallest scale is not positive.

    Example:
        >>> import torch
        >>> from ppgen.distributions import LaplaceMixtureOutput
        >>> LaplaceMixtureOutput(2).log_prob(torch.zeros(6), torch.tensor(0.0)).round(decimals=2)
        tensor(-0.6900)
    """

    def standard_log_density(self, deviation: Tensor) -> Tensor:
        """Logarithm of the standard Laplace density, in nats."""
        return -deviation.abs() - math.log(2)

    def quantile(self, uniforms: Tensor) -> Tensor:
        """Quantiles of the standard Laplace law."""
        centred = uniforms - 0.5
        return -centred.sign() * torch.log1p(-2 * centred.abs())
