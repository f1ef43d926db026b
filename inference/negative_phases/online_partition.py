"""log Z in the course of training: a population of weighted chains that sees the weights change."""

import math

import torch
from torch import Tensor

from ppgen.distributions import BaseRatePath
from ppgen.distributions.machines.layered_energy import EVEN, ODD, LayeredEnergy
from ppgen.distributions.units.units import draw_layers

VALUES, LOG_WEIGHTS = "weighted_chains", "log_weights_of_chains"
ENERGIES, VARIANCES = "energies_of_chains", "variances_of_chains"
POPULATION = (VALUES, LOG_WEIGHTS, ENERGIES, VARIANCES)  # all with one row a chain, which processes share out

RESAMPLE_BELOW = 0.5  # share of the chains that the weighted ones are worth, below which they are drawn anew


@torch.no_grad()
def population(energy: LayeredEnergy, num_chains: int) -> dict[str, Tensor]:
    """Chains of the even side as exact draws of the base rates, whose log Z is known, and what goes with them.

    The first weights then are those of importance sampling from there, so that the log Z of any weights to begin with
    is estimated, not assumed.
    """
    path = BaseRatePath(energy)
    values = path.sample_base(num_chains)
    log_partition = path.log_base_partition()
    return {
        VALUES: values,
        LOG_WEIGHTS: log_partition.expand(num_chains).clone(),
        ENERGIES: -path.log_density(values, 0.0).to(log_partition.dtype),
        VARIANCES: log_partition.new_zeros(num_chains),
    }


@torch.no_grad()
def log_weights_of(energy: LayeredEnergy, state: dict[str, Tensor]) -> Tensor:
    r"""Log-weights under the present weights, float64: (chains,); the log of their mean estimates log Z.

    .. math:: \log w \leftarrow \log w + F_{t-1}(v) - F_t(v)

    Args:
        energy: Energy of the present weights.
        state: State of a population that has moved under the weights before.
    """
    return state[LOG_WEIGHTS] + state[ENERGIES] - energy.free_energy(state[VALUES], EVEN).to(state[ENERGIES].dtype)


@torch.no_grad()
def followed(energy: LayeredEnergy, state: dict[str, Tensor], sweeps: int) -> dict[str, Tensor]:
    r"""The population after a change of the weights: weighed, resampled if few chains carry the weight, then moved.

    .. math:: \log Z_t \approx \log \frac{1}{N} \sum_n w_n, \qquad
              \log w_n \leftarrow \log w_n + F_{t-1}(v_n) - F_t(v_n)

    The chains are weighed before they move, where they still follow the law of the weights before. The mean weight is
    unbiased for Z of weights that do not depend on this population, so its log errs low on average. Resampling is
    systematic and gives every chain the mean weight, by which no part of log Z is lost.

    Args:
        energy: Energy of the present weights, the same for all data.
        state: The population as the step before left it.
        sweeps: Gibbs sweeps of each chain.

    References:
        | Fast Training and Sampling of Restricted Boltzmann Machines (Bereux et al., 2024),
          https://arxiv.org/abs/2405.15376
        | Efficient Training of Energy-Based Models Using Jarzynski Equality (Carbone et al., 2023),
          https://arxiv.org/abs/2305.19414

    Example:
        >>> from ppgen import models
        >>> machine = models.RBM(visible=4, hidden=3).machine()
        >>> energy = machine.base_energy
        >>> state = followed(energy, population(energy, 50), 1)
        >>> value, se, ess = summary(log_weights_of(energy, state), state[VARIANCES])
        >>> abs(value - machine.exact_log_partition().item()) < 5 * se
        True
    """
    values, log_weights, variances = state[VALUES], log_weights_of(energy, state), state[VARIANCES]
    count = len(log_weights)
    probabilities = log_weights.softmax(0)
    worth = 1 / probabilities.square().sum()
    few = worth < RESAMPLE_BELOW * count
    uniform = torch.rand((), dtype=values.dtype, device=values.device)
    points = (torch.arange(count, device=values.device) + uniform.to(log_weights.dtype)) / count
    index = torch.searchsorted(probabilities.cumsum(0), points).clamp(max=count - 1)
    mean = log_weights.logsumexp(0) - math.log(count)
    # The product that the free energy takes serves the odd side too, so inputs are resampled, not values.
    inputs = [torch.where(few, each[index], each) for each in energy.inputs(values, EVEN)]
    odd = draw_layers(energy.opposite(EVEN), inputs)
    moved = energy.gibbs(energy.sample_opposite(odd, ODD), EVEN, sweeps - 1)
    return {
        VALUES: moved,
        LOG_WEIGHTS: torch.where(few, mean, log_weights),
        ENERGIES: energy.free_energy(moved, EVEN).to(log_weights.dtype),
        VARIANCES: torch.where(few, variances + 1 / worth - 1 / count, variances),
    }


def summary(log_weights: Tensor, variances: Tensor) -> tuple[float, float, float]:
    r"""log Z in nats, its standard error, and the number of equally weighted draws that it is worth.

    .. math:: \mathrm{ESS} = \frac{(\sum_n w_n)^2}{\sum_n w_n^2}

    since the chains were last resampled; the relative variances of the resamplings before, 1/ESS - 1/N each, are added.
    The error takes chains for independent after each of them, so it is too small where they hardly move.

    Args:
        log_weights: (chains,) of all processes.
        variances: (chains,) relative variance of the mean weight up to the last resampling.

    Example:
        >>> value, se, ess = summary(torch.tensor([1.0, 1.0, 1.0, 0.0]).log(), torch.zeros(4))
        >>> round(value, 3), round(ess, 3)
        (-0.288, 3.0)
    """
    count = len(log_weights)
    probabilities = log_weights.softmax(0)
    inverse = float(probabilities.square().sum() + (probabilities * variances).sum())
    value = float(log_weights.logsumexp(0)) - math.log(count)
    return value, math.sqrt(max(0.0, inverse - 1 / count)), 1 / inverse
