"""Runs of guide and model in antithetic pairs: what the two members of a pair share, site by site."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ppgen.inference.estimators.estimator import Estimator
from ppgen.inference.structure.traces import base_law

_MEMBERS = 2


@dataclass(frozen=True)
class Pairing:
    """How runs are coupled: their dimension is (sites drawn in pairs, members of a pair, particles).

    The two members of a pair of one site share all that the guide draws before the site, get antithetic uniforms at it,
    and go on independently after it.

    Attributes:
        sites: Sites drawn in pairs, in the order in which the guide draws them.
        order: All sites of the guide, in that order.
    """

    sites: tuple[str, ...]
    order: tuple[str, ...]

    @classmethod
    def of(cls, plan: Mapping[str, Estimator | None]) -> "Pairing | None":
        """The coupling that a plan asks for; None if no site is drawn in pairs."""
        sites = tuple(name for name, estimator in plan.items() if estimator is not None and estimator.paired)
        return cls(sites, tuple(plan)) if sites else None

    def runs(self, num_particles: int) -> int:
        """Runs of guide and model that stand for some particles."""
        return len(self.sites) * _MEMBERS * num_particles

    def split(self, value: Tensor) -> Tensor:
        """Runs by site, member and particle: (runs, ...) -> (sites, 2, particles, ...)."""
        return value.unflatten(0, (len(self.sites), _MEMBERS, -1))

    def bits(self, name: str, fn: Any) -> Tensor:
        """Draw from a law of independent Bernoulli variables at a site drawn in pairs: (runs, ...)."""
        probs = base_law(fn).probs
        uniforms = torch.rand(fn.shape(), dtype=probs.dtype, device=probs.device)
        first, second = self.split(uniforms).unbind(1)
        at = self.sites.index(name)
        second = torch.cat([second[:at], 1 - first[at : at + 1], first[at + 1 :]])
        return (_joined(first, second) < probs).to(probs.dtype)

    def shared(self, name: str, value: Tensor) -> Tensor:
        """Value at another site, drawn for each run by itself, as pairs of the sites after it share it: (runs, ...)."""
        first, second = self.split(value).unbind(1)
        before = sum(self.order.index(site) < self.order.index(name) for site in self.sites)
        return _joined(first, torch.cat([second[:before], first[before:]]))


def _joined(first: Tensor, second: Tensor) -> Tensor:
    return torch.stack([first, second], 1).flatten(0, 2)
