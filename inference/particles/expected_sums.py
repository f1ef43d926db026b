"""Expected log-weights under a guide whose discrete sites have more joint values than can be listed."""

from collections.abc import Collection, Sequence
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from ppgen.batch import split_batch
from ppgen.inference.elimination.enumerated import Enumerated
from ppgen.inference.elimination.marginal import Summand, summand
from ppgen.inference.elimination.potentials import Potential, summed_over_plates
from ppgen.inference.elimination.repeats import shared
from ppgen.inference.elimination.site_potentials import site_potentials
from ppgen.inference.particles.factors import Factor, site_factor
from ppgen.inference.particles.log_weights import LogWeights
from ppgen.inference.particles.particle_runs import particle_trace
from ppgen.inference.structure.layout import Layout
from ppgen.inference.structure.plates import PARTICLES
from ppgen.inference.structure.traces import data_factor, data_frame, sites, structure_of


def expected_log_weights(
    pair: Any, batch: Any, num_particles: int, layout: Layout, names: Collection[str]
) -> LogWeights:
    r"""Log-weights whose terms are expectations over discrete sites of the guide, by variable elimination.

    .. math:: E_{q(d \mid x)}[\log p(x, d) - \log q(d \mid x)]
        = \sum_i \langle q(d_i \mid x), \log p_i(d_i) \rangle - \sum_j \langle q(d_j \mid x), \log q_j(d_j) \rangle

    Each term needs the probabilities of the sites in it alone. Those are the gradient of the logarithm of the guide's
    sum over all sites, which is 0, in the term.

    Args:
        pair: A pair.
        batch: A batch of data.
        num_particles: Draws of the guide's other sites.
        layout: Structure of the pair.
        names: The sites.
    """
    with pair.running():
        drawn, stated, law, terms = run_with_all_values(pair, batch, num_particles, layout, names)
        found = {1: (sites(stated), terms), -1: (sites(drawn), dict(law.potentials))}
        keys = [(sign, name) for sign, (_, terms) in found.items() for name in terms]
        columns = dict(zip(keys, _expectations(law, [found[sign][1][name] for sign, name in keys]), strict=True))
        factors: list[Factor] = []
        num_data = num_rows = 0 if layout.plate is not None else 1
        for sign, (each, _) in found.items():
            for name, site in each.items():
                if site["infer"].get("_deterministic"):
                    continue
                frame = data_frame(site, layout.plate)
                if frame is not None:
                    num_data, num_rows = int(frame.full_size), int(frame.size)
                if (sign, name) in columns:
                    value = columns[sign, name] if layout.plate is not None else columns[sign, name].unsqueeze(1)
                    value = _scale(name, site, frame) * value
                    factors.append(Factor.of_columns(name, sign, value, layout.plate, inside=True))
                else:
                    factors.append(site_factor(site, sign, layout))
    return LogWeights(
        factors=tuple(factors),
        num_particles=num_particles,
        num_rows=num_rows,
        num_data=num_data,
        plate=layout.plate,
        shared=bool(layout.global_latents),
        model_traces=[stated],
        guide_traces=[drawn],
        structures=(structure_of(sites(stated), sites(drawn), layout.plate),),
    )


def _scale(name: str, site: Any, frame: Any | None) -> Any:
    """What a site is scaled by beside the data plate, which the law of its values does not feel."""
    scale = site["scale"]
    if isinstance(scale, Tensor) and scale.dim():
        raise ValueError(
            f"Site {name!r} is scaled by a tensor of several numbers, and sites of the guide are summed out by "
            "elimination: scale it by one number, or give those sites inference.ScoreFunction()."
        )
    return scale / data_factor(frame)


def run_with_all_values(
    pair: Any, batch: Any, num_particles: int, layout: Layout, names: Collection[str]
) -> tuple[poutine.Trace, poutine.Trace, Summand, dict[str, Potential]]:
    """Traces of guide and model with all values of some sites of the guide, its law of them, and the model's terms."""
    args, kwargs = split_batch(batch)
    kept = (PARTICLES,) if layout.plate is None else (PARTICLES, layout.plate)

    def run() -> tuple[poutine.Trace, poutine.Trace, Summand, dict[str, Potential]]:
        with Enumerated(names, layout.particle_dim - 1) as enumerated:
            drawn = particle_trace(pair.guide, num_particles, layout, args, kwargs)
            law = summand(sites(drawn), enumerated, kept)
            replayed = poutine.replay(pair.model, trace=drawn)
            stated = particle_trace(replayed, num_particles, layout, args, kwargs)
            return drawn, stated, law, site_potentials(sites(stated), enumerated, kept)

    found: tuple[poutine.Trace, poutine.Trace, Summand, dict[str, Potential]] = shared(run)
    return found


def _expectations(law: Summand, terms: Sequence[Potential]) -> list[Tensor]:
    """Expectation of each term under a normalised law: a dimension for each plate that is kept."""
    training = torch.is_grad_enabled()
    with torch.enable_grad():
        nothing = []
        for term in terms:
            sizes = dict(zip(term.dims, term.tensor.shape, strict=True))
            sizes |= {plate: law.sizes[plate] for plate in law.kept if law.sizes.get(plate, 1) > 1}
            zeros = term.tensor.new_zeros(list(sizes.values()), requires_grad=True)
            nothing.append(Potential(zeros, tuple(sizes), term.plates | set(law.kept)))
        total = law.log_density(more=nothing).sum()
        shares = torch.autograd.grad(total, [each.tensor for each in nothing], create_graph=training)
    found = []
    for term, share, zero in zip(terms, shares, nothing, strict=True):
        value = term.aligned(zero.dims)
        # What cannot happen counts for nothing, though its log-density is infinite.
        weighed = torch.where(share == 0, 0.0, share * value.clamp(min=torch.finfo(value.dtype).min))
        found.append(summed_over_plates(Potential(weighed, zero.dims, zero.plates), law.kept).aligned(law.kept))
    return found
