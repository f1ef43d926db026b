"""Split R-hat of many chains as one tensor operation, for runs on machines without ArviZ."""

import torch
from torch import Tensor


def split_rhat(draws: Tensor) -> float:
    r"""Potential scale reduction of chains that are split in half.

    .. math:: \hat R = \sqrt{\frac{\frac{n-1}{n} W + \frac{1}{n} B}{W}}

    with :math:`W` the mean variance within the half chains and :math:`B` :math:`n` times the variance between
    their means. The same as `arviz_stats.rhat(draws, method="split")`.

    Args:
        draws: One quantity, chains x draws. An odd last draw is left out.

    Returns:
        R-hat; NaN with fewer than four draws, with draws that are not finite, or that are all equal.

    References:
        Gelman, Carlin, Stern, Dunson, Vehtari and Rubin (2013), Bayesian Data Analysis, section 11.4.

    Example:
        >>> split_rhat(torch.tensor([[0.0, 1.0, 0.0, 1.0], [1.0, 0.0, 1.0, 0.0]]))
        0.7071067811865476
    """
    length = draws.shape[-1] // 2
    if length < 2:
        return float("nan")
    halves = torch.cat([draws[:, :length], draws[:, -length:]]).double()
    within = halves.var(dim=-1).mean()
    between = halves.mean(dim=-1).var()
    return float(torch.sqrt((length - 1) / length + between / within))
