"""Runs of a model at draws that were made elsewhere, such as those of Markov chains."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from ppgen.diagnostics.converters.collector import Collector, latents, log_density
from ppgen.distributions import UndirectedDistribution
from ppgen.inference.structure.given_latents import GivenValues
from ppgen.inference.structure.layout import Layout, find_layout
from ppgen.inference.structure.traces import data_frame, sites, unconditioned, undirected_law
from ppgen.trees import to_array


class GivenDraws(Collector):
    """Collects what a model says of draws of its latents.

    Draws are by site, (draws, rows, inner plates, event), as `PosteriorSamples` holds them for each chain.
    """

    def chains(
        self, batch: Any, draws: Mapping[str, Tensor], *, posterior: bool, predictive: bool, log_likelihood: bool
    ) -> None:
        """Latents and what is computed from them, log p(x, z) of each datum, and the data that the model observes.

        Raises:
            ValueError: If draws of a latent site are missing or do not fit its shape.
        """
        layout = find_layout(self.pair, batch)
        reference = self._reference(batch, layout)
        draws = _complete(draws, layout)
        latent = {name: site for name, site in reference.items() if name in layout.latent}
        _check_all(latent, draws)
        _check_data(reference, draws)
        for count, trace in self._traces(self.pair.model, batch, draws, layout, latent):
            if posterior:
                self._add("posterior", trace, latents(trace), count, layout)
            inside, outside = log_density(trace, count, layout)
            joint = bool(layout.plate is None or layout.global_latents)
            told, dims = (inside.sum(1) + outside, []) if joint else (inside, [layout.row_plate])
            self.group("sample_stats").add("log_p", to_array(told), dims)
            if log_likelihood:
                self._add_log_likelihood(trace, count, layout)
            if predictive:
                self._add_predictive("posterior_predictive", batch, _latent_part(trace), trace, count, layout)
        self._add_all_observed(trace, layout)

    def prior_chains(self, batch: Any, row: Any, draws: Mapping[str, Tensor] | None) -> None:
        """Draws of a machine by itself with all that the model makes of them, and the data that it observes.

        Sites that the chains do not hold are drawn given those that they do.

        Args:
            batch: The data.
            row: One row of them.
            draws: By site or layer, (draws, event); None adds the data alone.

        Raises:
            ValueError: If draws of an undirected site are missing or do not fit its shape.
        """
        layout = find_layout(self.pair, batch)
        self._add_all_observed(self._reference_trace(batch, layout), layout)
        if draws is None:
            return
        layout = find_layout(self.pair, row)
        reference = self._reference(row, layout)
        draws = _complete({name: value.unsqueeze(1) for name, value in draws.items()}, layout)
        undirected = {name: reference[name] for name in _undirected(layout)}
        _check_all(undirected, draws)
        for count, trace in self._traces(unconditioned(self.pair.model), row, draws, layout, undirected):
            self._add_prior(trace, count, layout)
        for kind in ("prior", "prior_predictive"):
            self.group(kind).drop(layout.row_plate)

    def _reference(self, batch: Any, layout: Layout) -> dict[str, Any]:
        """Sites of one run of the model."""
        return sites(self._reference_trace(batch, layout))

    def _traces(
        self,
        program: Any,
        batch: Any,
        draws: Mapping[str, Tensor],
        layout: Layout,
        reference: Mapping[str, Any],
    ) -> Iterator[tuple[int, poutine.Trace]]:
        first = 0
        for most in self._counts(batch):
            for count in [most] if self.vectorize else [1] * most:
                part = {
                    name: _placed(draws[name][first : first + count], site, layout) for name, site in reference.items()
                }
                first += count
                with GivenValues(part):
                    trace = self._run(program, batch, count, layout)
                yield count, trace


def _check_all(latent: Mapping[str, Any], draws: Mapping[str, Tensor]) -> None:
    missing = [name for name in latent if name not in draws]
    if missing:
        raise ValueError(
            f"The chains hold no draws of the latent sites {missing} of the model; they hold {sorted(draws)}. Give "
            "the pair and the data that the chains were run for."
        )


def _check_data(reference: Mapping[str, Any], draws: Mapping[str, Tensor]) -> None:
    """Raise if the chains hold a layer that the model observes, at other values."""
    for name, site in reference.items():
        if name in draws and site["is_observed"]:
            value = site["value"]
            if draws[name].shape[1:] != value.shape or not (draws[name][:1].to(value) == value).all():
                raise ValueError(
                    f"The chains were conditioned on other values of {name!r} than x holds. Give the data that they "
                    "were run for."
                )


def _undirected(layout: Layout) -> dict[str, UndirectedDistribution]:
    """Laws of Boltzmann machines at latent sites, whether log Z is attached or not."""
    return {name: law for name, fn in layout.model_laws.items() if (law := undirected_law(fn)) is not None}


def _complete(draws: Mapping[str, Tensor], layout: Layout) -> dict[str, Tensor]:
    """The draws, and those of undirected sites that hold several layers, or one under another name."""
    found = dict(draws)
    for site, law in _undirected(layout).items():
        if site not in found and all(name in found for name in law.layer_names):
            found[site] = torch.cat([found[name] for name in law.layer_names], -1)
    return found


def _latent_part(trace: poutine.Trace) -> poutine.Trace:
    """A trace of the latents alone, to be replayed."""
    part: Any = trace.copy()
    for name, site in sites(trace).items():
        if site["is_observed"]:
            part.remove_node(name)
    return part


def _placed(value: Tensor, site: Any, layout: Layout) -> Tensor:
    """Draws (draws, rows, inner plates, event) in the shape that the site has in a run with so many draws.

    Raises:
        ValueError: If they are of another size.
    """
    shape, event_dim = site["value"].shape, site["fn"].event_dim
    batch, event = shape[: len(shape) - event_dim], shape[len(shape) - event_dim :]
    plates = {frame.dim for frame in site["cond_indep_stack"] if frame.vectorized}
    inside = data_frame(site, layout.plate) is not None
    others = [dim for dim in range(-len(batch), 0) if not inside or dim != layout.row_dim]
    inner = [dim for dim in others if batch[dim] != 1 or dim in plates]
    rows = (batch[layout.row_dim],) if inside else ()
    expected = (*rows, *(batch[dim] for dim in inner), *event)
    if value.shape[1:] != expected:
        raise ValueError(
            f"Draws of site {site['name']!r} have shape {tuple(value.shape[1:])} of rows, inner plates and event, and "
            f"the model draws {tuple(expected)} given x. Give the data that the chains were run for."
        )
    value = value.to(site["value"])
    if inside:
        value = value.movedim(1, 1 + sum(dim < layout.row_dim for dim in inner))
    if len(value) == 1:
        return value.reshape(shape)
    padded = (1,) * (-layout.particle_dim - 1 - len(batch)) + tuple(batch)
    return value.reshape(len(value), *padded, *event)


def stacked(value: Any) -> Tensor:
    """An array (chain, draw, ...) as a tensor with the draws of one chain after those of another."""
    return torch.as_tensor(value).flatten(0, 1)
