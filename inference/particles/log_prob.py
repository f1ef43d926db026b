"""Log-density of a site: as a factor with its plates, and summed over all but particles and data."""

from typing import Any

from pyro.distributions.util import scale_and_mask
from torch import Tensor

from ppgen.inference.particles.factors import Factor
from ppgen.inference.structure.layout import Layout
from ppgen.inference.structure.missing import filled
from ppgen.inference.structure.plates import PARTICLES, frames_of
from ppgen.inference.structure.traces import data_factor, data_frame, unmasked

__all__ = ["PARTICLES", "drawn_factor", "drawn_log_prob", "site_factor", "summed_log_prob"]


def site_factor(site: Any, sign: int, layout: Layout, log_prob: Tensor | None = None) -> Factor:
    """Scaled and masked log-density of a site with the plates that it lies in.

    Args:
        site: A site of a trace.
        sign: 1 in the model, -1 in the guide.
        layout: Structure of the pair.
        log_prob: What stands in the place of its log-density, (..., plates).

    Raises:
        ValueError: If the log-density has more dimensions than there are plates.
    """
    if log_prob is None:
        value = filled(site) if site["is_observed"] else site["value"]
        log_prob = site["fn"].log_prob(value, *site["args"], **site["kwargs"])
    factor = data_factor(data_frame(site, layout.plate))
    scale = site["scale"] if factor == 1 else site["scale"] / factor
    log_prob = scale_and_mask(log_prob, scale, site["mask"])
    ndim = -layout.particle_dim
    if log_prob.dim() > ndim:
        raise ValueError(
            f"log_prob at site {site['name']!r} has shape {tuple(log_prob.shape)}, more dimensions than its plates; "
            "declare event dimensions with .to_event()."
        )
    log_prob = log_prob.reshape((1,) * (ndim - log_prob.dim()) + log_prob.shape)
    return Factor(site["name"], sign, log_prob, frames_of(site), layout.plate)


def drawn_factor(site: Any, sign: int, layout: Layout) -> Factor:
    """Log-density of a site by which its value was drawn, without scale and mask, with the plates that it lies in."""
    factor = data_factor(data_frame(site, layout.plate))
    return site_factor({**site, "fn": unmasked(site["fn"]), "scale": factor, "mask": None}, sign, layout)


def summed_log_prob(site: Any, layout: Layout, log_prob: Tensor | None = None) -> Tensor:
    """Scaled and masked log-density of a site, summed over all but particles and data: (K or 1, B or 1)."""
    return site_factor(site, 1, layout, log_prob).columns


def drawn_log_prob(site: Any, layout: Layout) -> Tensor:
    """Log-density of a site by which its value was drawn, without scale and mask: (K or 1, B or 1)."""
    return drawn_factor(site, 1, layout).columns
