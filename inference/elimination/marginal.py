"""Log-density of a program with its marked sites summed out."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ppgen.inference.elimination.chains import eliminated, find_chains
from ppgen.inference.elimination.contraction import contracted, joined
from ppgen.inference.elimination.enumerated import Enumerated, Variable
from ppgen.inference.elimination.factors import Factor, frames_of, plate_sizes
from ppgen.inference.elimination.site_factors import site_factors
from ppgen.inference.elimination.sums import Sum, log_sum


@dataclass(frozen=True)
class Summand:
    """The part of a model that depends on the variables that are summed out.

    Attributes:
        factors: Its factors by site, in nats.
        variables: The variables, in the order of the program.
        plates: Plates around each variable.
        sizes: Sizes of all plates.
    """

    factors: dict[str, Factor]
    variables: dict[str, Variable]
    plates: dict[str, frozenset[str]]
    sizes: dict[str, int] = field(default_factory=dict)

    def log_density(self, kept: Sequence[str], sum_over: Sum = log_sum, more: Iterable[Factor] = ()) -> Tensor:
        """Log-density with the variables eliminated: one dimension for each of some plates, of one entry or more.

        Args:
            kept: Names of the plates that are left; the product is taken over the others.
            sum_over: By what variables are eliminated.
            more: Factors beside those of the sites.
        """
        names = self.joined_variables
        factors = [*self.factors.values(), *more]
        like = factors[0].tensor
        left = factors
        done = []
        sizes = {name: self.variables[name].size for name in names}
        for chain in find_chains(factors, {name: self.plates[name] for name in names}, sizes):
            part = eliminated(chain, kept, sum_over)
            left = [factor for factor in left if all(factor is not other for other in chain.factors)]
            done.append(part)
        done += contracted(left, names, kept, sum_over)
        return joined([_over(factor, kept) for factor in done], kept, like)

    @property
    def joined_variables(self) -> list[str]:
        """Variables on which a factor depends."""
        found = {name for factor in self.factors.values() for name in factor.dims}
        return [name for name in self.variables if name in found]


def summand(found: Mapping[str, Any], enumerated: Enumerated, kept: Collection[str]) -> Summand:
    """The part of a model that depends on marked sites, from its sites run under the handler."""
    variables = enumerated.variables
    return Summand(
        site_factors(found, enumerated, kept),
        variables,
        {name: frozenset(frame.name for frame in frames_of(found[name])) for name in variables},
        plate_sizes(found.values()),
    )


def _over(factor: Factor, kept: Collection[str]) -> Factor:
    """The product of a factor over all plates but some."""
    at = [place for place, name in enumerate(factor.dims) if name not in kept]
    if not at:
        return factor
    dims = tuple(name for name in factor.dims if name in kept)
    return Factor(factor.tensor.sum(at), dims, factor.plates)
