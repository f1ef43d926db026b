"""Log-weights of particles: log p(x, z) - log q(z | x) for each particle and datum."""

import contextlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from torch import Tensor

from ppgen.checks.switches import check_switches
from ppgen.inference.particles.constant_parameters import constant_parameters
from ppgen.inference.particles.joint_states import Forced, JointStates, marginal_states
from ppgen.inference.particles.log_prob import PARTICLES, drawn_log_prob, summed_log_prob
from ppgen.inference.structure.collapse import collapsed
from ppgen.inference.structure.layout import Layout, find_layout
from ppgen.inference.structure.traces import Structure, data_factor, data_frame, sites, structure_of, unmasked
from ppgen.pair import split_batch


@dataclass(frozen=True)
class LogWeights:
    r"""Log-weights of one batch.

    .. math:: \log w_{kb} = \log p(x_b, z_{kb}) - \log q(z_{kb} \mid x_b)

    Attributes:
        local: Terms inside the data plate, in nats: (particles, rows).
        outside: Terms outside of it, in nats: (particles,); None if there are none.
        shared: Whether latents outside the data plate are among them, so that a particle is one draw for all rows.
        num_data: Size given to the data plate: rows at hand for `len(x)`, else the size of the data set.
        model_traces: Trace of the model; one for each particle if they were run one after another.
        guide_traces: Trace of the guide; one for each particle if they were run one after another.
        model_terms: Log-density of each site of the model, (particles or 1, rows) inside the data plate and
            (particles or 1, 1) outside of it; one for each particle below another if they were run one by one. Where
            sites of the model are summed out, of the sites outside the data plate only.
        guide_terms: Log-density of each site of the guide, (particles or 1, rows) inside the data plate, (particles or
            1, 1) outside of it.
        inside: Names of the sites inside the data plate.
        leaves: Values at sites whose path is followed by itself, one for each run: as they were drawn, and as the leaf
            that the log-densities were computed from.
        log_mass: Log-probability under the guide of the states that each particle was given instead of drawing them,
            (particles, rows); None where all was drawn.
        num_states: States that the particles go through, the slowest first.
        structures: Sites of each run.
        scores: Log-densities by which the guide's values were drawn, without scale and mask, where they are not the
            terms above: under a scale or a mask, and at values as drawn where there are leaves.
    """

    local: Tensor
    outside: Tensor | None
    num_data: int
    shared: bool = False
    model_traces: list[poutine.Trace] = field(default_factory=list, repr=False)
    guide_traces: list[poutine.Trace] = field(default_factory=list, repr=False)
    model_terms: dict[str, Tensor] = field(default_factory=dict, repr=False)
    guide_terms: dict[str, Tensor] = field(default_factory=dict, repr=False)
    inside: frozenset[str] = frozenset()
    leaves: dict[str, list[tuple[Tensor, Tensor]]] = field(default_factory=dict, repr=False)
    scores: dict[str, Tensor] = field(default_factory=dict, repr=False)
    log_mass: Tensor | None = None
    num_states: int = 1
    structures: tuple[Structure, ...] = ()

    def counted(self) -> tuple[Tensor, Tensor | None]:
        """Log-weights inside and outside the data plate whose mean over particles is the guide's expectation."""
        if self.log_mass is None:
            return self.local, self.outside
        frequency = self._frequency
        local = (frequency * self.local).masked_fill(frequency == 0, 0.0)
        return local, None if self.outside is None else frequency.mean(1) * self.outside

    def expectation(self, term: Tensor) -> Tensor:
        """Mean of a term, (particles or 1, rows or 1), under the guide: a scalar."""
        return term.mean() if self.log_mass is None else (self._frequency * term).mean()

    @property
    def _frequency(self) -> Tensor:
        mass: Any = self.log_mass
        return self.num_states * mass.exp()


def log_weights(
    pair: Any,
    batch: Any,
    num_particles: int = 1,
    *,
    vectorize: bool = True,
    layout: Layout | None = None,
    leaves: Collection[str] = (),
) -> LogWeights:
    """Run the guide and the model against it, and add up the log-densities of each particle and datum.

    A user's own scales and masks are kept; the factor by which the data plate scales its sites is divided out. At
    undirected sites log Z must be attached, or a handler around the call must supply it.

    Args:
        pair: A pair.
        batch: A batch of data: a tensor, a tuple or a mapping.
        num_particles: Draws of the guide for each datum.
        vectorize: Whether all particles are drawn at once, in a plate left of the deepest one; else one by one.
        layout: Structure of the pair, if it is known.
        leaves: Sites whose values become leaves, and the parameters of the guide constants of its log-densities.

    Raises:
        ValueError: If there is no particle, or the program cannot broadcast over particles.

    Example:
        >>> import torch
        >>> from ppgen import inference, models
        >>> vae = models.VAE(features=4, latent=2, hidden=(3,))
        >>> inference.log_weights(vae, torch.ones(5, 4), num_particles=7).local.shape
        torch.Size([7, 5])
    """
    check_switches(vectorize=vectorize)
    if isinstance(num_particles, bool) or not isinstance(num_particles, int) or num_particles < 1:
        raise ValueError(f"num_particles must be at least 1, got {num_particles!r}.")
    layout = layout if layout is not None else find_layout(pair, batch)
    if vectorize or num_particles == 1:
        return _run(pair, batch, num_particles, layout, leaves, vectorize)
    runs = [_run(pair, batch, 1, layout, leaves, False) for _ in range(num_particles)]
    outside = None
    if any(run.outside is not None for run in runs):
        outside = torch.cat([run.local.new_zeros(1) if run.outside is None else run.outside for run in runs])
    guide_terms = _joined([run.guide_terms for run in runs])
    altered = {name: None for run in runs for name in run.scores}
    return LogWeights(
        torch.cat([run.local for run in runs]),
        outside,
        runs[0].num_data,
        runs[0].shared,
        [trace for run in runs for trace in run.model_traces],
        [trace for run in runs for trace in run.guide_traces],
        _joined([run.model_terms for run in runs]),
        guide_terms,
        frozenset().union(*(run.inside for run in runs)),
        {name: [ends for run in runs for ends in run.leaves.get(name, ())] for run in runs for name in run.leaves},
        _joined([{name: {**run.guide_terms, **run.scores}.get(name) for name in altered} for run in runs]),
        structures=tuple(structure for run in runs for structure in run.structures),
    )


def _joined(runs: Sequence[Mapping[str, Tensor | None]]) -> dict[str, Tensor]:
    """Terms of runs below each other; 0 where a run did not draw the site."""
    found: dict[str, Tensor] = {}
    for run in runs:
        for name, term in run.items():
            if term is not None and name not in found:
                rest = [torch.zeros_like(term[:1]) if (each := other.get(name)) is None else each for other in runs]
                found[name] = torch.cat(rest)
    return found


def _run(
    pair: Any, batch: Any, num_particles: int, layout: Layout, leaves: Collection[str] = (), vectorize: bool = True
) -> LogWeights:
    args, kwargs = split_batch(batch)
    model, guide = pair.model, pair.guide
    last = _LastSite()
    summed = marginal_states(layout)
    several = num_particles > 1 or (vectorize and summed is not None)
    try:
        with pair.running(), last if several else contextlib.nullcontext():
            drawn = guide_trace = _particle_trace(guide, num_particles, layout, args, kwargs)
            cut: dict[str, tuple[Any, Any]] = {}
            if leaves:
                chosen = [name for name in leaves if name in drawn.nodes]
                cut = {name: (drawn.nodes[name]["value"], _leaf(drawn.nodes[name]["value"])) for name in chosen}
                values = drawn.copy()
                for name, (_, leaf) in cut.items():
                    values.nodes[name] = {**values.nodes[name], "value": leaf}
                with constant_parameters(pair, drawn):
                    again = poutine.replay(guide, trace=values)
                    guide_trace = _particle_trace(again, num_particles, layout, args, kwargs)
            if summed is None:
                replayed = poutine.replay(model, trace=guide_trace)
                model_traces = [_particle_trace(replayed, num_particles, layout, args, kwargs)]
            else:
                model_traces = _traces_of_states(
                    model, guide_trace, summed, num_particles, layout, vectorize, args, kwargs
                )
            weights = _add_up(model_traces, guide_trace, num_particles, layout, last, summed)
            if not leaves:
                return weights
            scores = {
                name: drawn_log_prob(site, data_frame(site, layout.plate), layout)
                for name, site in sites(drawn).items()
            }
            return replace(
                weights, leaves={name: [ends] for name, ends in cut.items()}, scores=scores, guide_traces=[drawn]
            )
    except (RuntimeError, ValueError, IndexError) as error:
        if not several or not _runs_alone(pair, batch, layout):
            raise
        count = num_particles if summed is None else num_particles * summed.count
        raise ValueError(
            f"The program could not run {count} particles at once: at or after site {last.name!r}: {error}. "
            f"Particles are a dimension to the left of every plate (dim={layout.particle_dim}); index the data from "
            "the right (x[..., i]), or pass vectorize_particles=False to the objective to run them one by one."
        ) from error


def _traces_of_states(
    model: Any,
    guide_trace: poutine.Trace,
    states: JointStates,
    num_particles: int,
    layout: Layout,
    vectorize: bool,
    args: Any,
    kwargs: Any,
) -> list[poutine.Trace]:
    """Traces of the model in all joint states of the sites that are summed out: one of them all, or one for each."""
    if not vectorize:
        with Forced(states, layout, 1, vectorized=False):
            replayed = poutine.replay(model, trace=guide_trace)
            return [_particle_trace(replayed, 1, layout, args, kwargs) for _ in range(states.count)]
    count = states.count * num_particles
    repeated = guide_trace
    if num_particles > 1:
        repeated = guide_trace.copy()
        for name, site in sites(guide_trace).items():
            value = site["value"]
            if value.dim() - site["fn"].event_dim == -layout.particle_dim:
                value = value.repeat((states.count,) + (1,) * (value.dim() - 1))
                repeated.nodes[name] = {**site, "value": value}
    with Forced(states, layout, num_particles, vectorized=count > 1):
        return [_particle_trace(poutine.replay(model, trace=repeated), count, layout, args, kwargs)]


def _particle_trace(function: Any, num_particles: int, layout: Layout, args: Any, kwargs: Any) -> poutine.Trace:
    if num_particles == 1:
        return poutine.trace(function).get_trace(*args, **kwargs)
    with pyro.plate(PARTICLES, num_particles, dim=layout.particle_dim):
        return poutine.trace(function).get_trace(*args, **kwargs)


def _leaf(value: Any) -> Any:
    return value.detach().requires_grad_()


def _add_up(
    model_traces: list[poutine.Trace],
    guide_trace: poutine.Trace,
    num_particles: int,
    layout: Layout,
    last: "_LastSite",
    states: JointStates | None = None,
) -> LogWeights:
    num_data, num_rows = 0, 0
    within: set[str] = set()
    model_sites, guide_sites = sites(model_traces[0]), sites(guide_trace)
    summed_out = {} if states is not None else collapsed(model_sites, guide_sites)
    left_out = {partner for _, partners in summed_out.values() for partner in partners}
    terms: dict[int, dict[str, Tensor]] = {1: {}, -1: {}}
    scores: dict[str, Tensor] = {}
    for sign, found in ((1, model_sites), (-1, guide_sites)):
        for name, site in found.items():
            last.name = name
            if site["infer"].get("_deterministic") or name in left_out or (sign < 0 and name in summed_out):
                continue
            frame = data_frame(site, layout.plate)
            if frame is not None:
                within.add(name)
                num_data, num_rows = int(frame.full_size), int(frame.size)
            if sign > 0 and name in layout.marginalised:  # a mask on a site leaves out its term, not its law
                parts = [drawn_log_prob(sites(trace)[name], frame, layout) for trace in model_traces]
            elif sign > 0 and len(model_traces) > 1:
                parts = [summed_log_prob(sites(trace)[name], frame, layout) for trace in model_traces]
            else:
                parts = [summed_log_prob(site, frame, layout, summed_out[name][0] if name in summed_out else None)]
            terms[sign][name] = parts[0] if len(parts) == 1 else torch.cat(parts)
            if sign < 0 and _altered(site, frame):
                scores[name] = drawn_log_prob(site, frame, layout)
    if not within:
        raise ValueError(f"No site was drawn inside plate {layout.plate!r}.")
    marginal: Tensor | None = None
    if states is not None:
        marginal, terms[1] = _marginal(terms[1], within, states, num_particles, num_rows)
    inside: list[Tensor] = [] if marginal is None else [marginal]
    outside: list[Tensor] = []
    for sign, densities in terms.items():
        for name, density in densities.items():
            (inside if name in within else outside).append(sign * density)
    return LogWeights(
        sum(inside[1:], inside[0]).expand(num_particles, num_rows),
        sum(outside[1:], outside[0]).squeeze(1).expand(num_particles) if outside else None,
        num_data,
        bool(layout.global_latents),
        model_traces,
        [guide_trace],
        terms[1],
        terms[-1],
        frozenset(within),
        scores=scores,
        structures=(structure_of(model_sites, guide_sites, layout.plate),),
    )


def _marginal(
    terms: dict[str, Tensor], within: set[str], states: JointStates, num_particles: int, num_rows: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """Density of the model in the data plate, summed over states, (particles, rows); the terms outside of the plate."""
    joint: Any = sum(term for name, term in terms.items() if name in within)
    joint = joint.expand(states.count * num_particles, num_rows).reshape(states.count, num_particles, num_rows)
    return joint.logsumexp(0), {name: term[:num_particles] for name, term in terms.items() if name not in within}


def _altered(site: Any, frame: Any | None) -> bool:
    """Whether a scale or a mask stands between a site's log-density and the law of its draw."""
    scale = site["scale"]
    scaled = isinstance(scale, Tensor) or abs(scale / data_factor(frame) - 1) > 1e-6
    return scaled or site["mask"] is not None or unmasked(site["fn"]) is not site["fn"]


def _runs_alone(pair: Any, batch: Any, layout: Layout) -> bool:
    """Whether the program runs with one particle, so that an error came from running several at once."""
    try:
        with torch.no_grad():
            _run(pair, batch, 1, layout, vectorize=False)
    except (RuntimeError, ValueError, IndexError):
        return False
    return True


class _LastSite(Messenger):
    """Remembers the last sample statement, to name it when a program fails."""

    def __init__(self) -> None:
        super().__init__()
        self.name = ""

    def _pyro_sample(self, msg: Any) -> None:
        self.name = msg["name"]
