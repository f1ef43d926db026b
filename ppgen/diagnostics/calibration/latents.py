"""Latents of many simulations in one form, and the densities of the model at them."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.distributions import Unit
from torch import Tensor

from ppgen import inference
from ppgen.batch import split_batch
from ppgen.diagnostics.converters.dimensions import arrange, name_dimensions, plates
from ppgen.inference.particles.factors import summed_log_prob
from ppgen.inference.structure.given_latents import GivenValues
from ppgen.inference.structure.layout import Layout, find_layout
from ppgen.inference.structure.plates import PARTICLES
from ppgen.inference.structure.traces import data_frame, sites, unmasked
from ppgen.pair import AnyPair

Latents = dict[str, Tensor]  # by site, (draws, rows, inner plates, event)
Quantity = Callable[[Latents, Any], Tensor]


@dataclass(frozen=True)
class Place:
    """Where a latent site keeps its rows.

    Attributes:
        name: Name of the site.
        dims: Names of the dimensions of one row: inner plates and event.
        batch: Sizes of all plates' dimensions, of size 1 where there is none.
        data_axis: Which of them is the data plate's.
        event: Shape of an event.
        plain: Dimensions of `batch` that the model itself has.
        inner: Sizes of the plates besides the data plate.
    """

    name: str
    dims: list[str]
    batch: tuple[int, ...]
    data_axis: int
    event: tuple[int, ...]
    plain: int
    inner: tuple[int, ...]

    def rows_first(self, value: Tensor, draws: int, rows: int) -> Tensor:
        """Values as the programs draw them as (draws, rows, inner plates, event)."""
        plates = value.shape[: value.dim() - len(self.event)]
        value = value.reshape(*(1,) * (1 + len(self.batch) - len(plates)), *plates, *self.event)
        sizes = [rows if axis == self.data_axis else size for axis, size in enumerate(self.batch)]
        value = value.expand(draws, *sizes, *self.event).movedim(1 + self.data_axis, 1)
        return value.reshape(draws, rows, *self.inner, *self.event)

    def as_drawn(self, value: Tensor) -> Tensor:
        """The inverse, for a run of the model with so many draws."""
        draws, rows = value.shape[:2]
        others = [size for axis, size in enumerate(self.batch) if axis != self.data_axis]
        value = value.reshape(draws, rows, *others, *self.event).movedim(1, 1 + self.data_axis)
        return value if draws > 1 else value.reshape(value.shape[1 + len(self.batch) - self.plain :])


class Sites:
    """The latent sites of a pair in its data plate, and the densities of its model at values of them.

    Args:
        pair: A pair, which is run in the mode that it is in.
        batch: A batch of data.
        vectorize: False for programs that cannot broadcast over draws.

    Raises:
        ValueError: If a latent is common to all data, or summed out; if draws of the model do not have the posterior as
            their law given the data: under scales and factors.
    """

    def __init__(self, pair: AnyPair, batch: Any, vectorize: bool = True) -> None:
        self.pair, self.vectorize = pair, vectorize
        self.layout = layout = find_layout(pair, batch)
        trace = self._run(batch, {}, 1)
        found = sites(trace)
        _check(layout, found)
        latent = [name for name, site in found.items() if not site["is_observed"] and name in layout.latent]
        self.places = {name: _place(found[name], layout) for name in latent}

    def densities(self, batch: Any, latents: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """log p(z), up to a constant of each row at undirected sites, and log p(x | z): nats, each (draws, rows)."""
        count = len(next(iter(latents.values())))
        parts = [slice(0, count)] if self.vectorize else [slice(index, index + 1) for index in range(count)]
        both: tuple[list[Tensor], list[Tensor]] = ([], [])
        for part in parts:
            chosen = {name: self.places[name].as_drawn(value[part]) for name, value in latents.items()}
            draws, rows = next(iter(latents.values()))[part].shape[:2]
            totals = [next(iter(latents.values())).new_zeros(1, 1, dtype=torch.float64) for _ in both]
            for name, site in sites(self._run(batch, chosen, draws)).items():
                frame = data_frame(site, self.layout.plate)
                if frame is not None and not site["infer"].get("_deterministic"):
                    observed = name not in latents
                    totals[observed] = totals[observed] + summed_log_prob(site, self.layout)
            for kept, total in zip(both, totals, strict=True):
                kept.append(total.expand(draws, rows))
        return torch.cat(both[0]), torch.cat(both[1])

    def _run(self, batch: Any, values: Mapping[str, Tensor], draws: int) -> poutine.Trace:
        args, kwargs = split_batch(batch)
        program: Any = self.pair.model
        if not values:
            drawn = poutine.trace(self.pair.guide)
            with self.pair.running():
                program = poutine.replay(program, trace=drawn.get_trace(*args, **kwargs))
        plate: Any = pyro.plate(PARTICLES, draws, dim=self.layout.particle_dim) if draws > 1 else nullcontext()
        with pyro.validation_enabled(False), self.pair.running(), inference.attach(log_partition=0.0):
            with GivenValues(values), plate:
                return poutine.trace(program).get_trace(*args, **kwargs)


def _place(site: Any, layout: Layout) -> Place:
    frames = plates(site, [PARTICLES])
    value, event_dim = site["value"], site["fn"].event_dim
    plain = value.dim() - event_dim
    batch = (1,) * (-layout.particle_dim - 1 - plain) + tuple(value.shape[:plain])
    arranged, names = arrange(value, event_dim, frames, 1, layout.particle_dim)
    inner = zip(arranged.shape[1 : arranged.dim() - event_dim], names, strict=False)
    dims = name_dimensions(site["name"], names, None, site["infer"])
    return Place(
        name=site["name"],
        dims=[dim for dim in dims if dim != layout.plate],
        batch=batch,
        data_axis=len(batch) + layout.row_dim,
        event=tuple(value.shape[plain:]),
        plain=plain,
        inner=tuple(size for size, name in inner if name != layout.plate),
    )


def _check(layout: Layout, found: Mapping[str, Any]) -> None:
    if layout.global_latents:
        raise ValueError(
            f"The latent sites {list(layout.global_latents)} lie outside plate {layout.plate!r} and are common to all "
            "data, so that one simulation would be a whole data set. Put them inside the plate, or condition the model "
            "on values for them (pyro.condition)."
        )
    if layout.marginalised:
        raise ValueError(
            f"The sites {list(layout.marginalised)} of the model are summed out (marked to be enumerated), so they "
            "have no draws to rank. Draw them in the guide."
        )
    if not layout.latent:
        raise ValueError("The pair has no latent site, so there is no posterior to calibrate.")
    if layout.scaled:
        raise ValueError(
            f"The sites {list(layout.scaled)} have a scale of their own, so that simulated latents are no draws of the "
            "posterior under that scale. Take poutine.scale, or the subsampling of an inner plate, away."
        )
    for name, site in found.items():
        if isinstance(unmasked(site["fn"]), Unit):
            raise ValueError(
                f"pyro.factor {name!r} weighs what the model draws, so that simulated latents are no draws of the "
                "posterior. State the density by sample sites."
            )
