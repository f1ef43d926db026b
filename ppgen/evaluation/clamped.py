"""log p(x) of a Boltzmann machine of any depth, its hidden layers summed out by enumeration."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ppgen.distributions import Clamped
from ppgen.distributions.enumeration import exact_log_partition
from ppgen.distributions.layered_energy import LayeredEnergy
from ppgen.evaluation.importance import PerDatum
from ppgen.evaluation.program import Program
from ppgen.pair import split_batch

_AT_ONCE = 2**20  # states times rows whose free energies are held


def hidden_states(energy: LayeredEnergy, layer: int) -> float:
    """States to be summed over for one datum, all units of the layer being given."""
    like = energy.parameters()[0]
    clamped = condition_layer(energy, layer, like.new_zeros(energy.units[layer].size))
    return clamped.num_states(clamped.smaller_side)


def condition_layer(energy: LayeredEnergy, layer: int, values: torch.Tensor) -> LayeredEnergy:
    """The energy with a whole layer held at values, (..., units)."""
    layers = dict(energy.layers)
    name = energy.names[layer]
    layers[name] = Clamped(energy.units[layer], values.to(energy.parameters()[0]))
    return LayeredEnergy(layers, energy.couplings)


@torch.no_grad()
def enumerated(
    program: Program,
    rows: Callable[[int, int], Any],
    num_data: int,
    log_partition: float,
    advance: Callable[[int], None] | None = None,
) -> PerDatum:
    r"""log p(x) of every datum, exactly.

    .. math:: \log p(x) = \log Z(x) - \log Z, \quad Z(x) = \sum_h e^{-E(x, h)}

    Args:
        program: A pair whose model is a Boltzmann machine (`Program.machine`).
        rows: Batch of the data from a first up to a last index.
        num_data: Number of data.
        log_partition: log Z of the machine.
        advance: Called with the number of data done.

    Raises:
        ValueError: If there are more than 2^20 states of the hidden layers on either side.
    """
    machine: Any = program.machine
    energy, layer = program.energies[machine.site], machine.layer
    block = max(1, int(_AT_ONCE // hidden_states(energy, layer)))
    values = np.empty(num_data)
    for start in range(0, num_data, block):
        stop = min(start + block, num_data)
        args, kwargs = split_batch(rows(start, stop))
        x = [*args, *kwargs.values()][machine.argument]
        values[start:stop] = exact_log_partition(condition_layer(energy, layer, x)).cpu().numpy() - log_partition
        if advance is not None:
            advance(stop)
    nothing = np.zeros(num_data)
    return PerDatum(values, nothing, nothing, None)
