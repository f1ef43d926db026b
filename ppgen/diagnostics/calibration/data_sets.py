"""Simulations that are whole data sets, for models whose latents are common to all data."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.distributions import Unit
from torch import Tensor

from ppgen import inference
from ppgen.batch import all_tensors_of, changed, parts_of, rebuilt, split_batch
from ppgen.diagnostics.calibration.draws import Drawn, drawn_by_chains
from ppgen.diagnostics.calibration.latents import Latents
from ppgen.diagnostics.calibration.refit import Refit, check_recognition, refitted
from ppgen.diagnostics.converters.collector import site_log_density
from ppgen.diagnostics.converters.dimensions import arrange, name_dimensions, plates
from ppgen.evaluation.evidence.all_data import AllData
from ppgen.inference.elimination.marginal import Summand
from ppgen.inference.particles.broadcasting import vectorized
from ppgen.inference.particles.particle_runs import model_run
from ppgen.inference.structure.given_latents import GivenValues
from ppgen.inference.structure.plates import PARTICLES
from ppgen.inference.structure.points import check_no_points
from ppgen.inference.structure.traces import sites, unconditioned, unmasked
from ppgen.pair import AnyPair
from ppgen.progress import progress_bar


@dataclass(frozen=True)
class DataSets:
    """Simulated data sets, one after another: handed out by their numbers as one batch with a dimension more."""

    batches: list[Any]

    def __len__(self) -> int:
        return len(self.batches)

    def __call__(self, first: int, last: int) -> Any:
        """The data sets from `first` up to `last`, each tensor with the simulations as its first dimension."""
        some = self.batches[first:last]
        return rebuilt(some[0], [_stacked(parts) for parts in zip(*map(parts_of, some), strict=True)])


def _stacked(parts: Sequence[Any]) -> Any:
    return torch.stack(list(parts)) if isinstance(parts[0], Tensor) else parts[0]


@dataclass(frozen=True)
class _Place:
    """Where a latent site keeps its plates and events: sizes of all batch dimensions, and the names of what is kept."""

    batch: tuple[int, ...]
    event: tuple[int, ...]
    kept: tuple[int, ...]
    dims: list[str]

    def told(self, value: Tensor, draws: int) -> Tensor:
        """Values as programs draw them, as (draws, plates, event)."""
        batch = value.shape[: value.dim() - len(self.event)]
        value = value.reshape(*(1,) * (1 + len(self.batch) - len(batch)), *batch, *self.event)
        return value.expand(draws, *self.batch, *self.event).reshape(draws, *self.kept)

    def as_drawn(self, value: Tensor, plain: int) -> Tensor:
        """The inverse, for a run of the model with as many draws."""
        if len(value) > 1:
            return value.reshape(len(value), *self.batch, *self.event)
        return value.reshape(self.batch[len(self.batch) - plain :] + self.event)


class JointSites:
    """All latent sites of a pair with latents common to all data, and the densities of its model at values of them.

    Args:
        pair: A pair, in the mode that it is in.
        found: A data set.
        vectorize: False for programs that cannot broadcast over draws.

    Raises:
        ValueError: If draws of the model have not the posterior as their law given the data: under improper priors,
            scales and factors; if all latents are summed out, or the guide gives one a point.
    """

    def __init__(self, pair: AnyPair, found: AllData, vectorize: bool = True) -> None:
        self.pair, self.layout = pair, found.layout
        self.vectorize = vectorized(pair, found.batch, found.layout, vectorize)
        stated = sites(self._run(pair.model, found.batch, 1, replayed=True))
        _check(found, stated)
        latent = [name for name, site in stated.items() if not site["is_observed"] and name in self.layout.latent]
        self.plain = {name: stated[name]["value"].dim() - stated[name]["fn"].event_dim for name in latent}
        self.places = {name: self._place(stated[name]) for name in latent}

    def truth(self, found: Mapping[str, Tensor]) -> Latents:
        """Latents of one run of the model, (plates, event) by site."""
        return {name: place.told(found[name], 1)[0] for name, place in self.places.items()}

    def draws(self, batch: Any, count: int) -> Latents:
        """Independent draws of the guide for a data set, (count, plates, event) by site."""
        parts = [count] if self.vectorize else [1] * count
        kept: dict[str, list[Tensor]] = {name: [] for name in self.places}
        for part in parts:
            drawn = sites(self._run(self.pair.guide, batch, part))
            for name, place in self.places.items():
                kept[name].append(place.told(drawn[name]["value"], part))
        return {name: torch.cat(values) for name, values in kept.items()}

    def densities(self, batch: Any, latents: Latents) -> tuple[Tensor, Tensor]:
        """log p(z) and log p(x | z) of a data set, nats: each (draws,)."""
        count = len(next(iter(latents.values())))
        both: tuple[list[Tensor], list[Tensor]] = ([], [])
        for part in [slice(0, count)] if self.vectorize else [slice(index, index + 1) for index in range(count)]:
            chosen = {name: latents[name][part] for name in latents}
            draws = len(next(iter(chosen.values())))
            values = {name: self.places[name].as_drawn(value, self.plain[name]) for name, value in chosen.items()}
            totals: list[Tensor] = [torch.zeros(draws, dtype=torch.float64) for _ in both]
            trace, summed = self._stated(batch, draws, values)
            if summed is not None and summed.potentials:
                totals[1] += summed.columns(max(1, self.layout.num_rows)).sum(1).double()
            for name, site in sites(trace).items():
                if not site["infer"].get("_deterministic") and (summed is None or name not in summed.potentials):
                    term = site_log_density(site, draws, self.layout)
                    totals[name not in latents] += term.reshape(len(term), -1).sum(1)
            for kept, total in zip(both, totals, strict=True):
                kept.append(total)
        return torch.cat(both[0]), torch.cat(both[1])

    def _stated(self, batch: Any, draws: int, values: Mapping[str, Tensor]) -> tuple[poutine.Trace, Summand | None]:
        """The model at values of its latents, and its sum over the sites that are summed out."""
        args, kwargs = split_batch(batch)
        with pyro.validation_enabled(False), self.pair.running(), GivenValues(values):
            return model_run(self.pair.model, draws, self.layout, args, kwargs)

    def _place(self, site: Any) -> _Place:
        value, event_dim, left = site["value"], site["fn"].event_dim, -self.layout.particle_dim - 1
        plain = value.dim() - event_dim
        arranged, names = arrange(value, event_dim, plates(site, [PARTICLES]), 1, self.layout.particle_dim)
        return _Place(
            (1,) * (left - plain) + tuple(value.shape[:plain]),
            tuple(value.shape[plain:]),
            tuple(arranged.shape[1:]),
            name_dimensions(site["name"], names, None, site["infer"]),
        )

    def _run(
        self, program: Any, batch: Any, draws: int, values: Mapping[str, Tensor] | None = None, replayed: bool = False
    ) -> poutine.Trace:
        args, kwargs = split_batch(batch)
        with pyro.validation_enabled(False), self.pair.running():
            if replayed:
                program = poutine.replay(program, trace=poutine.trace(self.pair.guide).get_trace(*args, **kwargs))
            plate: Any = pyro.plate(PARTICLES, draws, dim=self.layout.particle_dim) if draws > 1 else nullcontext()
            with GivenValues(values or {}), plate:
                return poutine.trace(program).get_trace(*args, **kwargs)


def simulated_data_sets(pair: AnyPair, found: AllData, count: int) -> tuple[list[Any], list[dict[str, Tensor]]]:
    """Data sets like the one given, with the latents that they came from, by torch's global random state.

    Args:
        pair: A pair.
        found: A data set; what the model observes of it is replaced.
        count: Number of simulations.

    Raises:
        ValueError: If a site observes something else than an argument as it is.
    """
    batches, latents = [], []
    for _ in range(count):
        # Objects of their own, so that one tensor given for two arguments does not make them one.
        like = changed(found.batch, lambda part: part.view_as(part) if isinstance(part, Tensor) else part)
        args, kwargs = split_batch(like)
        with pair.running():
            drawn = sites(poutine.trace(unconditioned(pair.model)).get_trace(*args, **kwargs))
        given = [id(value) for value in all_tensors_of(like)]
        made: dict[int, Tensor] = {}
        for name, site in drawn.items():
            if not site["infer"].get("was_observed") or site["infer"].get("_deterministic"):
                continue
            observed = site["infer"]["obs"]
            if id(observed) in {id(value) for value in pair.parameters()}:
                continue  # a prior of parameters
            if id(observed) not in given or id(observed) in made or site["value"].numel() != observed.numel():
                raise ValueError(
                    f"Data cannot be simulated at site {name!r}: it does not observe one argument as it is, so that a "
                    "draw has no place among the data. Give each observed site an argument of its own, obs=that "
                    "argument."
                )
            made[id(observed)] = site["value"].reshape(observed.shape)
        if not made:
            raise ValueError("Data cannot be simulated: the model observes no argument as it is (obs=that argument).")
        batches.append(rebuilt(like, [made.get(id(value), value) for value in parts_of(like)]))
        latents.append({name: site["value"] for name, site in drawn.items() if not site["infer"].get("was_observed")})
    return batches, latents


def drawn_of_data_sets(
    pair: AnyPair,
    found: AllData,
    num_simulations: int,
    num_samples: int,
    refit: Refit | str | None,
    vectorize: bool,
    progress: bool,
    chains: Mapping[str, Any] | None = None,
) -> tuple[Drawn, DataSets]:
    """Simulated data sets, and draws of the guide for each of them, fitted to it if that is asked for.

    Args:
        pair: A pair in evaluation mode, seeded.
        found: A data set, of which shapes are taken and what is not observed.
        num_simulations: Number of simulations.
        num_samples: Draws of each.
        refit: As `simulation_based_calibration` takes it.
        vectorize: False for programs that cannot broadcast over draws.
        progress: Whether to show a progress bar.
        chains: Arguments of `inference.sample_posterior`, by whose chains posteriors are drawn instead of the guide.

    Raises:
        ValueError: As `JointSites`; if the guide reads no data and is not fitted to each simulation.
    """
    held = JointSites(pair, found, vectorize)
    batches, latents = simulated_data_sets(pair, found, num_simulations)
    truth = [held.truth(each) for each in latents]
    together = {name: torch.stack([each[name] for each in truth]) for name in held.places}
    dims = {name: place.dims for name, place in held.places.items()}

    def densities(first: int, last: int, part: Any, values: Latents) -> tuple[Tensor, Tensor]:
        each = [
            held.densities(batches[index], {name: value[:, index - first] for name, value in values.items()})
            for index in range(first, last)
        ]
        return torch.stack([prior for prior, _ in each], 1), torch.stack([likelihood for _, likelihood in each], 1)

    if chains is not None:
        moved = _chains_of(pair, batches, held, chains, num_samples, progress)
        return drawn_by_chains(together, dims, "Hamiltonian Monte Carlo", moved, densities), DataSets(batches)
    if refit is None:
        check_recognition(pair, batches[0], batches[1])
    kept: dict[str, list[Tensor]] = {name: [] for name in held.places}

    def draw(batch: Any) -> None:
        for name, value in held.draws(batch, num_samples).items():
            kept[name].append(value)

    if refit is None:
        for batch in batches:
            draw(batch)
    else:
        rows = found.layout.num_rows
        with progress_bar("fits of the guide", num_simulations, progress) as advance:
            for number, batch in enumerate(refitted(pair, batches, refit, rows), start=1):
                draw(batch)
                if advance is not None:
                    advance(number)
    draws = {name: torch.stack(values, 1) for name, values in kept.items()}

    def some(first: int, last: int, part: Any) -> Latents:
        return {name: value[:, first:last] for name, value in draws.items()}

    method = "the guide" if refit is None else "the guide fitted to each simulated data set"
    return Drawn(together, dims, method, num_samples, some, densities), DataSets(batches)


def _chains_of(
    pair: AnyPair, batches: Sequence[Any], held: JointSites, options: Mapping[str, Any], count: int, progress: bool
) -> Latents:
    """Chains of the latents of each data set, (chains, steps, simulations, ...) by site."""
    kept: dict[str, list[Tensor]] = {name: [] for name in held.places}
    with progress_bar("chains of data sets", len(batches), progress) as advance:
        for number, batch in enumerate(batches):
            seed = int(options["seed"]) + number
            found = inference.sample_posterior(pair, batch, num_samples=count, **{**options, "seed": seed})
            for name, place in held.places.items():
                names = [each for each in found.dims[name] if each in place.dims]
                if names != [each for each in place.dims if each in names]:
                    raise ValueError(
                        f"Site {name!r} has its plates in another order in chains, {names}, than among its draws: put "
                        f"plate {names[0]!r} left of the others, by a smaller dim."
                    )
                kept[name].append(found.draws[name])
            if advance is not None:
                advance(number + 1)
    return {name: torch.stack(values, 2) for name, values in kept.items()}


def _check(found: AllData, stated: Mapping[str, Any]) -> None:
    layout = found.layout
    if found.improper is not None:
        raise ValueError(
            f"Simulation-based calibration is not defined: {found.improper}, from which no data can be simulated. "
            "Give it a proper prior."
        )
    if not layout.latent:
        raise ValueError(
            f"The sites {list(layout.marginalised)} of the model are summed out, and no latent is drawn by the guide, "
            "so there are no draws to rank."
        )
    if layout.scaled:
        raise ValueError(
            f"The sites {list(layout.scaled)} have a scale of their own, so that simulated latents are no draws of the "
            "posterior under that scale. Take poutine.scale, or the subsampling of an inner plate, away."
        )
    if layout.undirected:
        raise ValueError(
            f"The law at site {layout.undirected[0]!r} is a Boltzmann machine, from which whole data sets are not "
            "simulated here. Put its site, and all latents, inside the data plate."
        )
    check_no_points(
        layout.points, "ranks among its draws, which are all the same,", "Give a guide that draws the site."
    )
    for name, site in stated.items():
        if isinstance(unmasked(site["fn"]), Unit):
            raise ValueError(
                f"pyro.factor {name!r} weighs what the model draws, so that simulated latents are no draws of the "
                "posterior. State the density by sample sites."
            )
