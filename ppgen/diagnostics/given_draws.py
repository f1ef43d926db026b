"""Runs of a model at draws that were made elsewhere, such as those of Markov chains."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from torch import Tensor

from ppgen.diagnostics.collect import Collector, latents, log_density
from ppgen.inference.layout import Layout, find_layout, sites
from ppgen.trees import to_array


class Substitute(Messenger):
    """Handler that puts given values at latent sites and leaves them latent."""

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.values = values

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] in self.values and not msg["is_observed"]:
            msg["value"], msg["done"] = self.values[msg["name"]], True


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
        layout, reference = self._reference(batch, draws)
        for count, trace in self._traces(batch, draws, layout, reference):
            if posterior:
                self._add("posterior", trace, latents(trace), count, layout)
            inside, _ = log_density(trace, count, layout)
            self.group("sample_stats").add("log_p", to_array(inside), [layout.plate])
            if log_likelihood:
                self._add_log_likelihood(trace, count, layout)
            if predictive:
                self._add_predictive("posterior_predictive", batch, _latent_part(trace), trace, count, layout)
        self._add_all_observed(trace, layout)

    def _reference(self, batch: Any, draws: Mapping[str, Tensor]) -> tuple[Layout, dict[str, Any]]:
        """Structure of the pair, and the latent sites of one run of its model."""
        layout = find_layout(self.pair, batch)
        guide = self._run(self.pair.guide, batch, 1, layout)
        found = sites(self._run(poutine.replay(self.pair.model, trace=guide), batch, 1, layout))
        held = {name: found[name] for name in layout.latent if name in found}
        missing = [name for name in held if name not in draws]
        if missing:
            raise ValueError(
                f"The chains hold no draws of the latent sites {missing} of the model; they hold {sorted(draws)}. Give "
                "the pair and the data that the chains were run for."
            )
        return layout, held

    def _traces(
        self, batch: Any, draws: Mapping[str, Tensor], layout: Layout, reference: Mapping[str, Any]
    ) -> Iterator[tuple[int, poutine.Trace]]:
        first = 0
        for most in self._counts(batch):
            for count in [most] if self.vectorize else [1] * most:
                part = {
                    name: _placed(draws[name][first : first + count], site, layout) for name, site in reference.items()
                }
                first += count
                with Substitute(part):
                    trace = self._run(self.pair.model, batch, count, layout)
                yield count, trace


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
    inner = [dim for dim in range(-len(batch), 0) if dim != layout.data_dim and (batch[dim] != 1 or dim in plates)]
    expected = (batch[layout.data_dim], *(batch[dim] for dim in inner), *event)
    if value.shape[1:] != expected:
        raise ValueError(
            f"Draws of site {site['name']!r} have shape {tuple(value.shape[1:])} of rows, inner plates and event, and "
            f"the model draws {tuple(expected)} given x. Give the data that the chains were run for."
        )
    value = value.movedim(1, 1 + sum(dim < layout.data_dim for dim in inner)).to(site["value"])
    if len(value) == 1:
        return value.reshape(shape)
    padded = (1,) * (-layout.particle_dim - 1 - len(batch)) + tuple(batch)
    return value.reshape(len(value), *padded, *event)


def stacked(value: Any) -> Tensor:
    """An array (chain, draw, ...) as a tensor with the draws of one chain after those of another."""
    return torch.as_tensor(value).flatten(0, 1)
