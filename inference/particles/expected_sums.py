"""Expected log-weights under a guide whose discrete sites have more joint values than can be listed."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from ppgen.batch import split_batch
from ppgen.inference.elimination.enumerated import Enumerated, Variable
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
    sum over all sites, which is 0, in the term. A site that is marked to be drawn n times has its draws for values, of
    weight 1 / n each; where they carry no gradient, that of the weight is the score's.

    References:
        | DiCE: The Infinitely Differentiable Monte Carlo Estimator (Foerster et al., 2018),
          https://arxiv.org/abs/1802.05098

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
        expectations = _mean_over_draws if layout.sampled else _expectations
        columns = dict(zip(keys, expectations(law, [found[sign][1][name] for sign, name in keys]), strict=True))
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
                    inside = layout.inside(name)
                    value = columns[sign, name] if layout.plate is not None else columns[sign, name].unsqueeze(1)
                    value = _scale(name, site, frame) * (value if inside else value[:, :1])
                    factors.append(Factor.of_columns(name, sign, value, layout.plate, inside))
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


def _mean_over_draws(law: Summand, terms: Sequence[Potential]) -> list[Tensor]:
    """Mean of each term over draws, plate by plate: it feels the scores in the plates around it alone."""
    weighed = {name: _weight(law.variables, name, each) for name, each in law.potentials.items()}
    found: dict[int, Tensor] = {}
    for plates in {term.plates for term in terms}:
        outer = tuple(name for name in law.kept if name == PARTICLES or name in plates)
        inner = tuple(name for name in law.sizes if name in plates and name not in outer)
        upstream = {name: each for name, each in weighed.items() if each.plates <= {*outer, *inner}}
        own = [at for at, term in enumerate(terms) if term.plates == plates]
        part = replace(law, potentials=upstream, kept=(*outer, *inner))
        for at, mean in zip(own, _expectations(part, [terms[at] for at in own], normalised=False), strict=True):
            summed = mean.flatten(len(outer)).sum(-1) if inner else mean
            found[at] = summed.reshape(*summed.shape, *(1,) * (len(law.kept) - len(outer)))
    return [found[at] for at in range(len(terms))]


def _weight(variables: Mapping[str, Variable], name: str, own: Potential) -> Potential:
    """The weight of each value of a site: its probability; of each of n draws 1 / n, with the gradient of its score."""
    variable = variables[name]
    if not variable.drawn:
        return own
    score = torch.zeros_like(own.tensor) if variable.has_path else own.tensor - own.tensor.detach()
    return Potential(score - math.log(variable.size), own.dims, own.plates)


def _expectations(law: Summand, terms: Sequence[Potential], *, normalised: bool = True) -> list[Tensor]:
    """Expectation of each term under a law: a dimension for each plate that is kept.

    Args:
        law: The law.
        terms: The terms.
        normalised: Whether the law's sum is 1 at all parameters; else it is 1 here, and its gradient counts.
    """
    training = torch.is_grad_enabled()
    rows = dict(law.sizes) | {at: n for each in terms for at, n in zip(each.dims, each.tensor.shape, strict=True)}
    with torch.enable_grad():
        nothing = []
        for term in terms:
            sizes = dict(zip(term.dims, term.tensor.shape, strict=True))
            # Every term has all rows, or the sum over the rows of one would count another several times.
            sizes |= {plate: rows[plate] for plate in law.kept if rows.get(plate, 1) > 1}
            zeros = term.tensor.new_zeros(list(sizes.values()), requires_grad=True)
            nothing.append(Potential(zeros, tuple(sizes), term.plates | set(law.kept)))
        log_sum = law.log_density(more=nothing)
        total = (log_sum if normalised else log_sum.exp()).sum()
        shares = torch.autograd.grad(total, [each.tensor for each in nothing], create_graph=training)
    found = []
    for term, share, zero in zip(terms, shares, nothing, strict=True):
        value = term.aligned(zero.dims)
        # What cannot happen counts for nothing, though its log-density is infinite.
        weighed = torch.where(share == 0, 0.0, share * value.clamp(min=torch.finfo(value.dtype).min))
        found.append(summed_over_plates(Potential(weighed, zero.dims, zero.plates), law.kept).aligned(law.kept))
    return found
