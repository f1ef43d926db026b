"""Variable elimination in potentials with plates (Obermeyer et al. 2019, "Tensor Variable Elimination", 1902.03210)."""

from collections import OrderedDict
from collections.abc import Collection, Sequence
from typing import Any

from pyro.ops.contract import contract_tensor_tree
from pyro.ops.rings import Ring

from ppgen.inference.elimination.potentials import Potential, product, touching
from ppgen.inference.elimination.sums import Sum, log_sum


def contracted(
    potentials: Sequence[Potential], variables: Collection[str], kept: Collection[str], sum_over: Sum = log_sum
) -> list[Potential]:
    """Potentials without some variables, which are summed over in every entry of the plates that they lie in.

    Args:
        potentials: Log-densities, in nats; all of them depend on the variables.
        variables: Names of the variables.
        kept: Plates that are left as they are: the results have one entry for each of theirs.
        sum_over: By what variables are eliminated.

    Raises:
        ValueError: If variables in independent plates are joined, so that the sum has more terms than can be had.
    """
    if not potentials:
        return []
    names = list({name: None for potential in potentials for name in (*potential.dims, *sorted(potential.plates))})
    symbols = {name: chr(ord("A") + at) for at, name in enumerate(names)}
    tree: OrderedDict[frozenset[str], list[Any]] = OrderedDict()
    for potential in potentials:
        term: Any = potential.tensor[...]  # a tensor of its own, which carries the names
        term._pyro_dims = "".join(symbols[name] for name in potential.dims)
        tree.setdefault(frozenset(symbols[name] for name in potential.plates if name not in kept), []).append(term)
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
        Potential(term, tuple(known[symbol] for symbol in term._pyro_dims), frozenset(kept))
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
        potentials = [Potential(term, tuple(term._pyro_dims), frozenset()) for term in terms]
        left = sorted(dims)
        while left:
            name = min(left, key=lambda name: _cost(touching(potentials, [name])))
            left.remove(name)
            joined = touching(potentials, [name])
            whole = product(joined)
            at = whole.dims.index(name)
            summed = Potential(
                self._sum_over(whole.tensor, at), (*whole.dims[:at], *whole.dims[at + 1 :]), whole.plates
            )
            potentials = [potential for potential in potentials if name not in potential.dims] + [summed]
        return _term(product(potentials, sorted({name for potential in potentials for name in potential.dims})))

    def product(self, term: Any, ordinal: Collection[str]) -> Any:
        """The product of a term over plates."""
        at = [place for place, name in enumerate(term._pyro_dims) if name in ordinal]
        if not at:
            return term
        rest = tuple(name for name in term._pyro_dims if name not in ordinal)
        return _term(Potential(term.sum(at), rest, frozenset()))

    def inv(self, term: Any) -> Any:
        """Refused: Pyro's base class asks for it, and only targets inside of plates, which none is here, need it."""
        raise NotImplementedError("Potentials are summed to a target outside of all plates, which takes no reciprocal.")


def _term(potential: Potential) -> Any:
    term: Any = potential.tensor[...]
    term._pyro_dims = "".join(potential.dims)
    return term


def _cost(potentials: Sequence[Potential]) -> int:
    sizes: dict[str, int] = {}
    for potential in potentials:
        sizes.update(zip(potential.dims, potential.tensor.shape, strict=True))
    total = 1
    for size in sizes.values():
        total *= size
    return total
