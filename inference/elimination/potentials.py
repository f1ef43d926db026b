"""Log-densities whose dimensions have names: those of plates and of the variables that are summed over."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ppgen.inference.structure.plates import sized


@dataclass(frozen=True, eq=False)
class Potential:
    """A log-density with a name for each of its dimensions.

    Attributes:
        tensor: Its values, in nats; dimensions of one entry are left out.
        dims: Names of its dimensions, of plates or of variables.
        plates: Plates that it lies in, also those of one entry.
        rows: Tensors of alike potentials below each other, of which this one is a row; None if it stands alone.
        row: Which row.
    """

    tensor: Tensor
    dims: tuple[str, ...]
    plates: frozenset[str]
    rows: Tensor | None = None
    row: int = 0

    def aligned(self, dims: Sequence[str]) -> Tensor:
        """Values of a potential with the dimensions of some names in their order, of one entry where it has none."""
        order = sorted(range(len(self.dims)), key=lambda at: dims.index(self.dims[at]))
        tensor = self.tensor if order == list(range(len(order))) else self.tensor.permute(order)
        shape = [self.tensor.shape[self.dims.index(name)] if name in self.dims else 1 for name in dims]
        return tensor if list(tensor.shape) == shape else tensor.reshape(shape)


def product(potentials: Sequence[Potential], first: Sequence[str] = ()) -> Potential:
    """The product of potentials, over the dimensions of them all; of some names first."""
    names = {name: None for potential in potentials for name in potential.dims}
    dims = (*(name for name in first if name in names), *(name for name in names if name not in first))
    # Those with fewer dimensions are added to each other before they are spread over more.
    parts = sorted((potential.aligned(dims) for potential in potentials), key=lambda part: part.numel())
    plates = frozenset().union(*(potential.plates for potential in potentials))
    return Potential(sum(parts[1:], parts[0]), dims, plates)


def plates_around(site: Any) -> list[Any]:
    """Vectorised plates around a site, with their sizes."""
    return [sized(frame, site) for frame in site["cond_indep_stack"] if frame.vectorized]


def plate_sizes(found: Iterable[Any]) -> dict[str, int]:
    """Sizes of the vectorised plates around some sites, the leftmost plate first."""
    frames = {frame.name: frame for site in found for frame in plates_around(site)}
    return {name: int(frame.size) for name, frame in sorted(frames.items(), key=lambda item: item[1].dim)}


def touching(potentials: Iterable[Potential], names: Collection[str]) -> list[Potential]:
    """Potentials that depend on some of the variables."""
    return [potential for potential in potentials if not set(names).isdisjoint(potential.dims)]


def summed_over_plates(potential: Potential, kept: Collection[str]) -> Potential:
    """The product of a potential over all of its dimensions but some."""
    at = [place for place, name in enumerate(potential.dims) if name not in kept]
    if not at:
        return potential
    dims = tuple(name for name in potential.dims if name in kept)
    return Potential(potential.tensor.sum(at), dims, potential.plates)
