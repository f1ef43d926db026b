"""Sums in the place of integrals over the values that a continuous unit can have."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

_NODES = 7  # of each panel: exact for polynomials up to degree 13


def quadrature(support: Any, reach: float, panels: int, like: Tensor) -> tuple[Tensor, Tensor]:
    r"""Points and log-weights of a sum that is the integral over a support, by Gauss's rule in each of many panels.

    .. math:: \int_a^b f(x) \, dx \approx \sum_i w_i f(x_i)

    No point stands at an end of the support, where there may be no density.

    Args:
        support: A constraint of torch on single numbers, with `lower_bound` and `upper_bound` where it has ends.
        reach: Where a support without an end is cut off, on both sides of zero.
        panels: Pieces of equal width.
        like: Tensor whose dtype and device the results have.

    Returns:
        Points and the logarithms of their weights, both (7 panels,).

    Example:
        >>> from torch.distributions import constraints
        >>> x, log_weights = quadrature(constraints.unit_interval, 40.0, 2, torch.zeros((), dtype=torch.float64))
        >>> (log_weights.exp() * x.square()).sum()
        tensor(0.3333, dtype=torch.float64)
    """
    low, high = float(getattr(support, "lower_bound", -reach)), float(getattr(support, "upper_bound", reach))
    nodes, weights = (torch.as_tensor(each).to(like) for each in np.polynomial.legendre.leggauss(_NODES))
    half = (high - low) / panels / 2
    middles = low + half * (2 * torch.arange(panels, dtype=like.dtype, device=like.device) + 1)
    return (middles.unsqueeze(-1) + half * nodes).flatten(), (half * weights).log().repeat(panels)
