"""Which site of a model stands for the data, and what it drew there."""

from typing import Any

from pyro import poutine
from torch import Tensor

from ppgen.batch import split_batch
from ppgen.inference.structure.traces import data_frame, unconditioned
from ppgen.inference.structure.traces import sites as sites_of


def drawn_trace(pair: Any, batch: Any) -> poutine.Trace:
    """Trace of the model, which draws what it would observe."""
    args, kwargs = split_batch(batch)
    return poutine.trace(unconditioned(pair.model)).get_trace(*args, **kwargs)


def returned_site(trace: Any) -> Any:
    """Site whose value the model returned; None if it returned that of none."""
    value = trace.nodes["_RETURN"]["value"]
    return next((site for site in sites_of(trace).values() if site["value"] is value), None)


def observed_site(trace: Any, pair: Any, args: Any, kwargs: Any, *, given: bool) -> Any:
    """The one site that stands for the data, in their plate if there are others; each argument must be observed.

    Of a model that was given no data, as `model(x, y=None)` may be, it is the site that the guide has not.
    """
    stated = sites_of(trace).values()
    sites = [site for site in stated if site["infer"].get("was_observed")]
    observations = [site["infer"]["obs"] for site in sites]
    if not given and any(all(a is not o for o in observations) for a in (*args, *kwargs.values())):
        raise ValueError("The model takes arguments that it does not observe: give them as like=batch.")
    if not sites:
        guide = poutine.trace(pair.guide).get_trace(*args, **kwargs)
        sites = [site for site in stated if site["name"] not in guide and not site["infer"].get("_deterministic")]
    if not sites:
        raise ValueError("The model observes nothing, so there are no data to draw.")
    if len(inside := [site for site in sites if data_frame(site, pair.plate) is not None]) == 1:
        return inside[0]
    if len(sites) > 1:
        names = ", ".join(repr(site["name"]) for site in sites)
        raise ValueError(f"The model observes several sites ({names}); draw them with pyro.infer.Predictive.")
    return sites[0]


def mean_of(law: Any, value: Tensor | None = None) -> Tensor | None:
    """Mean of a law; of one whose entries follow one after another, of each given those of a value before it.

    None if it has none.
    """
    stepwise = getattr(law, "conditional_mean", None)
    try:
        found: Tensor = law.mean if stepwise is None or value is None else stepwise(value)
    except (NotImplementedError, AttributeError):
        return None
    return found.detach()
