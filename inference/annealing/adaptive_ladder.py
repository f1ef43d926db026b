"""Annealing ladders that fit the machine: levels closer where the tempered laws change faster."""

import math

import torch

from ppgen.distributions import BaseRatePath
from ppgen.inference.annealing.annealing import Level

_PILOT_LEVELS = 300


@torch.no_grad()
def adaptive_betas(
    path: BaseRatePath,
    target_ess: float,
    generator: torch.Generator,
    *,
    num_chains: int = 100,
    pilot_levels: int = _PILOT_LEVELS,
) -> list[float]:
    r"""Ladder whose annealing weights are to be worth a given fraction of their number.

    .. math:: \mathrm{Var} \log w \approx \sum_k (\beta_k - \beta_{k-1})^2 g(\beta_k), \quad
              g(\beta) = \mathrm{Var}_\beta\Big[\frac{\partial \log f_\beta}{\partial \beta}\Big], \quad
              \frac{\mathrm{ESS}}{M} \approx e^{-\mathrm{Var} \log w}

    The sum is smallest for a given number of levels where all of them are equally far apart in
    :math:`\Lambda(\beta) = \int_0^\beta \sqrt{g}`, and is then Lambda(1)^2 / K. A pilot run of equal steps estimates g,
    from chains that forget one level at the next; those that do not, and so want more levels, are noticed by the
    effective number that the run itself ends with.

    References:
        Neal (2001), Annealed importance sampling, arXiv:physics/9803008.
        Grosse, Maddison and Salakhutdinov (2013), Annealing between distributions by averaging moments, NIPS.

    Args:
        path: Tempered laws from independent units to the machine.
        target_ess: Effective number of runs wanted, as a fraction of their number, between 0 and 1.
        generator: Source of all randomness.
        num_chains: Chains of the pilot run.
        pilot_levels: Its levels.

    Returns:
        Inverse temperatures from 0 to 1.

    Example:
        >>> from ppgen import testing
        >>> path = BaseRatePath(testing.boltzmann_machine((6, 5)).base_energy)
        >>> betas = adaptive_betas(path, 0.9, torch.Generator().manual_seed(0))
        >>> betas[0], betas[-1], len(betas) > 3
        (0.0, 1.0, True)
    """
    values = path.sample_base(num_chains, generator)
    device = values.device
    zero = torch.zeros(values.shape[:-1], dtype=torch.float64, device=device)
    level = Level(path, generator)
    ends = torch.linspace(0, 1, pilot_levels + 1, dtype=torch.float64, device=device)
    spreads = []
    for start in range(pilot_levels):
        values, growth = level(values, zero, ends[start : start + 2])
        spreads.append(growth.std(0).amax())  # of data with machines of their own, the one that needs most
    lengths = torch.stack(spreads).cpu()
    travelled = torch.cat([torch.zeros(1, dtype=torch.float64), lengths.cumsum(0)])
    total = float(travelled[-1])
    count = max(2, math.ceil(total**2 / -math.log(target_ess)))
    if total == 0:
        return [0.0, 1.0]
    marks = torch.linspace(0, total, count + 1, dtype=torch.float64)
    # A part of equal steps as well, so that a stretch on which the pilot saw nothing change is not jumped over.
    place = torch.searchsorted(travelled, marks).clamp(1, pilot_levels)
    low, high = travelled[place - 1], travelled[place]
    inner = (place - 1 + ((marks - low) / (high - low).clamp(min=1e-300)).clamp(0, 1)) / pilot_levels
    betas = sorted({0.0, 1.0, *(float(beta) for beta in inner[1:-1]), *(step / 20 for step in range(1, 20))})
    return betas
