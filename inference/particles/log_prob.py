"""Log-density of a site, summed over all but particles and data."""

from typing import Any

from pyro.distributions.util import scale_and_mask
from torch import Tensor

from ppgen.inference.structure.layout import Layout
from ppgen.inference.structure.missing import filled
from ppgen.inference.structure.traces import data_factor, unmasked

PARTICLES = "_particles"  # name of the plate that holds them


def summed_log_prob(site: Any, frame: Any | None, layout: Layout, log_prob: Tensor | None = None) -> Tensor:
    """Scaled and masked log-density of a site, summed over all but particles and data: (K or 1, B or 1)."""
    if log_prob is None:
        value = filled(site) if site["is_observed"] else site["value"]
        log_prob = site["fn"].log_prob(value, *site["args"], **site["kwargs"])
    factor = data_factor(frame)
    scale = site["scale"] if factor == 1 else site["scale"] / factor
    log_prob = scale_and_mask(log_prob, scale, site["mask"])
    ndim = -layout.particle_dim
    if log_prob.dim() > ndim:
        raise ValueError(
            f"log_prob at site {site['name']!r} has shape {tuple(log_prob.shape)}, more dimensions than its plates; "
            "declare event dimensions with .to_event()."
        )
    log_prob = log_prob.reshape((1,) * (ndim - log_prob.dim()) + log_prob.shape)
    kept = (0, ndim + layout.data_dim) if frame is not None else (0,)
    summed = [dim for dim in range(ndim) if dim not in kept]
    log_prob = log_prob.sum(summed) if summed else log_prob
    return log_prob if frame is not None else log_prob.unsqueeze(1)


def drawn_log_prob(site: Any, frame: Any | None, layout: Layout) -> Tensor:
    """Log-density of a site by which its value was drawn, without scale and mask: (K or 1, B or 1)."""
    return summed_log_prob(
        {**site, "fn": unmasked(site["fn"]), "scale": data_factor(frame), "mask": None}, frame, layout
    )
