"""Fantasies: data and latents drawn from the model, in the form in which the guide takes data."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from ppgen.inference.layout import Layout, data_frame, sites
from ppgen.inference.log_weights import summed_log_prob
from ppgen.pair import Arguments, split_batch

Fantasy = Callable[[Any], Any]


def sleep_log_density(pair: Any, batch: Any, layout: Layout, fantasy: Fantasy | None = None) -> Tensor:
    r"""log q(z | x) of a fantasy (x, z) drawn from the model, per datum: a scalar with a gradient in the guide alone.

    .. math:: E_{p(x, z)}[\log q_\phi(z \mid x)]

    Args:
        pair: A pair, running.
        batch: A batch, which says how many rows to draw and holds the arguments that are not observed.
        layout: Structure of the pair.
        fantasy: Makes the guide's batch from the model's trace, for pairs whose data cannot be recognised; None finds
            the arguments that the model observes and puts the drawn values in their place.

    Raises:
        ValueError: If an argument is neither observed as it is nor left alone, so that a fantasy cannot be given to
            the guide.
    """
    args, kwargs = split_batch(batch)
    with torch.no_grad():
        trace = poutine.trace(poutine.uncondition(pair.model)).get_trace(*args, **kwargs)
        dreamt = dream(trace, batch) if fantasy is None else fantasy(trace)
    args, kwargs = split_batch(dreamt)
    guide_trace = poutine.trace(poutine.replay(pair.guide, trace=trace)).get_trace(*args, **kwargs)
    total: Any = 0.0
    for site in sites(guide_trace).values():
        if site["infer"].get("_deterministic"):
            continue
        term = summed_log_prob(site, data_frame(site, layout.plate), layout)
        total = total + term.mean()
    return total


def dream(trace: poutine.Trace, batch: Any) -> Any:
    """The batch with every tensor that the model observes replaced by what the model drew there.

    Args:
        trace: Trace of the model under `poutine.uncondition`.
        batch: The batch that it ran with.

    Raises:
        ValueError: If a tensor of the batch is observed by no site as it is.
    """
    drawn = [
        (site["infer"]["obs"], site["value"]) for site in sites(trace).values() if site["infer"].get("was_observed")
    ]
    observed = {id(seen): value for seen, value in drawn}
    args, kwargs = split_batch(batch)
    unknown = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor) and id(value) not in observed]
    if not drawn or (unknown and len(unknown) == len([v for v in (*args, *kwargs.values()) if isinstance(v, Tensor)])):
        raise ValueError(
            "No argument of the model is observed as it is, so fantasies cannot be given to the guide. Observe the "
            "argument itself (obs=x), or say how: inference.WakeSleep(fantasy=lambda trace: batch for the guide)."
        )

    def put(value: Any) -> Any:
        return observed.get(id(value), value)

    if isinstance(batch, Arguments):
        return Arguments(tuple(map(put, args)), {name: put(value) for name, value in kwargs.items()})
    if isinstance(batch, Mapping):
        return {name: put(value) for name, value in batch.items()}
    return tuple(map(put, batch)) if isinstance(batch, tuple) else put(batch)
