"""log p(x) of a Boltzmann machine of any depth, its hidden layers summed out by enumeration or by annealing."""

from typing import Any

import numpy as np
import torch

from ppgen.batch import parts_of
from ppgen.distributions import BaseRatePath
from ppgen.distributions.machines.enumeration import exact_log_partition
from ppgen.distributions.machines.layered_energy import LayeredEnergy
from ppgen.evaluation.blindness import unless_blind
from ppgen.evaluation.likelihood.importance import summarise
from ppgen.evaluation.likelihood.method import DOUBTFUL_LADDER, Advance, LikelihoodMethod, Subject
from ppgen.evaluation.partition.partition import enumerable
from ppgen.evaluation.per_datum import PerDatum
from ppgen.evaluation.program import Program
from ppgen.inference.annealing.annealing import anneal

# States of hidden layers times rows that "auto" sums over: seconds for machines of hundreds of units.
WORTH_ENUMERATING = 2**22
_AT_ONCE = 2**20  # states times rows whose free energies are held


def hidden_states(energy: LayeredEnergy, layer: int) -> float:
    """States to be summed over for one datum, all units of the layer being given."""
    like = energy.parameters()[0]
    clamped = energy.condition(layer, like.new_zeros(energy.units[layer].size))
    return clamped.num_states(clamped.smaller_side)


class HiddenEnumeration(LikelihoodMethod):
    r"""log p(x) of a Boltzmann machine exactly, its hidden layers summed out for each datum.

    .. math:: \log p(x) = \log Z(x) - \log Z, \quad Z(x) = \sum_h e^{-E(x, h)}
    """

    name = "exact"
    kind = "exact"

    @classmethod
    def applies(cls, program: Program, asked: str, num_data: int) -> bool:
        """To machines whose guide is not exact; under `"auto"` where the sum takes seconds."""
        if asked not in (cls.name, "auto") or not program.inexact_sites or program.machine is None:
            return False
        energy = program.energies[program.machine.site]
        states = hidden_states(energy, program.machine.layer)
        return asked == cls.name or (enumerable(energy) and states * num_data <= WORTH_ENUMERATING)

    @torch.no_grad()
    def run(self, subject: Subject, advance: Advance = None) -> PerDatum:
        """The sums.

        Raises:
            ValueError: If there are more than 2^20 states of the hidden layers on either side.
        """
        machine: Any = subject.program.machine
        energy, layer = subject.program.energies[machine.site], machine.layer
        (log_partition,) = subject.log_partitions.values()
        rows, num_data = subject.rows, len(subject.rows)
        block = max(1, int(_AT_ONCE // hidden_states(energy, layer)))
        values = np.empty(num_data)
        for start in range(0, num_data, block):
            stop = min(start + block, num_data)
            x = parts_of(rows(start, stop))[machine.argument]
            values[start:stop] = exact_log_partition(energy.condition(layer, x)).cpu().numpy() - log_partition
            if advance is not None:
                advance(stop)
        nothing = np.zeros(num_data)
        return PerDatum(values, nothing, nothing, None)

    def describe(self) -> str:
        """`exact`."""
        return "exact"


class HiddenAnnealing(LikelihoodMethod):
    r"""log p(x) of a Boltzmann machine with log Z(x) by annealing the machine whose visible layer is held at x.

    .. math:: \log p(x) \approx \log Z_A(x) + \log \frac{1}{M} \sum_m w_m - \log Z, \quad E[w] = Z(x) / Z_A(x)
    """

    name = "ais"
    anneals = True
    doubt = DOUBTFUL_LADDER

    @classmethod
    def applies(cls, program: Program, asked: str, num_data: int) -> bool:
        """To machines whose guide is not exact."""
        return asked == cls.name and bool(program.inexact_sites) and program.machine is not None

    @classmethod
    def check(cls, program: Program, asked: str, log_partition: object = None) -> None:
        """Raise where each row has a machine of its own."""
        if any(energy.batch_shape for energy in program.energies.values()):
            raise ValueError(
                f"method={asked!r} needs a machine with one log Z; the energy of this one depends on the datum, so "
                "each row has its own. Use method='auto', 'exact' or 'raise'."
            )

    @torch.no_grad()
    def run(self, subject: Subject, advance: Advance = None) -> PerDatum:
        """The estimates, with their errors by the delta method."""
        machine: Any = subject.program.machine
        energy, annealing = subject.program.energies[machine.site], self.annealing
        (log_partition,) = (each.value for each in subject.partitions.values())
        generator = torch.Generator(device=energy.parameters()[0].device).manual_seed(self.seed)
        rows, num_data = subject.rows, len(subject.rows)
        block = annealing.block(num_data)
        found = np.empty((3, num_data))
        for start in range(0, num_data, block):
            stop = min(start + block, num_data)
            x = parts_of(rows(start, stop))[machine.argument]
            path = BaseRatePath(energy.condition(machine.layer, x))
            # Not compiled: the values held are constants of the graph, another one for every block.
            runs = anneal(path, annealing.betas, annealing.num_chains, generator, compile=False)
            log_weights = runs.log_weights + (runs.log_base_partition - log_partition)
            found[:, start:stop] = np.stack(unless_blind(summarise(log_weights, pareto=False), log_weights, path)[:3])
            if advance is not None:
                advance(stop)
        return PerDatum(found[0], found[1], found[2], None)

    def describe(self) -> str:
        """Runs and levels."""
        return f"AIS of the hidden units {self.annealing.describe()}"
