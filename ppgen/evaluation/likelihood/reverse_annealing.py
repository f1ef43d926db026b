"""log p(x) under the law at which annealing of a machine ends: runs down from the datum, without any log Z."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppgen.batch import parts_of
from ppgen.distributions import BaseRatePath
from ppgen.distributions.machines.layered_energy import EVEN, LayeredEnergy
from ppgen.distributions.machines.mean_field import mean_field_inputs
from ppgen.distributions.units.units import join_layers
from ppgen.evaluation.blindness import unless_blind
from ppgen.evaluation.likelihood.importance import summarise
from ppgen.evaluation.likelihood.method import DOUBTFUL_LADDER, Advance, Annealing, LikelihoodMethod, Subject
from ppgen.evaluation.per_datum import PerDatum
from ppgen.evaluation.program import Program, VisibleLayer
from ppgen.inference.annealing.annealing import anneal, repeated_level
from ppgen.inference.structure.machine_sites import base_mean

ANNEALING_MODEL = (
    "in expectation a lower bound of log p of the annealing model, no bound of the machine's: low for data like the "
    "machine's own draws, high for data that the base rates explain better, both the less the longer the ladder"
)
_SWEEPS = 20  # mean-field sweeps for the even hidden layers of a deep machine


@torch.no_grad()
def raised(
    path: BaseRatePath,
    machine: VisibleLayer,
    rows: Callable[[int, int], Any],
    num_data: int,
    annealing: Annealing,
    *,
    seed: int,
    advance: Advance = None,
) -> PerDatum:
    r"""Reverse annealing importance sampling of every datum (RAISE).

    .. math:: \log w = \log f_1(x) - \log Z_A + \sum_{k=K}^{1} \log f_{\beta_{k-1}}(x_{k-1}) -
              \log f_{\beta_k}(x_{k-1}), \quad x_K = x, \; x_{k-1} \sim T_k(\cdot \mid x_k)

    The mean of w is the probability that annealing upwards along the same ladder ends in x. So the estimate is a lower
    bound, in expectation, of the log-likelihood of that *annealing model*, and needs no log Z. It is no bound of the
    machine's: averaged over the machine's own draws it lies below, by the divergence of the two laws, and at data that
    the base model explains better than the machine does it lies above. Both go to zero as the ladder grows. In a deep
    machine the even hidden layers are drawn from the mean-field posterior and weighed by it.

    References:
        Burda, Grosse and Salakhutdinov (2015), Accurate and conservative estimates of MRF log-likelihood using reverse
        annealing, arXiv:1412.8566.

    Args:
        path: Tempered laws from independent units to the machine; its energy may depend on the datum, in a batch shape
            of all data.
        machine: Where the data stand in it: an even layer.
        rows: Batch of the data from a first up to a last index.
        num_data: Number of data.
        annealing: Ladder and runs, which go down it; no level is compiled where the energy depends on the datum.
        seed: Seed of all randomness.
        advance: Called with the number of data done.
    """
    like, own = path.energy.parameters()[0], bool(path.energy.batch_shape)
    generator = torch.Generator(device=like.device).manual_seed(seed)
    betas, num_chains, block = annealing.betas, annealing.num_chains, annealing.block(num_data)
    found = np.empty((3, num_data))
    step: Callable[..., tuple[Tensor, Tensor]] | None = None
    for start in range(0, num_data, block):
        stop = min(start + block, num_data)
        x = parts_of(rows(start, stop))[machine.argument].to(like)
        part = path.rows(torch.arange(start, stop, device=like.device)) if own else path
        even, log_q = _even_side(part.energy, machine.layer, x.expand(num_chains, *x.shape), generator)
        first = part.move(even if own else even.flatten(0, 1), 1.0, generator)
        if step is None and not own:  # machine code serves all blocks but the last; what is a datum's own would not
            step = repeated_level(path, generator, first, len(betas) * num_chains * num_data, annealing.compile)
        whole = step if stop - start == block else None
        runs = anneal(part, betas, len(first), generator, start=first, compile=False, step=whole)
        log_f = -part.energy.to(torch.float64).free_energy(even.double(), EVEN)
        log_weights = runs.log_weights.view(num_chains, -1) + log_f - part.log_base_partition() - log_q
        found[:, start:stop] = np.stack(unless_blind(summarise(log_weights, pareto=False), runs.log_weights, part)[:3])
        if advance is not None:
            advance(stop)
    return PerDatum(found[0], found[1], found[2], None)


def _even_side(
    energy: LayeredEnergy, layer: int, x: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor | float]:
    """Even side with the data in their layer, (chains, rows, even units), and log q of the layers drawn beside them."""
    others = [each for each in energy.sides[EVEN] if each != layer]
    if not others:
        return x, 0.0
    inputs = mean_field_inputs(energy, {layer: x[0]}, _SWEEPS)
    pieces, log_q = {layer: x}, torch.zeros((), dtype=torch.float64, device=x.device)
    for other in others:
        units, input = energy.units[other], inputs[other].expand(*x.shape[:-1], -1)
        shape = (*input.shape[:-1], units.num_uniforms)
        uniform = torch.rand(shape, dtype=x.dtype, device=x.device, generator=generator)
        pieces[other] = units.sample(input, uniform)
        law = units.to(torch.float64).distribution(input.double())
        log_q = log_q + law.log_prob(pieces[other].double())
    return join_layers([pieces[each] for each in energy.sides[EVEN]]), log_q


class ReverseAnnealing(LikelihoodMethod):
    """A Boltzmann machine without any log Z, by annealing runs that go down from each datum."""

    name = "raise"
    kind = "estimate"
    anneals = True
    normalised = False
    doubt = DOUBTFUL_LADDER
    note = ANNEALING_MODEL

    @classmethod
    def applies(cls, program: Program, asked: str, num_data: int) -> bool:
        """Where it is asked for."""
        return asked == cls.name

    @classmethod
    def check(cls, program: Program, asked: str, log_partition: object = None) -> None:
        """Raise unless the model is a machine with the data on its even side, and no log Z is given."""
        if program.machine is None or program.machine.layer % 2:
            others = "'importance'" if program.energies else "'ais' or 'importance'"
            raise ValueError(
                "method='raise' anneals a Boltzmann machine down from the data in its first layer; this model is none. "
                f"Use method={others}."
            )
        if log_partition is not None:
            raise ValueError(
                "method='raise' needs no log Z: it anneals down from the data. Leave log_partition out, or use "
                "method='auto'."
            )

    def run(self, subject: Subject, advance: Advance = None) -> PerDatum:
        """The estimates, from the base rates of the data that the pair was trained on, where it knows them."""
        machine: Any = subject.program.machine
        energy = subject.energies[machine.site]
        path, rows = BaseRatePath(energy, base_mean(subject.pair, energy)), subject.rows
        return raised(path, machine, rows, len(rows), self.annealing, seed=self.seed, advance=advance)

    def describe(self) -> str:
        """Runs and levels."""
        return f"reverse AIS from each datum {self.annealing.describe()}"
