"""Factors of a log-weight: the log-density of one site, with the plates that it lies in."""

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from pyro.distributions.util import scale_and_mask
from torch import Tensor

from ppgen.inference.structure.layout import Layout
from ppgen.inference.structure.missing import filled
from ppgen.inference.structure.plates import Frame, frames_of
from ppgen.inference.structure.traces import data_factor, data_frame, unmasked


@dataclass(frozen=True, eq=False)
class Factor:
    r"""Log-density of one site, not yet summed over the plates that it lies in.

    .. math:: \log w = \sum_s \pm_s \sum_{\text{plates of } s} \text{value}_s

    Attributes:
        name: The site.
        sign: 1 in the model, -1 in the guide.
        value: Scaled and masked log-density in nats, (particles or 1, ...plates): a plate at dim d is the tensor's
            dimension d, counted from the right; dimensions of other plates are 1. The scale of the data plate is
            divided out.
        frames: Vectorised plates around the site.
        plate: Name of the data plate, whose rows are the columns of a log-weight; None if there is none.

    Example:
        >>> import torch
        >>> from ppgen.inference.structure.plates import Frame
        >>> frames = (Frame("words", -2, 3, 3), Frame("data", -1, 5, 5))
        >>> factor = Factor("x", 1, torch.ones(7, 3, 5), frames, "data")
        >>> factor.columns.shape, factor.over({"words"}).shape, factor.over(()).shape
        (torch.Size([7, 5]), torch.Size([7, 3, 1]), torch.Size([7, 1, 1]))
    """

    name: str
    sign: int
    value: Tensor = field(repr=False)
    frames: tuple[Frame, ...] = ()
    plate: str | None = None

    @classmethod
    def of_columns(cls, name: str, sign: int, columns: Tensor, plate: str | None, inside: bool) -> "Factor":
        """A factor that is known by datum, (particles or 1, rows), or outside the data plate, (particles or 1, 1)."""
        if plate is None or not inside:
            return cls(name, sign, columns.squeeze(1), (), plate)
        rows = columns.shape[1]
        return cls(name, sign, columns, (Frame(plate, -1, rows, rows),), plate)

    @property
    def plates(self) -> frozenset[str]:
        """Names of the plates that it lies in."""
        return frozenset(frame.name for frame in self.frames)

    @property
    def inside(self) -> bool:
        """Whether it is one of the terms of a datum: it lies in the data plate, or there is none and all is one."""
        return self.plate is None or self.plate in self.plates

    def over(self, plates: Collection[str]) -> Tensor:
        """Value summed over all of its plates but some, with as many dimensions: (particles or 1, ...plates)."""
        kept = {self.value.dim() + frame.dim for frame in self.frames if frame.name in plates}
        summed = [dim for dim in range(1, self.value.dim()) if dim not in kept]
        return self.value.sum(summed, keepdim=True) if summed else self.value

    @cached_property
    def columns(self) -> Tensor:
        """Value summed over all plates but that of the data: (particles or 1, rows), or (particles or 1, 1) outside."""
        kept = {0, *(self.value.dim() + frame.dim for frame in self.frames if frame.name == self.plate)}
        summed = [dim for dim in range(self.value.dim()) if dim not in kept]
        columns = self.value.sum(summed) if summed else self.value
        return columns if len(kept) > 1 else columns.unsqueeze(1)

    @cached_property
    def signed(self) -> Tensor:
        """Columns with the sign of the factor, as a log-weight adds them up."""
        return self.sign * self.columns


def joined_factor(runs: Collection[Factor | None]) -> Factor:
    """One factor of runs of one particle each, below each other; 0 where a run did not draw the site.

    Plates of another size in one run than in another are summed.
    """
    found = [factor for factor in runs if factor is not None]
    if len({factor.value.shape[1:] for factor in found}) > 1:
        found = [Factor.of_columns(f.name, f.sign, f.columns, f.plate, f.inside) for f in found]
    given = iter(found)
    parts = [torch.zeros_like(found[0].value[:1]) if run is None else next(given).value for run in runs]
    return Factor(found[0].name, found[0].sign, torch.cat(parts), found[0].frames, found[0].plate)


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
