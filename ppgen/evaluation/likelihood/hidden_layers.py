"""log p(x) of a Boltzmann machine of any depth, its hidden layers summed out by enumeration or by annealing."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from ppgen.distributions import BaseRatePath, Clamped
from ppgen.distributions.machines.enumeration import exact_log_partition
from ppgen.distributions.machines.layered_energy import LayeredEnergy
from ppgen.evaluation.blindness import unless_blind
from ppgen.evaluation.likelihood.importance import summarise
from ppgen.evaluation.per_datum import PerDatum
from ppgen.evaluation.program import Program
from ppgen.inference.annealing.annealing import anneal
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


@torch.no_grad()
def annealed_hidden(
    program: Program,
    rows: Callable[[int, int], Any],
    num_data: int,
    log_partition: float,
    *,
    betas: Sequence[float],
    num_chains: int,
    chunk: int,
    seed: int,
    advance: Callable[[int], None] | None = None,
) -> PerDatum:
    r"""log p(x) of every datum with log Z(x) by annealing the machine whose visible layer is held at x.

    .. math:: \log p(x) \approx \log Z_A(x) + \log \frac{1}{M} \sum_m w_m - \log Z, \quad E[w] = Z(x) / Z_A(x)

    Args:
        program: A pair whose model is a Boltzmann machine (`Program.machine`).
        rows: Batch of the data from a first up to a last index.
        num_data: Number of data.
        log_partition: log Z of the machine.
        betas: Ladder from 0 to 1.
        num_chains: Runs of each datum.
        chunk: Runs that go up the ladder together, which bounds the memory.
        seed: Seed of all randomness.
        advance: Called with the number of data done.
    """
    machine: Any = program.machine
    energy = program.energies[machine.site]
    generator = torch.Generator(device=energy.parameters()[0].device).manual_seed(seed)
    block = max(1, min(chunk // num_chains, num_data))
    found = np.empty((3, num_data))
    for start in range(0, num_data, block):
        stop = min(start + block, num_data)
        args, kwargs = split_batch(rows(start, stop))
        x = [*args, *kwargs.values()][machine.argument]
        path = BaseRatePath(condition_layer(energy, machine.layer, x))
        # Not compiled: the values held are constants of the graph, another one for every block.
        runs = anneal(path, betas, num_chains, generator, compile=False)
        log_weights = runs.log_weights + (runs.log_base_partition - log_partition)
        found[:, start:stop] = np.stack(unless_blind(summarise(log_weights, pareto=False), log_weights, path)[:3])
        if advance is not None:
            advance(stop)
    return PerDatum(found[0], found[1], found[2], None)
