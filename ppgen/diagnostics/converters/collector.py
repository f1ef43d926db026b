"""Runs of a pair with many draws, and the arrays that their traces hold."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.distributions.util import scale_and_mask
from pyro.poutine.messenger import Messenger
from torch import Tensor

from ppgen import inference
from ppgen.batch import split_batch, tensors_of
from ppgen.checks.arguments import check_count
from ppgen.checks.program_errors import WholePlates
from ppgen.checks.room import check_room
from ppgen.diagnostics.converters.dimensions import arrange, name_dimensions, plates
from ppgen.diagnostics.converters.summed_sites import marginal_densities, with_draws
from ppgen.inference.particles.broadcasting import vectorized
from ppgen.inference.particles.log_weights import LogWeights, one_by_one
from ppgen.inference.particles.sum_checks import check_sums
from ppgen.inference.structure.layout import Layout, find_layout
from ppgen.inference.structure.missing import filled
from ppgen.inference.structure.plates import PARTICLES
from ppgen.inference.structure.traces import data_factor, data_frame, sites, unconditioned
from ppgen.pair import AnyPair
from ppgen.trees import Group, to_array
from ppgen.undisturbed import forked

CHUNK = 10_000  # draws x rows at once
JOINT = "joint"
"""Variable of `log_likelihood` with the sum over the observed sites of a datum, where it has several."""


class EventNames(Messenger):
    """Notes the `infer` mapping of each site as the model states it; under `poutine.replay` the guide's replaces it."""

    def __init__(self) -> None:
        super().__init__()
        self.infer: dict[str, dict[str, Any]] = {}

    def _pyro_sample(self, msg: Any) -> None:
        if "event_dims" in msg["infer"]:
            self.infer[msg["name"]] = {"event_dims": msg["infer"]["event_dims"]}


@dataclass
class Collector:
    """Runs a pair with many draws at once and collects what its traces tell.

    Args:
        pair: Model and guide, prepared.
        num_samples: Draws of each group.
        chunk: Draws times rows that run at once.
        vectorize: False for programs that cannot broadcast over draws.
        dims: The user's names of dimensions, by site.
        names: The model's own, filled by the first run.
        left_out: What was left out and why, filled by the runs.
    """

    pair: AnyPair
    num_samples: int
    chunk: int
    vectorize: bool
    dims: Mapping[str, Sequence[str]] | None
    groups: dict[str, Group] = field(default_factory=dict)
    names: EventNames = field(default_factory=EventNames)
    left_out: list[str] = field(default_factory=list)
    layout: Layout | None = None
    observed: list[str] = field(default_factory=list)

    def posterior(self, batch: Any, *, predictive: bool, log_likelihood: bool) -> None:
        """Draws of the guide, their densities under both programs, and the data that the model observes."""
        layout = find_layout(self.pair, batch)
        self.vectorize = vectorized(self.pair, batch, layout, self.vectorize)
        with forked(self.pair.device):
            self._reference_trace(batch, layout)
        for count, guide, model, summed in self._pairs_of_traces(batch, layout):
            self._add("posterior", model, latents(model), count, layout)
            self._add_densities(model, guide, count, layout, log_likelihood, summed)
            if predictive:
                self._add_predictive("posterior_predictive", batch, guide, model, count, layout)
        self._add_all_observed(model, layout)
        if layout.points:
            self.left_out.append(
                f"log_q and log_weight, as the guide gives {', '.join(layout.points)} a point and no law (MAP)"
            )
        self.layout, self.observed = layout, self._data(model)

    def group(self, name: str) -> Group:
        """The group of that name, made at the first call."""
        return self.groups.setdefault(name, Group())

    def predictions(self, batch: Any) -> None:
        """Observed sites drawn anew, given draws of the guide; of new data they may be without a value."""
        if self.layout is not None and self._unobserved(batch, self.layout):
            self._predict(batch, self.layout)
            return
        layout = find_layout(self.pair, batch)
        for count, guide, model, _ in self._pairs_of_traces(batch, layout):
            self._add_predictive("predictions", batch, guide, model, count, layout)

    def _unobserved(self, batch: Any, layout: Layout) -> list[str]:
        """Sites that the data had values for and this batch has none, as that of `model(x, y=None)`."""
        with forked(self.pair.device):
            guide = self._run(self.pair.guide, batch, 1, layout)
            trace = self._run(poutine.replay(self.pair.model, trace=guide), batch, 1, layout)
        stated = sites(trace)
        return [name for name in self.observed if name in stated and not stated[name]["is_observed"]]

    def _predict(self, batch: Any, layout: Layout) -> None:
        for count in self._counts(batch):
            for part in self._parts(count, batch, layout):
                guide = self._run(self.pair.guide, batch, part, layout)
                model = self._run(unconditioned(poutine.replay(self.pair.model, trace=guide)), batch, part, layout)
                self._add("predictions", model, [name for name in self.observed if name in sites(model)], part, layout)

    def prior(self, batch: Any) -> None:
        """Draws of the model without data."""
        layout = find_layout(self.pair, batch)
        for count in self._counts(batch):
            for part in self._parts(count, batch, layout):
                trace = self._run(unconditioned(self.pair.model), batch, part, layout)
                self._add_prior(trace, part, layout)

    def _add_prior(self, trace: poutine.Trace, count: int, layout: Layout) -> None:
        """Draws of an unconditioned model."""
        observed = [name for name, site in sites(trace).items() if _was_data(site)]
        latent = [name for name in latents(trace) if name not in observed]
        observed = [name for name in observed if not self._is_prior(sites(trace)[name]["infer"]["obs"])]
        self._add("prior", trace, latent, count, layout)
        self._add("prior_predictive", trace, observed, count, layout)

    def _pairs_of_traces(self, batch: Any, layout: Layout) -> Any:
        """Numbers of draws, traces of the guide and the model, and the weights of those whose sums are eliminated."""
        if layout.marginalised:
            check_sums(self.pair, batch, layout)
        for count in self._counts(batch):
            if layout.marginalised:
                for part in self._parts(count, batch, layout):
                    weights = inference.log_weights(
                        self.pair, batch, part, vectorize=self.vectorize, layout=layout, sum_at_once=True
                    )
                    drawn = with_draws(weights, part, layout)
                    model = self._run(poutine.replay(self.pair.model, trace=drawn), batch, part, layout)
                    yield part, drawn, model, weights
                continue
            weights = inference.log_weights(self.pair, batch, count, vectorize=self.vectorize, layout=layout)
            each = count // len(weights.model_traces)
            for guide, model in zip(weights.guide_traces, weights.model_traces, strict=True):
                yield each, guide, model, None

    def _parts(self, count: int, batch: Any, layout: Layout) -> list[int]:
        """Draws that are run at once."""
        at_once = self.vectorize and (count == 1 or not one_by_one(self.pair, batch, layout))
        return [count] if at_once else [1] * count

    def _counts(self, batch: Any) -> list[int]:
        most = max(1, self.chunk // max((len(value) for value in tensors_of(batch)), default=1))
        return [min(most, self.num_samples - first) for first in range(0, self.num_samples, most)]

    def _reference_trace(self, batch: Any, layout: Layout) -> poutine.Trace:
        """One run of the model against the guide, which notes what the model calls its event dimensions."""
        guide = self._run(self.pair.guide, batch, 1, layout)
        return self._run(poutine.replay(self.names(self.pair.model), trace=guide), batch, 1, layout)

    def _run(self, program: Any, batch: Any, count: int, layout: Layout) -> poutine.Trace:
        args, kwargs = split_batch(batch)
        draws: Any = pyro.plate(PARTICLES, count, dim=layout.particle_dim) if count > 1 else nullcontext()
        with self.pair.running(), WholePlates("the tree"), draws:
            return poutine.trace(program).get_trace(*args, **kwargs)

    def _add(self, group: str, trace: poutine.Trace, names: Sequence[str], count: int, layout: Layout) -> None:
        variables, found = self.group(group), sites(trace)
        for name in names:
            if found[name]["value"].numel():  # pyro.factor has none
                variables.add(name, *self._variable(found[name], found[name]["value"], count, layout))

    def _add_predictive(
        self,
        group: str,
        batch: Any,
        guide: poutine.Trace,
        model: poutine.Trace,
        count: int,
        layout: Layout,
    ) -> None:
        program = unconditioned(poutine.replay(self.pair.model, trace=guide))
        self._add(group, self._run(program, batch, count, layout), self._data(model), count, layout)

    def _data(self, trace: poutine.Trace) -> list[str]:
        """Observed sites but those of parameters, whose laws are priors that the draws of the model do not use."""
        return [name for name in _observed(trace) if not self._is_prior(sites(trace)[name]["value"])]

    def _is_prior(self, value: Any) -> bool:
        """Whether what is observed is a parameter of the pair."""
        if not isinstance(value, Tensor) or not value.numel():
            return False
        where = value.untyped_storage().data_ptr()
        return any(parameter.untyped_storage().data_ptr() == where for parameter in self.pair.parameters())

    def _add_observed(self, site: Any, layout: Layout) -> None:
        value, event_dim = site["value"], site["fn"].event_dim
        if value.dim() - event_dim >= -layout.particle_dim:  # observed once, whatever the number of draws
            value = value.select(value.dim() - event_dim + layout.particle_dim, 0)
        if value.numel():
            variables = self.group("observed_data")
            variables.add(site["name"], *self._variable(site, value, 1, layout))

    def _variable(self, site: Any, value: Tensor, count: int, layout: Layout) -> tuple[Any, list[str]]:
        frames = plates(site, [PARTICLES])
        event_dim = _event_dim(site, frames, count, layout)
        value, found = arrange(value, event_dim, frames, count, layout.particle_dim)
        dims = name_dimensions(site["name"], found, self.dims, self.names.infer.get(site["name"], site["infer"]))
        return to_array(value, site["fn"].support), dims

    def _add_densities(
        self,
        model: poutine.Trace,
        guide: poutine.Trace,
        count: int,
        layout: Layout,
        log_likelihood: bool,
        summed: LogWeights | None = None,
    ) -> None:
        stats = self.group("sample_stats")
        if summed is None:
            log_p, log_q = log_density(model, count, layout), log_density(guide, count, layout)
        else:
            log_p, log_q = marginal_densities(summed, count, layout)
        if layout.global_latents or layout.plate is None:
            values, dims = [inside.sum(1) + outside for inside, outside in (log_p, log_q)], []
        else:
            values, dims = [log_p[0], log_q[0]], [layout.plate]
        named = {"log_p": values[0]}
        if not layout.points:  # a point has no log q, and its weight is the log joint
            named |= {"log_q": values[1], "log_weight": values[0] - values[1]}
        for name, value in named.items():
            stats.add(name, to_array(value), dims)
        stats.add("lp", to_array(log_p[0].sum(1) + log_p[1]), [])
        if log_likelihood:
            self._add_log_likelihood(model, count, layout, summed)

    def _add_log_likelihood(
        self, model: poutine.Trace, count: int, layout: Layout, summed: LogWeights | None = None
    ) -> None:
        each: dict[str, Any] = {}
        within = {} if summed is None else summed.summed[0].potentials
        joined = [name for name in _observed(model) if name in within]
        for name in _observed(model):
            site = sites(model)[name]
            if name in within or not site["value"].numel():
                continue
            if layout.plate is None:  # of the plates that there are
                told, names = _plated_log_density(site, count, layout)
                self.group("log_likelihood").add(name, to_array(told), names)
            elif data_frame(site, layout.plate) is not None:
                each[name] = to_array(site_log_density(site, count, layout))
        if within and summed is not None and layout.plate is not None:
            others = [name for name in within if name in layout.latent]
            if others:
                left = f"log_likelihood, as {others[0]} depends on sites that are summed out and is drawn by the guide"
                self.left_out += [left] if left not in self.left_out else []
                return
            density = summed.summed[0].log_density().expand(count, layout.num_rows)
            each[joined[0] if len(joined) == 1 else JOINT] = to_array(density.double().cpu())
            if len(joined) > 1 and len(each) > 1:
                each[JOINT] = sum(each.values())
        if not each:  # outside the data plate nothing is said of a datum
            return
        group, rows = self.group("log_likelihood"), [layout.row_plate]
        for name, value in each.items():
            group.add(name, value, rows)
        if len(each) > 1 and JOINT not in each:
            group.add(JOINT, sum(each.values()), rows)

    def _add_all_observed(self, model: poutine.Trace, layout: Layout) -> None:
        for name in self._data(model):
            self._add_observed(sites(model)[name], layout)


def _event_dim(site: Any, frames: Mapping[int, Any], count: int, layout: Layout) -> int:
    """Event dimensions of a site; `pyro.deterministic` takes all dimensions for them if it is not told."""
    value, event_dim = site["value"], site["fn"].event_dim
    if not site["infer"].get("_deterministic") or event_dim < value.dim():
        return event_dim
    batch = max((-dim for dim in frames), default=0)
    if count > 1 and value.dim() >= -layout.particle_dim and value.shape[0] == count:
        batch = -layout.particle_dim
    return max(value.dim() - batch, 0)


def latents(trace: poutine.Trace) -> list[str]:
    """Latent sites and deterministic ones."""
    return [
        name for name, site in sites(trace).items() if not site["is_observed"] or site["infer"].get("_deterministic")
    ]


def _observed(trace: poutine.Trace) -> list[str]:
    return [
        name for name, site in sites(trace).items() if site["is_observed"] and not site["infer"].get("_deterministic")
    ]


def _was_data(site: Any) -> bool:
    return bool(site["infer"].get("was_observed")) and not site["infer"].get("_deterministic")


def log_density(trace: poutine.Trace, count: int, layout: Layout) -> tuple[Tensor, Tensor]:
    """Sums of the sites inside the data plate, (draws, rows), and outside of it, (draws,)."""
    inside: Any = torch.zeros(count, 1, dtype=torch.float64)
    outside: Any = torch.zeros(count, dtype=torch.float64)
    for site in sites(trace).values():
        if data_frame(site, layout.plate) is not None:
            inside = inside + site_log_density(site, count, layout)
        else:
            outside = outside + site_log_density(site, count, layout)
    return inside, outside


def site_log_density(site: Any, count: int, layout: Layout) -> Tensor:
    """Log-density of a site with its scale and mask, float64: (draws, rows), outside the plate (draws,)."""
    return _plated_log_density(site, count, layout, {layout.plate})[0]


def _plated_log_density(
    site: Any, count: int, layout: Layout, kept: Collection[str | None] | None = None
) -> tuple[Tensor, list[str]]:
    """Log-density of a site summed over all but draws and its plates, or those that are kept, with their names."""
    frame = data_frame(site, layout.plate)
    value = filled(site) if site["is_observed"] else site["value"]
    log_prob = site["fn"].log_prob(value, *site["args"], **site["kwargs"])
    log_prob = scale_and_mask(log_prob, site["scale"] / data_factor(frame), site["mask"])
    value, names = arrange(log_prob, 0, plates(site, [PARTICLES]), count, layout.particle_dim)
    left = [name for name in names if name is not None and (kept is None or name in kept)]
    others = [index for index, name in enumerate(names, start=1) if name not in left]
    return (value.sum(others) if others else value).double().cpu(), left


def check_counts(**counts: Any) -> None:
    """Raise unless each number, named by its argument, is a positive integer.

    Raises:
        ValueError: If one is not.
    """
    for name, value in counts.items():
        check_count(name, value, wanted="a positive integer")
        if name != "chunk":
            check_room(name, value)
