"""Log-density of a program with its marked sites summed out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from ppgen.inference.elimination.chains import eliminated, find_chains
from ppgen.inference.elimination.contraction import contracted
from ppgen.inference.elimination.enumerated import Enumerated, Variable
from ppgen.inference.elimination.potentials import Potential, plate_sizes, plates_around, product, summed_over_plates
from ppgen.inference.elimination.site_potentials import site_potentials
from ppgen.inference.elimination.sums import Sum, log_sum


@dataclass(frozen=True)
class Summand:
    r"""The part of a model that depends on the discrete sites that are summed out.

    .. math:: \log \sum_d \prod_i \psi_i(d)

    Attributes:
        potentials: Log-densities by site, in nats: each a log psi.
        variables: The variables d, in the order of the program.
        plates: Plates around each variable.
        sizes: Sizes of all plates, the leftmost first.
        kept: Plates that join nothing, those of particles and data, in each entry of which there is a sum of its own.
    """

    potentials: Mapping[str, Potential]
    variables: Mapping[str, Variable]
    plates: Mapping[str, frozenset[str]]
    sizes: Mapping[str, int]
    kept: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """Variables on which a potential depends: those of more than one value."""
        found = {name for potential in self.potentials.values() for name in potential.dims}
        return [name for name in self.variables if name in found]

    def log_density(self, sum_over: Sum = log_sum, more: Iterable[Potential] = ()) -> Tensor:
        """Log-density with the variables eliminated, in nats: a dimension for each plate that is kept, of 1 or more.

        Args:
            sum_over: By what variables are eliminated.
            more: Potentials beside those of the sites.
        """
        names = self.names
        left = [*self.potentials.values(), *more]
        done = []
        sizes = {name: self.variables[name].size for name in names}
        for chain in find_chains(left, {name: self.plates[name] for name in names}, sizes):
            own = {id(potential) for potential in chain.potentials}
            left = [potential for potential in left if id(potential) not in own]
            done.append(eliminated(chain, self.kept, sum_over))
        done += contracted(left, names, self.kept, sum_over)
        over = [summed_over_plates(potential, self.kept) for potential in done]
        return product([Potential(each.aligned(self.kept), self.kept, each.plates) for each in over]).tensor

    def columns(self, num_rows: int) -> Tensor:
        """Log-density with the variables eliminated, as the columns of a log-weight: (particles or 1, rows)."""
        found = self.log_density()
        return found.unsqueeze(1) if found.dim() == 1 else found.expand(-1, num_rows)

    def repeated(self, plate: str, count: int) -> "Summand":
        """A summand in a plate of some entries, left of the others, which its potentials do not depend on."""
        return replace(self, sizes={plate: count, **self.sizes})

    def around(self, name: str) -> list[str]:
        """Plates in which a variable has values of its own, the leftmost first."""
        return [plate for plate in self.sizes if plate in self.kept or plate in self.plates[name]]


def summand(found: Mapping[str, Any], enumerated: Enumerated, kept: Sequence[str]) -> Summand:
    """The part of a model that depends on marked sites.

    Args:
        found: Sites of the model, run under the handler.
        enumerated: The handler.
        kept: Names of the plates of particles and data.
    """
    variables = enumerated.variables
    return Summand(
        site_potentials(found, enumerated, kept),
        variables,
        {name: frozenset(frame.name for frame in plates_around(found[name])) for name in variables},
        plate_sizes(found.values()),
        tuple(kept),
    )
