"""How likely latents are to be larger than a threshold: which sparse codes are told apart from zero."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ppgen.checks.arguments import check_number
from ppgen.diagnostics.converters.chain_draws import chain_draws
from ppgen.inference import PosteriorSamples


def exceedance(chains: Any, threshold: float, *, signed: bool = False) -> Any:
    r"""Posterior probability that each latent is larger than a threshold in absolute value, as an `xarray.Dataset`.

    .. math:: P(|z_k| > t \mid x) \approx \frac{1}{S} \sum_s 1[|z_k^{(s)}| > t]

    The posterior of a sparse code under a Laplace prior has no zeros: that the Lasso, its mode, has some says nothing
    of how likely the code is to be small. This does, for a size t that matters; and with `signed`, P(z > t), whose
    distance from 1/2 at t = 0 says how certain the sign is.

    Errors are those of the means of batches of successive draws. They are not known, NaN, where all draws agree.

    Args:
        chains: What `inference.sample_posterior` returned, or a tree with a `posterior`, as `from_chains`, `from_pyro`
            and `from_pyro_svi` make it.
        threshold: t, in units of the latents; at least 0 unless `signed`.
        signed: Whether z itself is held against t, and not its magnitude.

    Returns:
        By site its probabilities, and as `<site>_mcse` their Monte Carlo errors, without the dimensions of the draws.

    Raises:
        TypeError: If `chains` hold no draws.
        ValueError: If the threshold is no finite number, or negative.

    Example:
        >>> import torch
        >>> from ppgen import diagnostics, inference, models
        >>> coder, x = models.SparseCoding(features=4, atoms=3, penalty=0.5), torch.eye(4)[:2]
        >>> chains = inference.sample_posterior(coder, x, num_samples=100, kernel=inference.SparseGibbs())
        >>> found = diagnostics.exceedance(chains, 0.1)
        >>> dict(found.codes.sizes), bool((found.codes <= 1).all())
        ({'data': 2, 'codes_dim_0': 3}, True)
    """
    import xarray

    if not isinstance(signed, bool):
        raise TypeError(f"signed must be True or False, got {signed!r}.")
    what = "be a finite number" if signed else "be at least 0 and finite, as |z| always is (or say signed=True)"
    check_number("threshold", threshold, what, lambda number: np.isfinite(number) and (signed or number >= 0))
    found, coords = dict[str, Any](), dict[str, Any]()
    for name, values in _draws(chains).items():
        above = np.asarray((values if signed else np.abs(values)) > threshold, np.float64)
        found[name] = (values.dims[2:], above.mean((0, 1)))
        found[f"{name}_mcse"] = (values.dims[2:], _error(above))
        coords |= {dim: values[dim].values for dim in values.dims[2:] if dim in values.coords}
    return xarray.Dataset(found, coords=coords, attrs={"threshold": float(threshold), "signed": int(signed)})


def _draws(chains: Any) -> Mapping[str, Any]:
    """Draws by site as DataArrays with the dimensions chain and draw first."""
    import xarray

    if not isinstance(chains, PosteriorSamples) and _is_tree(chains):
        found = chains["posterior"].data_vars
        return {str(name): found[name].transpose("chain", "draw", ...) for name in found}
    held = chain_draws(chains, None)
    shape = held.num_chains, held.num_draws
    return {
        name: xarray.DataArray(
            values.reshape(*shape, *values.shape[1:]), dims=["chain", "draw", *held.posterior.dims[name]]
        )
        for name, values in held.posterior.variables().items()
    }


def _is_tree(chains: Any) -> bool:
    """Whether it has children as trees do, a posterior among them; modules have a method of that name."""
    children = getattr(chains, "children", None)
    return isinstance(children, Mapping) and "posterior" in children


def _error(above: np.ndarray) -> np.ndarray:
    """Error of the mean of (chains, draws, ...) by the means of batches of successive draws, NaN where all agree."""
    chains, draws, *rest = above.shape
    length = max(1, int(draws**0.5))
    count = draws // length
    batches = above[:, draws - count * length :].reshape(chains * count, length, *rest).mean(1)
    if len(batches) < 2:
        return np.full(tuple(rest), np.nan)
    error = batches.std(0, ddof=1) / len(batches) ** 0.5
    error = np.where(above.min((0, 1)) == above.max((0, 1)), np.nan, error)
    return np.asarray(error)
