"""A model run by itself, without a guide: what it draws in the place of the data, and the sites on the way there."""

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from ppgen.batch import split_batch, tensors_of
from ppgen.inference.structure.data_plate import data_plate
from ppgen.inference.structure.layout import Layout, site_record
from ppgen.inference.structure.plates import plate_rows
from ppgen.inference.structure.traces import data_frame, sites, unconditioned
from ppgen.undisturbed import device_of, forked, keeping_buffers

COMPARED = ("sample", "mean")
"""What of the law of the data is compared with rows: a draw of it, or its mean."""


@dataclass(frozen=True)
class ModelRun:
    """One run of a model that draws its data.

    Attributes:
        sites: Sites by name, without what is computed from others (`pyro.deterministic`).
        data: The site that stands for the data; of an implicit model what it computes there.
    """

    sites: dict[str, Any]
    data: Any

    def drawn(self, compared: str) -> Tensor:
        """Rows of the data with their path to the latents: the draw, or the mean of its law."""
        value: Tensor = self.data["fn"].mean if compared == "mean" and not _computed(self.data) else self.data["value"]
        return value


def run_model(pair: Any, batch: Any, num_rows: int | None = None) -> ModelRun:
    """Run the model once, so that it draws what it would observe; inside of `pair.running()`.

    Args:
        pair: A pair.
        batch: A batch, for programs that must be called with one.
        num_rows: Rows to draw, of programs that take that argument.

    Raises:
        ValueError: If no site of the program stands for the data, or several do.
    """
    if num_rows is not None and takes_num_rows(pair):
        trace = poutine.trace(pair.model).get_trace(num_rows=num_rows)
    else:
        args, kwargs = split_batch(batch)
        trace = poutine.trace(unconditioned(pair.model)).get_trace(*args, **kwargs)
    found = sites(trace)
    data = _data_site(found, trace.nodes["_RETURN"]["value"], pair)
    return ModelRun({name: site for name, site in found.items() if not _computed(site)}, data)


def prepare_pair(pair: Any, batch: Any) -> None:
    """Run the programs once, so that parameters made at the first call exist; of an implicit model the model alone.

    Args:
        pair: A pair.
        batch: A batch of data.
    """
    if pair.has_likelihood:
        pair.prepare(batch)
        return
    count = len(next(iter(tensors_of(batch)), ()))
    with forked(device_of(pair, batch)), torch.no_grad(), pair.running(), keeping_buffers(pair):
        run_model(pair, batch, count)


def takes_num_rows(pair: Any) -> bool:
    """Whether a model says how many rows to draw by an argument `num_rows`."""
    return "num_rows" in inspect.signature(pair.model).parameters


def model_layout(pair: Any, run: ModelRun, batch: Any) -> Layout:
    """Structure of a model alone, as far as there is one without a guide.

    Args:
        pair: A pair.
        run: A run of its model.
        batch: A batch of data.
    """
    every = {**run.sites, run.data["name"]: run.data}
    plate = data_plate(pair, every, None, batch)
    frames = {name: frame for name, site in every.items() if (frame := data_frame(site, plate)) is not None}
    dims = [frame.dim for site in every.values() for frame in site["cond_indep_stack"] if frame.vectorized]
    return Layout(
        plate=plate,
        data_dim=next((frame.dim for frame in frames.values()), None),
        particle_dim=min(dims, default=0) - 1,
        sites={name: site_record(name, site, None, plate) for name, site in run.sites.items()},
        num_rows=1 if plate is None else plate_rows([frames], plate),
        plate_sizes=tuple(sorted({int(frame.full_size) for frame in frames.values()})),
    )


def _computed(site: Any) -> bool:
    return bool(site["infer"].get("_deterministic"))


def _data_site(found: dict[str, Any], returned: Any, pair: Any) -> Any:
    """The site whose value the model returned, or the only one that it observes."""
    site = next((each for each in found.values() if each["value"] is returned), None)
    if site is not None:
        return site
    observed = [each for each in found.values() if each["infer"].get("was_observed")]
    if len(observed) == 1:
        return observed[0]
    names = ", ".join(repr(each["name"]) for each in observed)
    what = f"observes several sites ({names})" if observed else "observes nothing, and returns the value of no site"
    raise ValueError(
        f"The model of {type(pair).__name__} {what}, so that nobody knows which of its draws stand for the rows. Let "
        "it return the value of that site."
    )
