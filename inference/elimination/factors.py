"""Log-densities whose dimensions have names: those of plates and of the variables that are summed over."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ppgen.inference.structure.plates import sized


@dataclass(frozen=True, eq=False)
class Factor:
    """A log-density with a name for each of its dimensions.

    Attributes:
        tensor: Its values, in nats; dimensions of one entry are left out.
        dims: Names of its dimensions, of plates or of variables.
        plates: Plates that it lies in, also those of one entry.
        rows: Tensors of alike factors below each other, of which this one is a row; None if it stands alone.
        row: Which row.
    """

    tensor: Tensor
    dims: tuple[str, ...]
    plates: frozenset[str]
    rows: Tensor | None = None
    row: int = 0

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


def plate_sizes(found: Iterable[Any]) -> dict[str, int]:
    """Sizes of the vectorised plates around some sites, the leftmost plate first."""
    frames = {frame.name: frame for site in found for frame in frames_of(site)}
    return {name: int(frame.size) for name, frame in sorted(frames.items(), key=lambda item: item[1].dim)}


def touching(factors: Iterable[Factor], names: Collection[str]) -> list[Factor]:
    """Factors that depend on some of the variables."""
    return [factor for factor in factors if not set(names).isdisjoint(factor.dims)]


def summed_over_plates(factor: Factor, kept: Collection[str]) -> Factor:
    """The product of a factor over all of its dimensions but some."""
    at = [place for place, name in enumerate(factor.dims) if name not in kept]
    if not at:
        return factor
    dims = tuple(name for name in factor.dims if name in kept)
    return Factor(factor.tensor.sum(at), dims, factor.plates)
