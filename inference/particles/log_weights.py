"""Log-weights of particles: log p(x, z) - log q(z | x) for each particle and datum."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from ppgen.checks.arguments import check_count
from ppgen.checks.switches import check_switches
from ppgen.inference.elimination.marginal import Summand
from ppgen.inference.particles.factors import Factor, drawn_factor, joined_factor, site_factor
from ppgen.inference.particles.joint_states import JointStates, check_marginal, states_one_by_one
from ppgen.inference.particles.one_by_one import runs_one_by_one
from ppgen.inference.particles.particle_runs import LastSite, ParticleRun, draw, explained
from ppgen.inference.particles.row_weights import row_mean
from ppgen.inference.particles.sum_scales import check_one_by_one, scaled_sum
from ppgen.inference.structure.collapse import collapsed
from ppgen.inference.structure.dependencies import Dependencies
from ppgen.inference.structure.layout import Layout, find_layout
from ppgen.inference.structure.traces import Structure, data_factor, data_frame, sites, structure_of, unmasked

SUMMED_OUT = "_summed_out"  # name of the factor of all sites of the model in the data plate, some of them summed out


@dataclass(frozen=True)
class LogWeights:
    r"""Log-weights of one batch.

    .. math:: \log w_{kb} = \log p(x_b, z_{kb}) - \log q(z_{kb} \mid x_b)

    Attributes:
        factors: Log-density of each site with the plates that it lies in, in the order in which they are added up:
            those of the model, then those of the guide.
        num_particles: Particles K.
        num_rows: Rows B of the data plate at hand; 1 where there is no data plate, and all data are one datum.
        num_data: Size given to the data plate: rows at hand for `len(x)`, else the size of the data set.
        plate: Name of the data plate; None where there is none.
        shared: Whether latents outside the data plate are among them, so that a particle is one draw for all rows.
        added: What training adds to log-weights: factors whose sum is made first, group by group.
        divergences: By site, a divergence in closed form that stands for the site's two factors, as columns.
        drawn: Log-densities by which the guide's values were drawn, without scale and mask, where they are not the
            factors above: under a scale or a mask, and at values as drawn where there are leaves.
        model_traces: Trace of the model; one for each particle if they were run one after another.
        guide_traces: Trace of the guide; one for each particle if they were run one after another.
        leaves: Values at sites whose path is followed by itself, one for each run: as they were drawn, and as the leaf
            that the log-densities were computed from.
        log_mass: Log-probability under the guide of the states that each particle was given instead of drawing them,
            (particles, rows); None where all was drawn.
        num_states: States that the particles go through, the slowest first.
        structures: Sites of each run.
        summed: The part of the model that depends on the sites that are summed out, of each run.
        dependencies: Which draws each tensor was computed from; None if the run was not followed.
        row_weights: Weight of each row in a mean over rows, (rows,), of mean 1; None where all count alike.
    """

    factors: tuple[Factor, ...]
    num_particles: int
    num_rows: int
    num_data: int
    plate: str | None
    shared: bool = False
    added: tuple[tuple[Factor, ...], ...] = ()
    divergences: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    drawn: Mapping[str, Factor] = field(default_factory=dict, repr=False)
    model_traces: list[poutine.Trace] = field(default_factory=list, repr=False)
    guide_traces: list[poutine.Trace] = field(default_factory=list, repr=False)
    leaves: dict[str, list[tuple[Tensor, Tensor]]] = field(default_factory=dict, repr=False)
    log_mass: Tensor | None = None
    num_states: int = 1
    structures: tuple[Structure, ...] = ()
    summed: tuple[Summand, ...] = field(default=(), repr=False)
    dependencies: Dependencies | None = field(default=None, repr=False)
    row_weights: Tensor | None = None

    @cached_property
    def local(self) -> Tensor:
        """Terms inside the data plate, in nats: (particles, rows)."""
        total: Any = self._sum(inside=True)
        return torch.zeros(self.num_particles, self.num_rows) if total is None else total  # of no site at all

    @cached_property
    def outside(self) -> Tensor | None:
        """Terms outside of the data plate, in nats: (particles,); None if there are none."""
        total = self._sum(inside=False)
        return None if total is None else total.squeeze(1)

    @property
    def per_datum(self) -> Tensor:
        """Log-weight of each datum, in nats: (particles, rows).

        Raises:
            ValueError: If a latent lies outside the data plate, so that a particle has one weight for all rows.
        """
        if self.shared:
            raise ValueError(
                f"A latent of the guide lies outside plate {self.plate!r}, so that rows have no log-weights of their "
                "own: take the joint ones of all rows, weights.joint."
            )
        return self.local

    @cached_property
    def joint(self) -> Tensor:
        """Log-weight of all rows at hand together, in nats: (particles,)."""
        return self.local.sum(1) if self.outside is None else self.local.sum(1) + self.outside

    @cached_property
    def model_terms(self) -> dict[str, Tensor]:
        """Log-density of each site of the model, (particles or 1, rows or 1) inside and outside of the data plate.

        Where sites of the model are summed out, of those outside the data plate only.
        """
        found = {each.name: each.columns for each in self.factors if each.sign > 0 and each.name != SUMMED_OUT}
        return {**found, **{name: -each for name, each in self.divergences.items()}}

    @cached_property
    def guide_terms(self) -> dict[str, Tensor]:
        """Log-density of each site of the guide, (particles or 1, rows or 1) in and outside of the data plate."""
        found = {each.name: each.columns for each in self.factors if each.sign < 0}
        return {**found, **{name: each.new_zeros(each.shape) for name, each in self.divergences.items()}}

    @property
    def scores(self) -> dict[str, Tensor]:
        """Log-densities by which the guide's values were drawn, where they are others than `guide_terms`."""
        return {name: factor.columns for name, factor in self.drawn.items()}

    @cached_property
    def inside(self) -> frozenset[str]:
        """Names of the sites inside the data plate; all where there is none."""
        return frozenset(factor.name for factor in self.factors if factor.inside)

    def counted(self) -> tuple[Tensor, Tensor | None]:
        """Log-weights inside and outside the data plate whose mean over particles is the guide's expectation."""
        if self.log_mass is None:
            return self.local, self.outside
        frequency = self._frequency
        local = (frequency * self.local).masked_fill(frequency == 0, 0.0)
        return local, None if self.outside is None else frequency.mean(1) * self.outside

    def expectation(self, term: Tensor) -> Tensor:
        """Mean of a term, (particles or 1, rows or 1), under the guide: a scalar."""
        return row_mean(self, term if self.log_mass is None else self._frequency * term)

    def with_added(self, *groups: Sequence[Factor]) -> "LogWeights":
        """Log-weights with more factors; the sum of each group is made first."""
        return self._with_same_factors(added=(*self.added, *(tuple(group) for group in groups if group)))

    def with_divergence(self, name: str, columns: Tensor) -> "LogWeights":
        """Log-weights with the two factors of a site replaced by minus a divergence, (particles or 1, rows or 1)."""
        own = [factor for factor in self.factors if factor.name == name]
        exact = Factor.of_columns(name, -1, columns, self.plate, own[0].inside)
        group = (exact, *(replace(factor, sign=-factor.sign) for factor in own))
        return self.with_added(group)._with_same_factors(divergences={**self.divergences, name: columns})

    def with_values(self, local: Tensor, outside: Tensor | None = None) -> "LogWeights":
        """These log-weights with other numbers, (particles, rows) and (particles,), whose factors are not known."""
        factors = [Factor.of_columns("", 1, local, self.plate, inside=True)]
        if outside is not None:
            factors.append(Factor.of_columns("", 1, outside.unsqueeze(1), self.plate, inside=False))
        return replace(
            self, factors=tuple(factors), added=(), num_particles=len(local), num_rows=local.shape[1], divergences={}
        )

    def with_states(self, log_mass: Tensor, num_states: int) -> "LogWeights":
        """The log-weights of particles that go through some states, of this log-probability under the guide."""
        return self._with_same_factors(log_mass=log_mass, num_states=num_states)

    def of_data(self) -> "LogWeights":
        """The log-weights without their terms outside the data plate."""
        groups = tuple(tuple(each for each in group if each.inside) for group in self.added)
        return replace(self, factors=tuple(each for each in self.factors if each.inside), added=groups)

    def _with_same_factors(self, **changes: Any) -> "LogWeights":
        copy = replace(self, **changes)
        copy.__dict__["_sums"] = self._sums  # one graph for both
        return copy

    @property
    def _frequency(self) -> Tensor:
        mass: Any = self.log_mass
        return self.num_states * mass.exp()

    @cached_property
    def _sums(self) -> dict[bool, Tensor | None]:
        """Sums of the factors inside and outside the data plate: (particles, rows) and (particles, 1)."""
        terms: dict[bool, list[Tensor]] = {True: [], False: []}
        for factor in self.factors:
            terms[factor.inside].append(factor.signed)
        shapes = {True: (self.num_particles, self.num_rows), False: (self.num_particles, 1)}
        return {at: sum(each[1:], each[0]).expand(shapes[at]) if each else None for at, each in terms.items()}

    def _sum(self, inside: bool) -> Tensor | None:
        """Sum of the factors on one side of the data plate and of what training adds; None if there are none."""
        total = self._sums[inside]
        for group in self.added:
            more = [factor.signed for factor in group if factor.inside == inside]
            total = total + sum(more[1:], more[0]) if more and total is not None else total
        return total


def log_weights(
    pair: Any,
    batch: Any,
    num_particles: int = 1,
    *,
    vectorize: bool = True,
    layout: Layout | None = None,
    leaves: Collection[str] = (),
    sum_at_once: bool | None = None,
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
        sum_at_once: Whether the values of sites that are summed out are run at once; by default as particles are.

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
    check_count("num_particles", num_particles, wanted="at least 1")
    layout = layout if layout is not None else find_layout(pair, batch)
    return particle_weights(pair, batch, num_particles, layout, vectorize, leaves, sum_at_once)


def particle_weights(
    pair: Any,
    batch: Any,
    num_particles: int,
    layout: Layout,
    vectorize: bool = True,
    leaves: Collection[str] = (),
    sum_at_once: bool | None = None,
) -> LogWeights:
    """What `log_weights` gives, for arguments that were checked before, as those of a training step are."""
    at_once = vectorize if sum_at_once is None else sum_at_once
    if vectorize and num_particles > 1 and one_by_one(pair, batch, layout):
        vectorize = False
    if vectorize or num_particles == 1:
        return _weights_of(pair, batch, num_particles, layout, leaves, at_once)
    return joined([_weights_of(pair, batch, 1, layout, leaves, at_once) for _ in range(num_particles)])


def one_by_one(pair: Any, batch: Any, layout: Layout) -> bool:
    """Whether particles of the pair are run one by one though several were asked for at once; it is told once."""
    return runs_one_by_one(pair, batch, layout, lambda count: _weights_of(pair, batch, count, layout, (), True))


def joined(runs: Sequence[LogWeights]) -> LogWeights:
    """Log-weights of particles that were run one by one, below each other."""
    if len(runs) == 1:
        return runs[0]
    by_site = [{(factor.sign, factor.name): factor for factor in run.factors} for run in runs]
    guides = [{factor.name: factor for factor in run.factors if factor.sign < 0} | dict(run.drawn) for run in runs]
    return LogWeights(
        factors=tuple(joined_factor([found.get(key) for found in by_site]) for key in _merged_order(by_site)),
        num_particles=sum(run.num_particles for run in runs),
        num_rows=runs[0].num_rows,
        num_data=runs[0].num_data,
        plate=runs[0].plate,
        shared=runs[0].shared,
        drawn={
            name: joined_factor([found.get(name) for found in guides])
            for name in dict.fromkeys(name for run in runs for name in run.drawn)
        },
        model_traces=[trace for run in runs for trace in run.model_traces],
        guide_traces=[trace for run in runs for trace in run.guide_traces],
        leaves={
            name: [ends for run in runs for ends in run.leaves.get(name, ())] for run in runs for name in run.leaves
        },
        structures=tuple(structure for run in runs for structure in run.structures),
        summed=tuple(each for run in runs for each in run.summed),
    )


def _merged_order(runs: Sequence[Mapping[tuple[int, str], Factor]]) -> list[tuple[int, str]]:
    """Keys of all runs, so that each run finds its own in the order in which it has them, if they agree on one."""
    order: list[tuple[int, str]] = []
    for run in runs:
        at = 0
        for key in run:
            if key in order:
                at = max(at, order.index(key) + 1)
            else:
                order.insert(at, key)
                at += 1
    return order


def _weights_of(
    pair: Any, batch: Any, num_particles: int, layout: Layout, leaves: Collection[str], vectorize: bool
) -> LogWeights:
    """Log-weights of one run of guide and model."""
    if layout.marginalised:
        check_marginal(layout)
    states = None if vectorize else states_one_by_one(layout)
    if states is not None:
        check_one_by_one(layout)
    several = num_particles > 1 or (vectorize and layout.marginalised)
    alone = partial(_weights_of, pair, batch, 1, layout, (), False) if several else None
    with explained(alone, num_particles, layout) as last, pair.running():
        run = draw(pair, batch, num_particles, layout, states, leaves)
        return _added_up(run, num_particles, layout, last, states)


def _added_up(
    run: ParticleRun, num_particles: int, layout: Layout, last: LastSite, states: JointStates | None
) -> LogWeights:
    """Factors of all sites of a run."""
    model_sites, guide_sites = sites(run.model_traces[0]), sites(run.guide_trace)
    exact = any(site["infer"].get("posterior") == "exact" for site in guide_sites.values())
    summed_out = collapsed(model_sites, guide_sites) if exact and not layout.marginalised else {}
    left_out = {partner for _, partners in summed_out.values() for partner in partners}
    factors: list[Factor] = []
    drawn: dict[str, Factor] = {}
    num_data = num_rows = 0 if layout.plate is not None else 1
    for sign, found in ((1, model_sites), (-1, guide_sites)):
        for name, site in found.items():
            last.name = name
            if site["infer"].get("_deterministic") or name in left_out or (sign < 0 and name in summed_out):
                continue
            frame = data_frame(site, layout.plate)
            if frame is not None:
                num_data, num_rows = int(frame.full_size), int(frame.size)
            if sign > 0 and run.summed is not None and name in run.summed.potentials:
                continue
            each = [sites(trace)[name] for trace in run.model_traces] if sign > 0 else [site]
            if sign > 0 and name in layout.marginalised:  # a mask on a site leaves out its term, not its law
                parts = [drawn_factor(part, sign, layout) for part in each]
            else:
                given = summed_out[name][0] if name in summed_out else None
                given = run.densities.get(name) if sign < 0 else given
                parts = [site_factor(part, sign, layout, given) for part in each]
            factors.append(parts[0] if len(parts) == 1 else joined_factor(parts))
            if sign < 0 and not run.leaves and _altered(site, frame):
                drawn[name] = drawn_factor(site, sign, layout)
    if not num_rows:
        raise ValueError(f"No site was drawn inside plate {layout.plate!r}.")
    if states is not None:
        factors = _marginal(factors, states, num_particles, num_rows)
    if run.summed is not None and run.summed.potentials:
        last.name = run.summed.names[-1]
        columns = scaled_sum(run.summed, model_sites, num_rows, layout)
        factors.insert(0, Factor.of_columns(SUMMED_OUT, 1, columns, layout.plate, inside=True))
    if run.leaves:
        drawn = {name: drawn_factor(site, -1, layout) for name, site in sites(run.drawn).items()}
    return LogWeights(
        factors=tuple(factors),
        num_particles=num_particles,
        num_rows=num_rows,
        num_data=num_data,
        plate=layout.plate,
        shared=bool(layout.global_latents),
        drawn=drawn,
        model_traces=run.model_traces,
        guide_traces=[run.drawn],
        leaves={name: [ends] for name, ends in run.leaves.items()},
        structures=(structure_of(model_sites, guide_sites, layout.plate),),
        summed=() if run.summed is None else (run.summed,),
    )


def _marginal(factors: list[Factor], states: JointStates, num_particles: int, num_rows: int) -> list[Factor]:
    """Factors with those of the model in the data plate as one, whose states are summed out."""
    within = [factor for factor in factors if factor.sign > 0 and factor.inside]
    joint: Any = sum(factor.columns for factor in within)
    joint = joint.expand(states.count * num_particles, num_rows).reshape(states.count, num_particles, num_rows)
    marginal = Factor.of_columns(SUMMED_OUT, 1, joint.logsumexp(0), within[0].plate, inside=True)
    rest = [factor for factor in factors if factor not in within]
    cut = [replace(each, value=each.value[:num_particles]) if each.sign > 0 else each for each in rest]
    return [marginal, *cut]


def _altered(site: Any, frame: Any | None) -> bool:
    """Whether a scale or a mask stands between a site's log-density and the law of its draw."""
    scale = site["scale"]
    scaled = isinstance(scale, Tensor) or abs(scale / data_factor(frame) - 1) > 1e-6
    return scaled or site["mask"] is not None or unmasked(site["fn"]) is not site["fn"]
