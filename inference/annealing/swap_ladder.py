"""Ladders of inverse temperatures whose neighbours swap equally often."""

import torch
from torch import Tensor

_LEAST = 1e-3  # rejection that every step of a ladder counts for at least, so that no two temperatures fall together


def equalised(betas: Tensor, rejections: Tensor) -> Tensor:
    r"""Ladder with the same ends between whose neighbours the same fraction of swaps would be rejected.

    .. math:: \Lambda(\beta) = \int_0^\beta \lambda(b) \, db \approx \sum_{t: \beta_{t+1} \le \beta} r_t, \qquad
              \Lambda(\beta_t') = \frac{t}{T - 1} \Lambda(1)

    The sum of the rejections up to a temperature is the communication barrier, which does not depend on the ladder; it
    is interpolated linearly.

    References:
        | Non-Reversible Parallel Tempering: a Scalable Highly Parallel MCMC Scheme (Syed et al., 2022)

    Args:
        betas: Ladder, increasing, (temperatures,).
        rejections: Fraction of rejected swaps of each pair of neighbours, (temperatures - 1,).

    Example:
        >>> equalised(torch.tensor([0.0, 0.5, 1.0]), torch.tensor([0.1, 0.3]))
        tensor([0.0000, 0.6667, 1.0000])
    """
    steps = rejections.clamp(min=_LEAST)
    barrier = torch.cat([torch.zeros_like(steps[:1]), steps.cumsum(0)])
    places = torch.arange(1, len(betas) - 1, device=betas.device, dtype=betas.dtype)
    wanted = places / (len(betas) - 1) * barrier[-1]
    after = torch.searchsorted(barrier, wanted).clamp(1, len(betas) - 1)
    share = (wanted - barrier[after - 1]) / steps[after - 1]
    between = torch.lerp(betas[after - 1], betas[after], share)
    return torch.cat([betas[:1], between, betas[-1:]])


def followed(betas: Tensor, rejections: Tensor, observed: Tensor, rate: float | Tensor) -> tuple[Tensor, Tensor]:
    """Ladder and running rejections after those of one round were seen, both moved at a rate.

    Args:
        betas: Ladder, (temperatures,).
        rejections: Running shares of rejected swaps, (temperatures - 1,).
        observed: Those of this round.
        rate: How far both move, in (0, 1].
    """
    rejections = torch.lerp(rejections, observed, rate)
    return torch.lerp(betas, equalised(betas, rejections), rate), rejections
