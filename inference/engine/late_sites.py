"""Sites that come and go from call to call: known at each run, planned when first met, or refused by name."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

import torch
from pyro.poutine import Trace
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample

from ppgen.inference.engine.plan import late_estimator
from ppgen.inference.estimators.estimator import Estimator, check_order
from ppgen.inference.particles.log_weights import LogWeights
from ppgen.inference.structure.layout import Layout, find_layout, read_layout
from ppgen.inference.structure.plates import PARTICLES
from ppgen.inference.structure.traces import Structure, sites

_MOST = 1000  # structures remembered; of a random subsample of sites there are more than can be met


class Structures:
    """The sites of a pair as far as they were met, and the estimator of each that the guide draws.

    A program may draw other sites at another call: a sequence as long as the longest of the batch, a plate that is a
    loop over a random subsample, a branch taken at random. Each run is held against what is known, by names alone. A
    new site is planned as `"auto"` or the estimator given for all sites would have planned it from the start; what must
    know all sites beforehand (sums over states, draws in pairs) refuses it.

    Args:
        inference: What is done.
        layout: Structure of the pair in its first run.
        plan: Estimator by site.
    """

    def __init__(self, inference: Any, layout: Layout, plan: dict[str, Any]) -> None:
        self.inference, self.layout, self.plan = inference, layout, plan
        self._known = set(layout.structure)
        self._met: set[Structure] = set()

    @property
    def scored(self) -> list[str]:
        """Sites whose draws carry no gradient and are scored."""
        return [name for name, estimator in self.plan.items() if estimator is not None and estimator.scores]

    @property
    def leaves(self) -> Collection[str]:
        """Sites whose values become leaves of the log-densities, also those planned later."""
        return _Leaves(self.plan)

    def late(self, msg: Any) -> None:
        """Plan a site that the guide is about to draw for the first time."""
        self.plan[msg["name"]] = late_estimator(self.inference, msg, self.plan, self.layout)

    def learn_sites(self, pair: Any, batch: Any) -> None:
        """Learn the sites of a batch by a run of its own, before the step is traced."""
        fresh = find_layout(pair, batch)
        if new := set(fresh.structure) - self._known:
            for name in fresh.latent:
                if name not in self.plan:
                    marks = {"enumerate": "parallel"} if name in fresh.marked else {}
                    kind = {"posterior": _POSTERIOR.get(fresh.latent[name])}
                    self.late({"name": name, "fn": fresh.guide_laws[name], "infer": {**marks, **kind}})
            self._check_programs(pair, batch, fresh)  # from the same random state, so that the same sites are drawn
            self._take_in(fresh, new)

    def meet(self, pair: Any, batch: Any, weights: LogWeights) -> LogWeights:
        """Hold the sites of the runs that gave log-weights against what is known.

        Raises:
            ValueError: If guide and model differ in the sites that they drew, or a new one cannot be taken in.
        """
        for run, structure in enumerate(weights.structures):
            if structure not in self._met:
                if new := set(structure) - self._known:
                    fresh = self._read(pair, batch, weights, run, new)
                    with _SameDraws(weights.guide_traces[run]):
                        self._check_programs(pair, batch, fresh)
                    self._take_in(fresh, new)
                self._check(structure)
                if len(self._met) >= _MOST:
                    self._met.clear()
                self._met.add(structure)
        shared = bool(self.layout.global_latents)
        return weights if weights.shared == shared else replace(weights, shared=shared)

    def _read(self, pair: Any, batch: Any, weights: LogWeights, run: int, new: Collection[Any]) -> Layout:
        guide_sites = sites(weights.guide_traces[run])
        each = len(weights.model_traces) // len(weights.guide_traces)
        with torch.no_grad():
            if not any(_of_particles(site) for site in guide_sites.values()) and not self.layout.marginalised:
                return read_layout(pair, sites(weights.model_traces[run * each]), guide_sites)
            with _SameDraws(weights.guide_traces[run], subsamples=True):
                fresh = find_layout(pair, batch)
        if missing := set(new) - set(fresh.structure):
            name = sorted(missing)[0][0]
            raise ValueError(
                f"Site {name!r} is drawn at one call and not at the next of the same batch, which particles that are "
                "drawn at once cannot do. Pass vectorize_particles=False to the objective."
            )
        return fresh

    def _check_programs(self, pair: Any, batch: Any, fresh: Layout) -> None:
        """Raise if the programs with the new sites are not what the estimator of a site has a form of."""
        for name in fresh.latent:
            if (estimator := self.plan.get(name)) is not None:
                estimator.check_program(name, pair, batch, fresh)

    def _take_in(self, fresh: Layout, new: Collection[Any]) -> None:
        """Make new sites part of the layout.

        Raises:
            ValueError: Names the site that must have been there from the start.
        """
        old = self.layout
        for name, _, _, _ in sorted(new):
            if any(name == known[0] for known in self._known):
                raise ValueError(
                    f"Site {name!r} was met before in another place: inside or outside of plate {old.plate!r}, or "
                    "observed at one call and drawn at another. Give the two sites names of their own."
                )
            if name in fresh.laws or name in fresh.marginalised:
                what = "undirected" if name in fresh.laws else "marked to be enumerated in the model"
                raise ValueError(
                    f"Site {name!r} first appears after training began, but it is {what} and must be known from the "
                    "start. Draw it at every call, or bind the inference to a batch at which it is drawn."
                )
        names = {name for name, _, _, _ in new}
        # Without the laws, which hold the graph of the step that met them.
        met = {
            name: replace(site, model_law=None, guide_law=None) for name, site in fresh.sites.items() if name in names
        }
        outside = {name for name, of_model, _, inside in new if of_model and not inside}
        drawn = [name for name in fresh.guide_order if name in names]
        local = [name for name in (*old.latent, *drawn) if name not in (*old.global_latents, *fresh.global_latents)]
        check_order(fresh)
        for name in fresh.latent:
            if (estimator := self.plan.get(name)) is not None:
                estimator.check_plan(name, self.plan, fresh, self.inference.objective)
        self.layout = replace(
            old,
            sites={**old.sites, **met},
            guide_order=(*old.guide_order, *drawn),
            # Whether they depend on latents of the rows is not tried: to take it for granted is right, if noisier.
            coupled=tuple(sorted({*old.coupled, *(outside if local else ())})),
        )
        self._known |= set(fresh.structure)

    def _check(self, structure: Structure) -> None:
        """Raise unless the guide drew what the model needs, in this run as in the first."""
        stated = {name for name, of_model, observed, _ in structure if of_model and not observed}
        drawn = {name for name, of_model, _, _ in structure if not of_model}
        auxiliary = {name for name in self.layout.latent if name not in self.layout.model_laws}
        for names, words in (
            (stated - drawn - set(self.layout.marginalised), "of the model is missing in the guide"),
            (drawn - stated - auxiliary, "of the guide is no latent site of the model"),
            (set(self.layout.marginalised) - stated, "of the model, which is summed out, is missing"),
        ):
            if names:
                raise ValueError(
                    f"Site {sorted(names)[0]!r} {words} at this call, though not at the first. Let guide and model "
                    "decide by the same values which sites there are."
                )


class _SameDraws(Messenger):
    """Handler under which sites draw the values of a trace again, unless a handler inside gives them others.

    Of a trace of many particles, whose draws have other shapes than those of a run of one, it is the subsamples alone.
    """

    def __init__(self, trace: Trace, subsamples: bool = False) -> None:
        super().__init__()
        of_many = any(_of_particles(site) for site in sites(trace).values())
        self.drawn = {
            name: node["value"]
            for name, node in trace.nodes.items()
            if node["type"] == "sample" and (site_is_subsample(node) or not (subsamples or of_many))
        }

    def _pyro_sample(self, msg: Any) -> None:
        if msg["value"] is None and msg["name"] in self.drawn:
            msg["value"] = self.drawn[msg["name"]]


class _Leaves(Collection[str]):
    """Names of the sites of a plan whose estimator stops the guide's density."""

    def __init__(self, plan: dict[str, Estimator | None]) -> None:
        self.plan = plan

    def __contains__(self, name: object) -> bool:
        estimator = self.plan.get(str(name))
        return estimator is not None and estimator.stops

    def __iter__(self) -> Iterator[str]:
        return (name for name in self.plan if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


_POSTERIOR = {"exact posterior": "exact", "mean field": "mean field"}  # mark by kind


def _of_particles(site: Any) -> bool:
    return any(frame.name == PARTICLES for frame in site["cond_indep_stack"])
