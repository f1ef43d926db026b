"""Exact sums over the states of a small Boltzmann machine."""

import math

import torch
from torch import Tensor

from ppgen.distributions.machines.layered_energy import LayeredEnergy

CHUNK = 2**14  # states (of each row) summed at once: 16,384 states x 500 units of float64 are 64 MiB


def smaller_side_states(energy: LayeredEnergy, max_states: int) -> int:
    """Number of states of the smaller side.

    Raises:
        ValueError: If there are more than `max_states`; the message says how many and what to use instead.
    """
    side = energy.smaller_side
    total = energy.num_states(side)
    if total > max_states:
        count = f"2^{math.log2(total):.0f}" if math.isfinite(total) else "infinitely many, or other ones in each row"
        own = ", x=x" if energy.batch_shape else ""
        raise ValueError(
            f"Exact enumeration needs the smaller side of the machine to have at most {max_states} states "
            f"(2^{math.log2(max_states):.0f}); it has {count} ({energy.size(side)} units). "
            f'Use annealed importance sampling: ppgen.evaluation.log_partition(pair{own}, method="ais").'
        )
    return int(total)


def exact_log_partition(energy: LayeredEnergy, max_states: int = 2**20) -> Tensor:
    """log Z in nats, in float64, differentiable in the weights: the sum over the smaller side of exp(-F).

    A scalar, or one for each datum that the energy depends on.

    Raises:
        ValueError: If the smaller side has more than `max_states` states.
    """
    total = smaller_side_states(energy, max_states)
    exact, side = energy.to(torch.float64), energy.smaller_side
    chunk = max(1, CHUNK // max(1, energy.batch_shape.numel()))
    pieces = [
        torch.logsumexp(-exact.free_energy(exact.states(side, start, min(start + chunk, total)), side), 0)
        for start in range(0, total, chunk)
    ]
    return torch.logsumexp(torch.stack(pieces), 0)


@torch.no_grad()
def exact_probabilities(energy: LayeredEnergy, side: int, max_states: int = 2**20) -> Tensor:
    """Probability of every state of a side in the order of `energy.states`: (number of states, ...), float64.

    Of each datum that the energy depends on, if it does.

    Raises:
        ValueError: If that side has more than `max_states` states.
    """
    total = energy.num_states(side)
    if total > max_states:
        raise ValueError(f"The side has {total} states, more than max_states={max_states}.")
    total = int(total)
    exact = energy.to(torch.float64)
    logits = [
        -exact.free_energy(exact.states(side, start, min(start + CHUNK, total)), side)
        for start in range(0, total, CHUNK)
    ]
    return torch.softmax(torch.cat(logits), 0)
