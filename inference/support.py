"""Whether data lie in the support of the sites that observe them."""

from typing import Any

import torch
from pyro import poutine

from ppgen.inference.layout import sites
from ppgen.pair import keeping_buffers, split_batch


@torch.no_grad()
def check_support(pair: Any, batch: Any) -> None:
    """Raise if observed values lie outside the support of their distribution; the random state is restored.

    Args:
        pair: A pair.
        batch: Data to check: a tensor, a tuple or a mapping.

    Raises:
        ValueError: Names the site, what was expected, the range found and what to do.
    """
    args, kwargs = split_batch(batch)
    tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor)]
    devices = [tensor.device for tensor in tensors if tensor.device.type == "cuda"][:1]
    with torch.random.fork_rng(devices=devices), pair.running(), keeping_buffers(pair):
        guide_trace = poutine.trace(pair.guide).get_trace(*args, **kwargs)
        model_trace = poutine.trace(poutine.replay(pair.model, trace=guide_trace)).get_trace(*args, **kwargs)
    for name, site in sites(model_trace).items():
        value = site["value"]
        if not site["is_observed"] or not isinstance(value, torch.Tensor):
            continue
        if not site["fn"].support.check(value).all():
            advice = ""
            if "Boolean" in repr(site["fn"].support):
                advice = ' Binarise the data: datasets.load(..., binarize="threshold"), "fixed" or "dynamic".'
            raise ValueError(
                f"Data at site {name!r} must lie in {site['fn'].support}; found values from {value.min().item():g} to "
                f"{value.max().item():g}.{advice}"
            )
