"""Posterior of the sites that are summed out: probabilities, exact draws, the most probable values."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ppgen.inference.elimination.marginal import Summand
from ppgen.inference.elimination.potentials import Potential
from ppgen.inference.elimination.sums import Sum, log_sum, maximum, sampled


def probabilities(summand: Summand) -> dict[str, Tensor]:
    r"""Posterior probability of each value of each site, by itself: (values, *plates); they add up to 1 over values.

    .. math:: p(z_i = v \mid x) = \partial \log p(x) / \partial \log \psi_i(v)

    Args:
        summand: The part of a model that depends on the sites.
    """
    found = _gradients(summand, log_sum)
    for name in summand.variables:
        if name not in found:  # it has but one value
            found[name] = torch.ones(1, *(summand.sizes[plate] for plate in summand.around(name)))
    return {name: found[name] for name in summand.variables}


def draws(summand: Summand) -> dict[str, Tensor]:
    """One exact draw of all sites from their joint posterior: (*plates, *event shape), from torch's random state.

    Forward filtering, backward sampling, in whatever order the sites are eliminated: the gradient of each sum is put on
    one of its terms, drawn in proportion to it.
    """
    return _values(summand, _gradients(summand, sampled))


def most_probable(summand: Summand) -> dict[str, Tensor]:
    """The values of all sites that are most probable together (a path of Viterbi 1967): (*plates, *event shape)."""
    return _values(summand, _gradients(summand, maximum))


METHODS: dict[str, Callable[[Summand], dict[str, Tensor]]] = {
    "probabilities": probabilities,
    "draws": draws,
    "most probable": most_probable,
}


@torch.enable_grad()
def _gradients(summand: Summand, sum_over: Sum) -> dict[str, Tensor]:
    """Gradient of the log-density in a potential 1 of each site, with all plates around it: (values, *plates)."""
    like = next(iter(summand.potentials.values())).tensor if summand.potentials else torch.zeros(())
    ones: dict[str, Tensor] = {}
    potentials = []
    for name in summand.names:
        plates = summand.around(name)
        shape = (summand.variables[name].size, *(summand.sizes[plate] for plate in plates))
        ones[name] = like.new_zeros(shape, requires_grad=True)
        dims = tuple(each for each, size in zip((name, *plates), shape, strict=True) if size > 1)
        tensor = ones[name].reshape([size for size in shape if size > 1])
        potentials.append(Potential(tensor, dims, summand.plates[name] | set(summand.kept)))
    if not ones:
        return {}
    detached = {
        name: Potential(each.tensor.detach(), each.dims, each.plates) for name, each in summand.potentials.items()
    }
    total = replace(summand, potentials=detached).log_density(sum_over, potentials).sum()
    found = torch.autograd.grad(total, list(ones.values()))
    return dict(zip(ones, found, strict=True))


def _values(summand: Summand, chosen: dict[str, Tensor]) -> dict[str, Tensor]:
    """Values at the chosen places; of a variable that has but one value, that."""
    found = {name: summand.variables[name].support[place.argmax(0)] for name, place in chosen.items()}
    for name, variable in summand.variables.items():
        if name not in found:
            sizes = [summand.sizes[plate] for plate in summand.around(name)]
            found[name] = variable.support[torch.zeros(sizes, dtype=torch.long, device=variable.support.device)]
    return {name: found[name] for name in summand.variables}
