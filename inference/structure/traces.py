"""Sites of a trace: their laws without what stands around them, their data plate, their scales."""

from collections.abc import Callable
from typing import Any

import torch
from pyro import poutine
from pyro.distributions import Independent, MaskedDistribution
from pyro.poutine.uncondition_messenger import UnconditionMessenger
from pyro.poutine.util import site_is_subsample

from ppgen.distributions import UndirectedDistribution
from ppgen.inference.structure.plates import sized

# Of each site: name, whether it is the model's, whether it is observed, whether it lies in the data plate.
Structure = tuple[tuple[str, bool, bool, bool], ...]


def structure_of(model_sites: dict[str, Any], guide_sites: dict[str, Any], plate: str | None) -> Structure:
    """What tells runs with other sites apart, in the order of the sites."""
    return tuple(
        (name, of_model, site["is_observed"], of_data(site, plate))
        for of_model, found in ((True, model_sites), (False, guide_sites))
        for name, site in found.items()
        if not site["infer"].get("_deterministic")
    )


def undirected_law(fn: Any) -> UndirectedDistribution | None:
    """The undirected distribution at a site, under a mask or not; None if the site holds another."""
    fn = base_law(fn)
    return fn if isinstance(fn, UndirectedDistribution) else None


def base_law(fn: Any) -> Any:
    """The law of single variables at a site, under event dimensions and masks."""
    while isinstance(fn, (MaskedDistribution, Independent)):
        fn = fn.base_dist
    return fn


def unmasked(fn: Any) -> Any:
    """A distribution without its mask; the same object where there is none."""
    if isinstance(fn, MaskedDistribution):
        return unmasked(fn.base_dist)
    if isinstance(fn, Independent) and (base := unmasked(fn.base_dist)) is not fn.base_dist:
        return base.to_event(fn.reinterpreted_batch_ndims)
    return fn


def element_law(fn: Any) -> Any:
    """The law of a single variable: a distribution without its mask and its independent copies."""
    fn = unmasked(fn)
    while isinstance(fn, Independent):
        fn = fn.base_dist
    return fn


def sites(trace: poutine.Trace) -> dict[str, Any]:
    """Sample sites of a trace by name, without the plates' own subsampling sites.

    A latent that `poutine.do` has set is left out: the program goes on with the value given, so that nothing depends
    on the draw that Pyro's handler leaves behind.
    """
    return {
        name: site
        for name, site in trace.nodes.items()
        if site["type"] == "sample" and not site_is_subsample(site) and not _intervened(site)
    }


def _intervened(site: Any) -> bool:
    return site.get("_intervener_id") is not None and not site["is_observed"]


class _Unconditioned(UnconditionMessenger):
    """Pyro's handler, except that values computed from others (`pyro.deterministic`) stay what they are.

    Their law is not expanded by the plates around it, so that a draw of it would have those dimensions twice.
    """

    def _pyro_sample(self, msg: Any) -> None:
        if not msg["infer"].get("_deterministic"):
            super()._pyro_sample(msg)


def unconditioned(program: Callable[..., Any]) -> Callable[..., Any]:
    """A program that draws what it observes."""
    return _Unconditioned()(program)


def data_frame(site: Any, plate: str | None) -> Any | None:
    """Frame of the data plate around a site, or None outside of it, and where there is no data plate."""
    if plate is None:
        return None
    return next((sized(frame, site) for frame in site["cond_indep_stack"] if frame.name == plate), None)


def of_data(site: Any, plate: str | None) -> bool:
    """Whether a site is a term of each datum: inside the data plate, or anywhere where there is none."""
    return plate is None or any(frame.name == plate for frame in site["cond_indep_stack"])


def data_factor(frame: Any | None) -> float:
    """Factor by which the data plate has scaled a site: its size over the rows at hand."""
    return 1.0 if frame is None else frame.full_size / frame.size


def enumerable(site: Any) -> bool:
    """Whether a site is latent, of finite support, and marked as Pyro marks sites to be enumerated."""
    marked = site["infer"].get("enumerate") in ("parallel", "sequential")
    return marked and not site["is_observed"] and getattr(element_law(site["fn"]), "has_enumerate_support", False)


def samples_asked(site: Any) -> int:
    """How often a latent site is marked to be drawn at once, as Pyro marks it (`num_samples`); 0 where it is not."""
    marked = site["infer"].get("enumerate") is not None and not site["is_observed"]
    return int(site["infer"].get("num_samples") or 0) if marked else 0


def foreign_scale(site: Any, plate: str | None) -> bool:
    """Whether a site has a scale beside that of the data plate."""
    scale = site["scale"] / data_factor(data_frame(site, plate))
    deviation = (scale - 1).abs().max() if isinstance(scale, torch.Tensor) else abs(scale - 1)
    return bool(deviation > 1e-6)


def hand_scale(site: Any) -> float | None:
    """What is left of a site's scale without the factors of all its plates; None where it is not one number."""
    scale = site["scale"]
    for frame in (sized(each, site) for each in site["cond_indep_stack"]):
        if frame.vectorized or frame.full_size is not None:
            scale = scale / (frame.full_size / frame.size)
    if not isinstance(scale, torch.Tensor):
        return float(scale)
    return float(scale.flatten()[0]) if bool((scale == scale.flatten()[0]).all()) else None


def replace_law(fn: Any, law: UndirectedDistribution) -> Any:
    """The distribution `fn` with the undirected law inside of it replaced; masks and event dimensions are kept."""
    if isinstance(fn, MaskedDistribution):
        return MaskedDistribution(replace_law(fn.base_dist, law), fn._mask)
    if isinstance(fn, Independent):
        return Independent(replace_law(fn.base_dist, law), fn.reinterpreted_batch_ndims)
    return law
