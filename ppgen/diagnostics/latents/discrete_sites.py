"""Posterior of discrete sites that are summed out: probabilities, exact draws, the most probable values."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppgen import inference
from ppgen.checks.likelihood import check_has_likelihood
from ppgen.checks.seeding import check_seed
from ppgen.checks.switches import check_switches
from ppgen.diagnostics.converters.collector import CHUNK, check_counts
from ppgen.diagnostics.converters.machine_groups import whole_batch
from ppgen.inference.elimination.marginal import Summand
from ppgen.inference.elimination.posterior import METHODS
from ppgen.inference.particles.sum_checks import check_sums
from ppgen.inference.structure.layout import Layout, find_layout
from ppgen.inference.structure.plates import PARTICLES
from ppgen.inference.structure.row_dependence import with_coupled
from ppgen.pair import AnyPair, as_pair
from ppgen.undisturbed import evaluating

DRAW = "draw"


def discrete_sites(
    pair: Any,
    x: Any,
    *,
    method: str = "probabilities",
    num_samples: int = 1000,
    chunk: int = CHUNK,
    vectorize_particles: bool = True,
    seed: int = 0,
) -> Any:
    r"""Posterior of the discrete sites of the model that are summed out, as an `xarray.Dataset`.

    .. math:: p(d \mid x) = E_{q(z \mid x)} \big[ p(d \mid x, z) \big]

    d are the sites marked `infer={"enumerate": "parallel"}` that the guide does not draw, z the latents that it draws.
    Given z, probabilities, draws and most probable values are exact: sums, samples and maxima by variable elimination,
    of chains (hidden Markov models) by a parallel scan. Where the guide draws nothing nothing is approximated.

    `"probabilities"`: of each site by itself, a variable with a dimension `<site>_value` for its values, which are the
    coordinate, before its plates; averaged over draws of the guide. `"draws"`: of all sites from their joint
    posterior, one for each draw of the guide, along a dimension `draw`. `"most probable"`: the values of all sites
    that are most probable together (the path of Viterbi), along `draw` too where the guide draws from a law.

    Args:
        pair: A model of the zoo, a `ppgen.Pair` or a run.
        x: Data, (rows, features); for programs with several arguments a tuple or a mapping.
        method: `"probabilities"`, `"draws"` or `"most probable"`.
        num_samples: Draws of the guide, and of the sites; if the guide draws nothing, of the sites alone.
        chunk: Draws times rows that run at once, which bounds the memory beside the result.
        vectorize_particles: False for programs that cannot broadcast over draws of the guide.
        seed: Seed of all draws; the caller's random state is as before.

    Raises:
        ValueError: If no site of the model is summed out, or data or arguments are wrong.
        TypeError: If `pair` is none.

    References:
        | Tensor Variable Elimination for Plated Factor Graphs (Obermeyer et al., 2019), arXiv:1902.03210

    Example:
        >>> import pyro, torch, ppgen
        >>> import pyro.distributions as dist
        >>> from ppgen import diagnostics
        >>> def model(x):
        ...     with pyro.plate("data", len(x)):
        ...         c = pyro.sample("c", dist.Categorical(torch.ones(2)), infer={"enumerate": "parallel"})
        ...         pyro.sample("x", dist.Normal(2.0 * c, 1.0), obs=x)
        >>> pair = ppgen.Pair(model, lambda x: None)
        >>> found = diagnostics.discrete_sites(pair, torch.tensor([0.0, 1.0, 3.0]))
        >>> found.c.dims, found.c.sel(c_value=1).astype(float).round(2).values.tolist()
        (('c_value', 'data'), [0.12, 0.5, 0.98])
    """
    import xarray

    if not isinstance(method, str) or method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(map(repr, METHODS))}, got {method!r}.")
    check_switches(vectorize_particles=vectorize_particles)
    check_counts(num_samples=num_samples, chunk=chunk)
    seed = check_seed(seed)
    pair = as_pair(pair)
    check_has_likelihood(pair, "Posteriors of discrete sites")
    batch = whole_batch(pair, x)
    with evaluating(pair, seed):
        layout = with_coupled(pair, batch, find_layout(pair, batch))
        if not layout.marginalised:
            raise ValueError(
                "The model has no discrete site that is summed out: mark sites that the guide does not draw by "
                'pyro.sample(name, law, infer={"enumerate": "parallel"}). What the guide draws is in '
                "diagnostics.from_pyro_svi."
            )
        check_sums(pair, batch, layout)
        fixed = all(layout.sites[name].point for name in layout.latent)
        num_draws = 1 if fixed and method != "draws" else num_samples
        parts = []
        for summand in _summands(pair, batch, layout, num_draws, fixed, chunk, vectorize_particles):
            found = METHODS[method](summand)
            parts.append({name: _ordered(summand, name, value, method) for name, value in found.items()})
    variables = {}
    coords: dict[str, Any] = {}
    for name in parts[0]:
        value = torch.cat([part[name] for part in parts])
        dims = [plate for plate in summand.around(name) if plate != PARTICLES]
        if method == "probabilities":
            value, dims = value.mean(0), [f"{name}_value", *dims]
            coords[f"{name}_value"] = _labels(summand.variables[name].support)
        else:
            dims = [DRAW, *dims] + [f"{name}_dim_{at}" for at in range(value.dim() - 1 - len(dims))]
            if num_draws == 1 and method == "most probable":
                value, dims = value[0], dims[1:]
        variables[name] = (dims, value.cpu().numpy())
    attrs = {"method": method, "model": type(pair).__name__, "seed": seed}
    return xarray.Dataset(variables, coords=coords, attrs=attrs)


def _summands(
    pair: AnyPair, batch: Any, layout: Layout, count: int, fixed: bool, chunk: int, vectorize: bool
) -> Iterator[Summand]:
    """What is summed, given draws of the guide; repeated in a plate of draws where the guide has but one."""
    most = max(1, chunk // max(layout.num_rows, 1))
    if fixed:
        (summand,) = inference.log_weights(pair, batch, 1, layout=layout).summed
    for first in range(0, count, most):
        number = min(most, count - first)
        if fixed:
            yield summand.repeated(PARTICLES, number)
        elif vectorize:
            (summand,) = inference.log_weights(pair, batch, number, layout=layout).summed
            yield summand if number > 1 else summand.repeated(PARTICLES, 1)
        else:
            for _ in range(number):
                (summand,) = inference.log_weights(pair, batch, 1, layout=layout).summed
                yield summand.repeated(PARTICLES, 1)


def _ordered(summand: Summand, name: str, value: Tensor, method: str) -> Tensor:
    """A quantity of a site with the draws as its first dimension."""
    return value.movedim(1, 0) if method == "probabilities" else value


def _labels(support: Tensor) -> Any:
    """Values of a site as coordinates: themselves if they are numbers, else their places among all values."""
    return support.cpu().numpy() if support.dim() == 1 else np.arange(len(support))
