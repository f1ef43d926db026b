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
    return float(rhat_of_moments(halves.mean(dim=-1), halves.var(dim=-1), length))


def rhat_of_moments(means: Tensor, variances: Tensor, length: int) -> Tensor:
    """R-hat of chains by their means and variances.

    Args:
        means: Mean of each chain, (chains, ...).
        variances: Variance within each, the same shape.
        length: Draws of each.

    Returns:
        (...), infinite where chains that do not move differ, NaN where all draws are equal.

    Example:
        >>> rhat_of_moments(torch.tensor([0.0, 1.0]), torch.tensor([0.0, 0.0]), 4)
        tensor(inf)
    """
    return torch.sqrt((length - 1) / length + means.var(dim=0) / variances.mean(dim=0))


class UnitMoments:
    """Means and variances of every unit in the two halves of each chain, for R-hat, without keeping its draws.

    Chains that have fallen into modes of equal free energy agree in all but their units.

    Args:
        num_draws: Draws of each chain that will be added. An odd one in the middle is left out.

    Example:
        >>> moments = UnitMoments(4)
        >>> for value in (0.0, 1.0, 0.0, 1.0):
        ...     moments.add(torch.tensor([[value], [1.0 - value]]))
        >>> moments.end_block()
        >>> moments.rhat()
        tensor([0.7071], dtype=torch.float64)
    """

    def __init__(self, num_draws: int) -> None:
        self.length, self.num_draws = num_draws // 2, num_draws
        self.done = 0
        self._sums: list[Tensor] = []
        self._blocks: list[tuple[Tensor, Tensor]] = []

    def add(self, values: Tensor) -> None:
        """Add the next draw of each chain, (chains, ..., units)."""
        first, second = self.done < self.length, self.done >= self.num_draws - self.length
        self.done += 1
        if self.length < 2 or not (first or second):
            return
        if not self._sums:
            self._sums = [torch.zeros(values.shape, dtype=torch.float64, device=values.device) for _ in range(4)]
        total, squares = self._sums[:2] if first else self._sums[2:]
        total.add_(values)
        squares.add_(values.square())

    def end_block(self) -> None:
        """End some of the chains; the draws of others may follow."""
        self.done = 0
        if not self._sums:
            return
        total, squares = torch.cat(self._sums[::2]), torch.cat(self._sums[1::2])
        mean = total / self.length
        variance = (squares - total * mean).clamp(min=0) / (self.length - 1)
        # What rounding leaves of the variance of a unit that has not moved is nothing.
        self._blocks.append((mean, variance.where(variance > 1e-12 * squares, 0.0)))
        self._sums = []

    def rhat(self) -> Tensor:
        """R-hat of each unit, (..., units); empty with fewer than four draws."""
        if not self._blocks:
            return torch.zeros(0, dtype=torch.float64)
        means, variances = (torch.cat(parts) for parts in zip(*self._blocks, strict=True))
        return rhat_of_moments(means, variances, self.length)


def worst_rhat(energies: float, units: Tensor) -> float:
    """The largest of R-hat of the free energies and those of units; units that never change count for nothing.

    Example:
        >>> worst_rhat(1.01, torch.tensor([1.2, float("nan")])) == torch.tensor(1.2).item()
        True
    """
    told = [value for value in (energies, *units[~units.isnan()].flatten().tolist()) if not math.isnan(value)]
    return max(told, default=math.nan)


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
