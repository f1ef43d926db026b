"""Mean-field inference in a layered machine: coordinate ascent, all even layers and then all odd ones."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ppgen.distributions.machines.layered_energy import EVEN, ODD, LayeredEnergy


@torch.no_grad()
def mean_field_inputs(energy: LayeredEnergy, given: Mapping[int, Tensor], sweeps: int) -> dict[int, Tensor]:
    r"""Inputs of the free layers at the factorial law q that is nearest to p(free | given).

    .. math:: \mathcal{L}(q) = E_q[-E(x)] + H(q) \le \log Z(\text{given}), \quad
              q_l \leftarrow p(x_l \mid \text{input}_l = E_q[\text{what the neighbours send}])

    A sweep updates all even layers given the odd ones and then the odd layers given the even ones; each update is the
    best q of its layers, so the bound never falls. The start is one pass from the given layers outwards, in which a
    layer that has heard of one of its two neighbours only takes that input twice (Salakhutdinov and Larochelle, 2010).
    Nothing is differentiated through: at the fixed point the bound does not change with q.

    References:
        | Deep Boltzmann Machines (Salakhutdinov and Hinton, 2009)
        | Efficient Learning of Deep Boltzmann Machines (Salakhutdinov and Larochelle, 2010)

    Args:
        energy: The machine.
        given: Values by index of the layer: (..., units).
        sweeps: Sweeps after the first pass.

    Returns:
        Input of each free layer by its index, (..., units); their means are `units.mean(input)`.

    Example:
        >>> from ppgen import testing
        >>> energy = testing.boltzmann_machine((3, 2, 2)).base_energy
        >>> sorted(mean_field_inputs(energy, {0: torch.ones(5, 3, dtype=torch.float64)}, sweeps=10))
        [1, 2]
    """
    known = {layer: energy.units[layer].statistic(value) for layer, value in given.items()}
    free = [layer for layer in range(len(energy.units)) if layer not in given]
    inputs: dict[int, Tensor] = {}
    for layer in sorted(free, key=lambda layer: min(abs(layer - other) for other in given)):
        _update(energy, layer, known, inputs)
    for _ in range(sweeps):
        for side in (EVEN, ODD):
            for layer in energy.sides[side]:
                if layer in inputs:
                    _update(energy, layer, known, inputs)
    return inputs


def _update(energy: LayeredEnergy, layer: int, known: dict[int, Tensor], inputs: dict[int, Tensor]) -> None:
    """Set a layer's input by what its neighbours send, and its mean statistics; an unknown neighbour sends the same."""
    neighbours = [other for other in (layer - 1, layer + 1) if 0 <= other < len(energy.units)]
    sent = [energy.sent(other, layer, known[other]) for other in neighbours if other in known]
    total = sum(sent[1:], sent[0])
    inputs[layer] = total * (len(neighbours) / len(sent))
    units = energy.units[layer]
    known[layer] = units.statistic(units.mean(inputs[layer]))
