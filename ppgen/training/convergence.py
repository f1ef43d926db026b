"""Split R-hat and effective sample size of many chains as tensor operations, for runs on machines without ArviZ."""

import math

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


def effective_sample_size(draws: Tensor) -> float:
    r"""Independent draws that the mean over correlated chains is worth.

    .. math:: \mathrm{ESS} = \frac{M n}{\tau}, \quad \tau = -1 + 2 \sum_k P_k, \quad P_k = \rho_{2k} + \rho_{2k+1},
              \quad \rho_t = 1 - \frac{W - \bar\gamma_t}{\widehat{\mathrm{var}}^+}

    for chains split in half, with the mean autocovariance at lag t within them, their mean variance W and the pooled
    variance that R-hat uses. The sum ends before the first P that is not positive and is made to fall (Geyer's initial
    monotone sequence). About the same as `arviz_stats.ess(draws, method="mean")`.

    Args:
        draws: One quantity, chains x draws. An odd last draw is left out.

    Returns:
        The number; NaN with fewer than eight draws, or draws that are not finite or all equal.

    References:
        Vehtari, Gelman, Simpson, Carpenter and Buerkner (2021), Rank-normalization, folding, and localization: an
        improved R-hat for assessing convergence of MCMC, arXiv:1903.08008.

    Example:
        >>> 3000 < effective_sample_size(torch.randn(50, 100, generator=torch.Generator().manual_seed(0))) < 8000
        True
    """
    length = draws.shape[-1] // 2
    if length < 4:
        return float("nan")
    halves = torch.cat([draws[:, :length], draws[:, -length:]]).double()
    centred = halves - halves.mean(-1, keepdim=True)
    spectrum = torch.fft.rfft(centred, n=2 * length)
    covariance = torch.fft.irfft(spectrum.abs().square(), n=2 * length)[:, :length].mean(0) / length
    within = covariance[0] * length / (length - 1)
    pooled = covariance[0] + halves.mean(-1).var()
    if not bool(pooled > 0):
        return float("nan")
    correlation = 1 - (within - covariance) / pooled
    correlation[0] = 1.0
    pairs = correlation[: length // 2 * 2].view(-1, 2).sum(-1)
    positive = (pairs > 0).cumprod(0)
    time = -1 + 2 * float((pairs.cummin(0).values * positive).sum())
    total = halves.numel()
    return total / max(time, 1 / math.log10(total))
