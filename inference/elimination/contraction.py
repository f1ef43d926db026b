"""Variable elimination in factors with plates (Obermeyer et al. 2019, "Tensor Variable Elimination", 1902.03210)."""

from collections import OrderedDict
from collections.abc import Collection, Sequence
from typing import Any

from pyro.ops.contract import contract_tensor_tree
from pyro.ops.rings import Ring

from ppgen.inference.elimination.factors import Factor, product, touching
from ppgen.inference.elimination.sums import Sum, log_sum


def contracted(
    factors: Sequence[Factor], variables: Collection[str], kept: Collection[str], sum_over: Sum = log_sum
) -> list[Factor]:
    """Factors without some variables, which are summed over in every entry of the plates that they lie in.

    Args:
        factors: Log-densities, in nats; all of them depend on the variables.
        variables: Names of the variables.
        kept: Plates that are left as they are: the results have one entry for each of theirs.
        sum_over: By what variables are eliminated.

    Raises:
        ValueError: If variables in independent plates are joined, so that the sum has more terms than can be had.
    """
    if not factors:
        return []
    names = list({name: None for factor in factors for name in (*factor.dims, *sorted(factor.plates))})
    symbols = {name: chr(ord("A") + at) for at, name in enumerate(names)}
    tree: OrderedDict[frozenset[str], list[Any]] = OrderedDict()
    for factor in factors:
        term: Any = factor.tensor[...]  # a tensor of its own, which carries the names
        term._pyro_dims = "".join(symbols[name] for name in factor.dims)
        tree.setdefault(frozenset(symbols[name] for name in factor.plates if name not in kept), []).append(term)
    try:
        done = contract_tensor_tree(
            tree, {symbols[name] for name in variables if name in symbols}, ring=_Sums(sum_over)
        )
    except NotImplementedError as error:
        raise ValueError(
            f"The sites {sorted(variables)}, which are summed over, cannot be eliminated: variables in independent "
            "plates depend on each other, so that the number of terms grows exponentially with the sizes of the "
            "plates. Make one of the plates a loop (for i in pyro.plate(...)), or draw the sites in the guide."
        ) from error
    known = {symbol: name for name, symbol in symbols.items()}
    return [
        Factor(term, tuple(known[symbol] for symbol in term._pyro_dims), frozenset(kept))
        for terms in done.values()
        for term in terms
    ]


class _Sums(Ring):
    """Pyro's interface to sums and products; in logarithms, and without a product that underflows."""

    def __init__(self, sum_over: Sum) -> None:
        super().__init__()
        self._sum_over = sum_over

    def sumproduct(self, terms: Sequence[Any], dims: Collection[str]) -> Any:
        """The product of terms, summed over dimensions, one after another: the cheapest first."""
        factors = [Factor(term, tuple(term._pyro_dims), frozenset()) for term in terms]
        left = sorted(dims)
        while left:
            name = min(left, key=lambda name: _cost(touching(factors, [name])))
            left.remove(name)
            joined = touching(factors, [name])
            whole = product(joined)
            at = whole.dims.index(name)
            summed = Factor(self._sum_over(whole.tensor, at), (*whole.dims[:at], *whole.dims[at + 1 :]), whole.plates)
            factors = [factor for factor in factors if name not in factor.dims] + [summed]
        return _term(product(factors, sorted({name for factor in factors for name in factor.dims})))

    def product(self, term: Any, ordinal: Collection[str]) -> Any:
        """The product of a term over plates."""
        at = [place for place, name in enumerate(term._pyro_dims) if name in ordinal]
        if not at:
            return term
        rest = tuple(name for name in term._pyro_dims if name not in ordinal)
        return _term(Factor(term.sum(at), rest, frozenset()))

    def inv(self, term: Any) -> Any:
        """The reciprocal, which only targets inside of plates need."""
        raise NotImplementedError


def _term(factor: Factor) -> Any:
    term: Any = factor.tensor[...]
    term._pyro_dims = "".join(factor.dims)
    return term


def _cost(factors: Sequence[Factor]) -> int:
    sizes: dict[str, int] = {}
    for factor in factors:
        sizes.update(zip(factor.dims, factor.tensor.shape, strict=True))
    total = 1
    for size in sizes.values():
        total *= size
    return total
