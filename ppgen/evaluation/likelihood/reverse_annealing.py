"""log p(x) under the law at which annealing of a machine ends: runs down from the datum, without any log Z."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ppgen.distributions import BaseRatePath
from ppgen.distributions.machines.layered_energy import EVEN, LayeredEnergy
from ppgen.distributions.machines.mean_field import mean_field_inputs
from ppgen.distributions.units.layer_draws import join_layers
from ppgen.evaluation.blindness import unless_blind
from ppgen.evaluation.likelihood.importance import summarise
from ppgen.evaluation.per_datum import PerDatum
from ppgen.evaluation.program import VisibleLayer
from ppgen.inference.annealing.annealing import anneal, repeated_level
from ppgen.pair import split_batch

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
    *,
    betas: Sequence[float],
    num_chains: int,
    chunk: int,
    seed: int,
    compile: bool | Literal["auto"] = "auto",
    advance: Callable[[int], None] | None = None,
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
        betas: Ladder from 0 to 1.
        num_chains: Runs of each datum.
        chunk: Runs that go down together, which bounds the memory.
        seed: Seed of all randomness.
        compile: Whether the level that is repeated is compiled; never where the energy depends on the datum.
        advance: Called with the number of data done.
    """
    like, own = path.energy.parameters()[0], bool(path.energy.batch_shape)
    generator = torch.Generator(device=like.device).manual_seed(seed)
    block = max(1, min(chunk // num_chains, num_data))
    found = np.empty((3, num_data))
    step: Callable[..., tuple[Tensor, Tensor]] | None = None
    for start in range(0, num_data, block):
        stop = min(start + block, num_data)
        args, kwargs = split_batch(rows(start, stop))
        x = [*args, *kwargs.values()][machine.argument].to(like)
        part = path.rows(torch.arange(start, stop, device=like.device)) if own else path
        even, log_q = _even_side(part.energy, machine.layer, x.expand(num_chains, *x.shape), generator)
        first = part.move(even if own else even.flatten(0, 1), 1.0, generator)
        if step is None and not own:  # machine code serves all blocks but the last; what is a datum's own would not
            step = repeated_level(path, generator, first, len(betas) * num_chains * num_data, compile)
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
