"""Sites that are summed out, as draws and densities beside those of the guide."""

from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from ppgen.inference.elimination.posterior import draws
from ppgen.inference.particles.log_weights import LogWeights
from ppgen.inference.structure.layout import Layout
from ppgen.inference.structure.plates import PARTICLES, frames_of
from ppgen.inference.structure.traces import sites


def with_draws(weights: LogWeights, count: int, layout: Layout) -> poutine.Trace:
    """Trace of the guide with an exact draw of every site that is summed out, given the guide's values and the data.

    Args:
        weights: Log-weights of one run.
        count: Draws that it holds.
        layout: Structure of the pair.
    """
    (summed,), (model,) = weights.summed, weights.model_traces
    trace = weights.guide_traces[0].copy()
    drawn = draws(summed if PARTICLES in summed.sizes else summed.repeated(PARTICLES, count))
    for name, value in drawn.items():
        site = sites(model)[name]
        shape = [1] * -layout.particle_dim
        shape[layout.particle_dim] = count
        for frame in frames_of(site):
            shape[frame.dim] = frame.size
        placed = value.reshape(*shape, *site["fn"].event_shape)
        trace.add_node(name, **{**site, "value": placed if count > 1 else placed[0]})
    return trace


def marginal_densities(weights: LogWeights, count: int, layout: Layout) -> Any:
    """log p without the sites that are summed out, and log q: each inside, (draws, rows), and outside, (draws,)."""

    def total(terms: list[Tensor], shape: tuple[int, ...]) -> Tensor:
        summed: Any = torch.zeros(shape, dtype=torch.float64)
        for term in terms:
            summed = summed + term.double().cpu()
        return summed

    log_q = [
        total([each.columns for each in weights.factors if each.sign < 0 and each.inside], (count, layout.num_rows)),
        total([each.columns[:, 0] for each in weights.factors if each.sign < 0 and not each.inside], (count,)),
    ]
    outside = [] if weights.outside is None else [weights.outside]
    log_p = [log_q[0] + weights.local.double().cpu(), log_q[1] + total(outside, (count,))]
    return log_p, log_q
