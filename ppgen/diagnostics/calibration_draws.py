"""Draws from the posterior of every simulation: by the guide, by Hamiltonian Monte Carlo, by Gibbs chains."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ppgen import inference
from ppgen.diagnostics.calibration_sites import Latents, Sites
from ppgen.distributions import BoltzmannMachine
from ppgen.evaluation.data import Rows
from ppgen.evaluation.program import examine
from ppgen.inference.layout import sites
from ppgen.inference.machine_kernel import MachineKernel
from ppgen.pair import AnyPair
from ppgen.training.conditional import conditioned
from ppgen.training.convergence import effective_sample_size

MakeKernel = Callable[[BoltzmannMachine], MachineKernel[Any]]


def guide_draws(found: Sites, batch: Any, rows: int, count: int) -> Latents:
    """Independent draws of the guide, (count, rows, ...)."""
    with inference.attach(log_partition=0.0):  # a constant, of which no draw depends
        weights = inference.log_weights(found.pair, batch, count, vectorize=found.vectorize, layout=found.layout)
    each = count // len(weights.guide_traces)
    return {
        name: torch.cat([place.rows_first(sites(trace)[name]["value"], each, rows) for trace in weights.guide_traces])
        for name, place in found.places.items()
    }


def hmc_draws(pair: AnyPair, x: Any, kernel: inference.HMC, settings: Mapping[str, Any]) -> tuple[Latents, float]:
    """Chains of all data at once, thinned by their autocorrelation time: draws (L, rows, ...), and that time."""
    samples = inference.sample_posterior(pair, x, kernel=kernel, **settings)
    return thinned(samples.draws, slowest(samples.draws))


class MachineSimulation:
    """A Boltzmann machine with simulated data: the values of all other layers, and Gibbs chains given the data.

    Args:
        pair: A pair that is one Boltzmann machine.
        x: Data simulated from it, (rows, features).
        latents: Values at its undirected site, the side of the machine that the data do not stand on.

    Raises:
        ValueError: If the pair is anything else.
    """

    def __init__(self, pair: AnyPair, x: Any, latents: Mapping[str, Tensor]) -> None:
        if not isinstance(x, Tensor) or (found := examine(pair, Rows(x, pair)).machine) is None:
            raise ValueError(
                f"Gibbs chains are for models that are one Boltzmann machine (models.RBM, models.DBM); "
                f'{type(pair).__name__} is none. Use posterior="guide", or inference.HMC() for continuous latents.'
            )
        self.x = x
        with pair.running():
            self.machine, self.layer = conditioned(pair, x)
        energy = self.machine.base_energy
        side = 1 - self.layer % 2
        value = latents[found.site]
        other = energy.sample_opposite(value, side)  # the data among them stay what they are
        layers = {**energy.split(value, side), **energy.split(other, 1 - side)}
        self.truth = {energy.names[layer]: layers[layer] for layer in sorted(layers) if layer != self.layer}

    def draws(self, make_kernel: MakeKernel, settings: Mapping[str, Any]) -> tuple[Latents, float]:
        """Thinned draws of the layers that are not data, (L, rows, units), and the chains' autocorrelation time.

        Raises:
            TypeError: If no kernel was made.
        """
        kernel = make_kernel(self.machine)
        if not isinstance(kernel, MachineKernel):
            raise TypeError(f"posterior must return a kernel of the machine, got {type(kernel).__name__}.")
        tree = inference.sample(kernel, **settings)
        chains = {name: torch.from_numpy(tree.posterior[name].values) for name in self.truth}
        truth = next(iter(self.truth.values()))
        return thinned({name: value.to(truth.device, truth.dtype) for name, value in chains.items()}, slowest(chains))

    def densities(self, first: int, last: int, latents: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """log p(h) up to a constant of each row, and log p(v | h) of some rows, nats: each (draws, rows)."""
        energy = self._free.base_energy
        if energy.batch_shape:
            energy = energy.rows(torch.arange(first, last, device=self.x.device))
        free = BoltzmannMachine(energy.layers, energy.couplings)
        data = self.x[first:last].expand(len(next(iter(latents.values()))), -1, -1)
        layers = [latents.get(name, data) for name in energy.names]
        joint = -free.energy(torch.cat(layers, -1))
        neighbours = {
            energy.names[index]: layers[index]
            for index in (self.layer - 1, self.layer + 1)
            if 0 <= index < len(energy.names)
        }
        likelihood = free.conditional(energy.names[self.layer], given=neighbours).log_prob(data)
        return joint - likelihood, likelihood

    @property
    def _free(self) -> BoltzmannMachine:
        """The machine whose data are no constants."""
        energy = self.machine.base_energy
        units: Any = energy.units[self.layer]
        return BoltzmannMachine({**energy.layers, energy.names[self.layer]: units.units}, energy.couplings)


def slowest(draws: Mapping[str, Tensor]) -> float:
    """Longest autocorrelation time of all units, in steps, where chains of all rows are taken together.

    Args:
        draws: By site, (chains, steps, rows, ...).
    """
    times = [1.0]
    for value in draws.values():
        chains, steps, rows = value.shape[:3]
        values = value.reshape(chains, steps, rows, -1).double()
        spread = values.std((0, 1), correction=0).clamp(min=1e-300)
        values = (values - values.mean((0, 1))) / spread  # each row has a posterior of its own
        for unit in values.movedim(-1, 0):
            told = unit.permute(0, 2, 1).reshape(chains * rows, steps)
            told = told[told.var(-1) > 0]
            size = effective_sample_size(told) if len(told) else math.nan
            if size == size:
                times.append(told.numel() / size)
    return max(times)


def thinned(draws: Mapping[str, Tensor], time: float) -> tuple[Latents, float]:
    """Every so-manieth draw of each chain, chains one after another: (L, rows, ...)."""
    each = max(1, round(time))
    return {name: value[:, each - 1 :: each].flatten(0, 1) for name, value in draws.items()}, time
