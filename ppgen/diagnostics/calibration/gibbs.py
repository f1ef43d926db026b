"""Chains of a Boltzmann machine given data that were simulated from it."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ppgen import inference
from ppgen.diagnostics.calibration.draws import Drawn, drawn_by_chains
from ppgen.diagnostics.calibration.latents import Latents
from ppgen.distributions import BoltzmannMachine
from ppgen.evaluation.program import examine
from ppgen.evaluation.rows import CheckedRows
from ppgen.inference.kernels.machine_kernel import MachineKernel
from ppgen.pair import AnyPair
from ppgen.training.sampling.completion import conditioned

MakeKernel = Callable[[BoltzmannMachine], MachineKernel[Any]]


def drawn_by_gibbs(
    pair: AnyPair, x: Any, latents: Mapping[str, Tensor], make_kernel: MakeKernel, settings: Mapping[str, Any]
) -> Drawn:
    """Values of all layers but that of the data, and thinned draws of chains of them given the data.

    Args:
        pair: A pair that is one Boltzmann machine.
        x: Data simulated from it, (rows, features).
        latents: Values at its undirected site, the side of the machine that the data do not stand on.
        make_kernel: Makes a kernel of the machine conditioned on the data.
        settings: Of `inference.sample`.

    Raises:
        ValueError: If the pair is anything else.
        TypeError: If no kernel is made.
    """
    if not isinstance(x, Tensor) or (found := examine(pair, CheckedRows(x, pair)).machine) is None:
        raise ValueError(
            f"Gibbs chains are for models that are one Boltzmann machine (models.RBM, models.DBM); "
            f'{type(pair).__name__} is none. Use posterior="guide", or inference.HMC() for continuous latents.'
        )
    with pair.running():
        machine, layer = conditioned(pair, x)
    kernel = make_kernel(machine)
    if not isinstance(kernel, MachineKernel):
        raise TypeError(f"posterior must return a kernel of the machine, got {type(kernel).__name__}.")
    energy, value = machine.base_energy, latents[found.site]
    side = 1 - layer % 2
    other = energy.sample_opposite(value, side)  # the data among them stay what they are
    layers = {**energy.split(value, side), **energy.split(other, 1 - side)}
    truth = {energy.names[index]: layers[index] for index in sorted(layers) if index != layer}
    tree = inference.sample(kernel, **settings)
    chains = {name: torch.from_numpy(tree.posterior[name].values).to(value) for name in truth}
    densities = _Densities(machine, layer)
    dims = {name: [f"{name}_unit"] for name in truth}
    return drawn_by_chains(truth, dims, f"{type(kernel).__name__} chains", chains, densities)


class _Densities:
    """log p(h), up to a constant of each row, and log p(v | h) of a machine with data.

    Args:
        machine: The machine conditioned on the data.
        layer: Index of their layer.
    """

    def __init__(self, machine: BoltzmannMachine, layer: int) -> None:
        layers: dict[str, Any] = dict(machine.base_energy.layers)
        name = machine.names[layer]
        layers[name] = layers[name].units  # what is held is no variable, and has no density
        self.machine, self.layer = BoltzmannMachine(layers, machine.base_energy.couplings), layer

    def __call__(self, first: int, last: int, part: Any, latents: Latents) -> tuple[Tensor, Tensor]:
        energy = self.machine.base_energy
        if energy.batch_shape:
            energy = energy.rows(torch.arange(first, last, device=part.device))
        machine = BoltzmannMachine(energy.layers, energy.couplings)
        data = part.expand(len(next(iter(latents.values()))), -1, -1)
        layers = [latents.get(name, data) for name in energy.names]
        joint = -machine.energy(torch.cat(layers, -1))
        neighbours = {
            energy.names[index]: layers[index]
            for index in (self.layer - 1, self.layer + 1)
            if 0 <= index < len(energy.names)
        }
        likelihood = machine.conditional(energy.names[self.layer], given=neighbours).log_prob(data)
        return joint - likelihood, likelihood
