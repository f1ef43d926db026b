"""Log-densities whose dimensions have names: those of plates and of the variables that are summed over."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyro.distributions.util import scale_and_mask
from torch import Tensor

from ppgen.inference.elimination.enumerated import Enumerated, out_of_reach
from ppgen.inference.structure.missing import filled
from ppgen.inference.structure.plates import sized
from ppgen.inference.structure.traces import unmasked


@dataclass(frozen=True)
class Factor:
    """A log-density with a name for each of its dimensions.

    Attributes:
        tensor: Its values, in nats; dimensions of one entry are left out.
        dims: Names of its dimensions, of plates or of variables.
        plates: Plates that it lies in, also those of one entry.
    """

    tensor: Tensor
    dims: tuple[str, ...]
    plates: frozenset[str]

    def aligned(self, dims: Sequence[str]) -> Tensor:
        """Its values with the dimensions of some names in their order, of one entry where it has none."""
        order = sorted(range(len(self.dims)), key=lambda at: dims.index(self.dims[at]))
        tensor = self.tensor if order == list(range(len(order))) else self.tensor.permute(order)
        shape = [self.tensor.shape[self.dims.index(name)] if name in self.dims else 1 for name in dims]
        return tensor if list(tensor.shape) == shape else tensor.reshape(shape)


def product(factors: Sequence[Factor], first: Sequence[str] = ()) -> Factor:
    """The product of factors, over the dimensions of them all; of some names first."""
    names = {name: None for factor in factors for name in factor.dims}
    dims = (*(name for name in first if name in names), *(name for name in names if name not in first))
    # Those with fewer dimensions are added to each other before they are spread over more.
    parts = sorted((factor.aligned(dims) for factor in factors), key=lambda part: part.numel())
    plates = frozenset().union(*(factor.plates for factor in factors))
    return Factor(sum(parts[1:], parts[0]), dims, plates)


def frames_of(site: Any) -> list[Any]:
    """Vectorised plates around a site, with their sizes."""
    return [sized(frame, site) for frame in site["cond_indep_stack"] if frame.vectorized]


def site_log_prob(site: Any, summed: bool) -> Tensor:
    """Log-density of a site, without its scale; a mask leaves out its term, but not the law of what is summed over."""
    if summed:
        fn, mask, value = unmasked(site["fn"]), None, site["value"]
    else:
        fn, mask = site["fn"], site["mask"]
        value = filled(site) if site["is_observed"] else site["value"]
    log_prob = fn.log_prob(value, *site["args"], **site["kwargs"])
    masked: Tensor = scale_and_mask(log_prob, 1.0, mask)
    return masked


def named(site: Any, log_prob: Tensor, variables: Mapping[int, str]) -> Factor:
    """The factor of a site, with the names of its plates and of the variables in its reach.

    Raises:
        ValueError: If it has other dimensions; names the site.
    """
    frames = frames_of(site)
    names = {**variables, **{frame.dim: frame.name for frame in frames}}
    dims = []
    for dim, size in zip(range(-log_prob.dim(), 0), log_prob.shape, strict=True):
        if size > 1:
            if dim not in names:
                raise ValueError(out_of_reach(site["name"], tuple(log_prob.shape)))
            dims.append(names[dim])
    shape = [size for size in log_prob.shape if size > 1]
    tensor = log_prob if len(shape) == log_prob.dim() else log_prob.reshape(shape)
    return Factor(tensor, tuple(dims), frozenset(frame.name for frame in frames))


def site_factors(found: Mapping[str, Any], enumerated: Enumerated) -> dict[str, Factor]:
    """Factors of the sites that depend on variables, by name.

    Args:
        found: Sites of the model, run under the handler.
        enumerated: The handler.
    """
    factors = {}
    variables = {variable.name for variable in enumerated.variables.values() if variable.size > 1}
    around = {name: {frame.name for frame in frames_of(found[name])} for name in enumerated.variables}
    for name, site in found.items():
        if site["infer"].get("_deterministic"):
            continue
        dims = {dim: other for dim, other in enumerated.dims.get(name, {}).items() if other in variables}
        if not dims:
            continue
        factor = named(site, site_log_prob(site, name in enumerated.variables), dims)
        for other in variables.intersection(factor.dims):
            if outside := around[other] - factor.plates:
                raise ValueError(
                    f"Site {name!r} lies outside plate {sorted(outside)[0]!r} and depends on site {other!r} inside of "
                    f"it, which is marked to be enumerated: its sum would join all rows of the plate. Draw {other!r} "
                    f"in the guide, or put {name!r} into the plate."
                )
        if not variables.isdisjoint(factor.dims):
            factors[name] = factor
    return factors


def plate_sizes(found: Iterable[Any]) -> dict[str, int]:
    """Sizes of the vectorised plates around some sites."""
    return {frame.name: int(frame.size) for site in found for frame in frames_of(site)}


def touching(factors: Iterable[Factor], names: Collection[str]) -> list[Factor]:
    """Factors that depend on some of the variables."""
    return [factor for factor in factors if not set(names).isdisjoint(factor.dims)]
