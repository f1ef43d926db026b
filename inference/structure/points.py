"""Latents to which a guide gives a point and no law, so that a log-weight is a log-density there and no bound."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from pyro import poutine
from pyro.distributions import Delta
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor
from torch.distributions import biject_to

from ppgen.distributions import UndirectedDistribution
from ppgen.undisturbed import CPU, forked

_OTHER = 20_011  # seed of the draws that take the place of auxiliary ones


def point_sites(
    guide: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    model_sites: Mapping[str, Any],
    guide_sites: Mapping[str, Any],
    device: torch.device = CPU,
) -> tuple[str, ...]:
    """Continuous latents at which the guide has a Delta that is no image of an auxiliary draw, by name.

    A Delta is such an image, as at each site of Pyro's `AutoMultivariateNormal`, if its value moves with continuous
    auxiliary draws, and all images together hold no more numbers than those. Draws whose density does not count (noise
    under `mask(False)`) are none of these, unless the Delta carries a density itself. The guide runs twice more, from
    one random state, and only if it has a Delta at a continuous latent. At discrete latents a point is a law: log q = 0
    there is its probability, and the bound holds. So it does where the model itself states a Delta.

    Args:
        guide: The guide, run with its pair's parameters and where its random state may be used.
        args: Its arguments.
        kwargs: Its arguments by name.
        model_sites: Sites of the model by name.
        guide_sites: Sites of the guide by name.
        device: Where the guide draws.
    """
    fixed = [name for name in guide_sites if name in model_sites and _fixed(guide_sites[name], model_sites[name])]
    if not fixed:
        return ()
    with forked(device):
        first: Any = poutine.trace(guide).get_trace(*args, **kwargs)
    with forked(device):
        other: Any = poutine.trace(_Redrawn(device)(guide)).get_trace(*args, **kwargs)
    still = {name for name in fixed if torch.equal(first.nodes[name]["value"], other.nodes[name]["value"])}
    images = [name for name in fixed if name not in still]
    weighted = any(_weighted(guide_sites[name]["fn"]) for name in images)
    counted = [site for site in guide_sites.values() if _auxiliary(site) and (weighted or not _silent(site))]
    drawn = sum(site["value"].numel() for site in counted)
    if sum(_numbers(model_sites[name]["fn"], guide_sites[name]["value"]) for name in images) > drawn:
        return tuple(fixed)
    return tuple(name for name in fixed if name in still)


def check_no_points(points: tuple[str, ...], what: str, instead: str) -> None:
    """Raise where the guide has a point at a continuous latent.

    Args:
        points: Names of such sites.
        what: What cannot be had, as the subject of a sentence.
        instead: What to do.

    Raises:
        ValueError: Names the site and says what to do.
    """
    if points:
        raise ValueError(
            f"The guide gives the continuous latent site {points[0]!r} a point and no law (Delta, as AutoDelta does), "
            f"where log p(x, z) is a density in z and neither bound nor estimate of log p(x): {what} would mean "
            f"nothing. {instead}"
        )


class _Redrawn(Messenger):
    """Puts other draws at continuous auxiliary sites; the random state moves as without it."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device

    def _pyro_sample(self, msg: Any) -> None:
        if msg["value"] is not None or site_is_subsample(msg) or not _auxiliary(msg):
            return
        msg["fn"](*msg["args"], **msg["kwargs"])
        with forked(self.device, _OTHER):
            msg["value"], msg["done"] = msg["fn"](*msg["args"], **msg["kwargs"]), True


def _fixed(drawn: Any, stated: Any) -> bool:
    """Whether the guide's law at a latent is a Delta and the model's is continuous, another, and counts."""
    if stated["is_observed"] or not isinstance(_innermost(drawn["fn"]), Delta):
        return False
    law = _innermost(stated["fn"])
    return not (isinstance(law, (Delta, UndirectedDistribution)) or _silent(stated) or _discrete(stated["fn"]))


def _silent(site: Any) -> bool:
    """Whether the density of a site does not count."""
    return site["mask"] is False or getattr(site["fn"], "_mask", None) is False


def _weighted(fn: Any) -> bool:
    """Whether a Delta carries a density, as that of an image does."""
    return bool((_innermost(fn).log_density != 0).any())


def _auxiliary(site: Any) -> bool:
    """Whether a site is an auxiliary draw from a continuous law."""
    if not site["infer"].get("is_auxiliary") or site["infer"].get("_deterministic"):
        return False
    return not isinstance(_innermost(site["fn"]), Delta) and not _discrete(site["fn"])


def _innermost(fn: Any) -> Any:
    while hasattr(fn, "base_dist"):
        fn = fn.base_dist
    return fn


def _discrete(fn: Any) -> bool:
    try:
        return bool(fn.support.is_discrete)
    except NotImplementedError:
        return False


def _numbers(fn: Any, value: Tensor) -> int:
    """Unconstrained numbers that a value stands for."""
    try:
        return math.prod(biject_to(fn.support).inverse_shape(value.shape))
    except NotImplementedError:
        return 0
