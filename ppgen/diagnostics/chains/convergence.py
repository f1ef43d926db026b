"""Do the chains agree, and what are their draws worth: `diagnostics.convergence`."""

import math
import warnings
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from ppgen.diagnostics.chains.report import RHAT_LIMIT, Convergence

TAILS = (0.05, 0.95)
CHANCE = 0.01  # of any element of a variable whose nested R-hat exceeds its limit though the chains agree
_STATS = ("energy", "free_energy", "lp")  # what a sampler tells of its draws that is worth judging


def convergence(tree: Any, *, var_names: str | Sequence[str] | None = None, num_superchains: int | None = None) -> Any:
    r"""Judge the chains of a sampler by rank-normalised split R-hat and effective sample sizes.

    .. math:: \hat R = \sqrt{\frac{\widehat{\mathrm{var}}^+}{W}}, \qquad
              \hat R_\text{nested} = \sqrt{1 + \frac{\hat B_\text{superchains}}{\hat W_\text{superchains}}}

    R-hat compares the spread over all chains with that within a chain, on the ranks of the draws and of their distances
    from the median, each chain split in half; 1 at convergence. It needs chains that are long enough to move. For many
    short ones the nested R-hat compares groups of chains ("superchains") that started from one point: the groups'
    means may differ by no more than chains within a group explain (`inference.sample(..., num_superchains=K)`).
    Means of M independent chains differ even at convergence, by a variance of B / M where those of chains differ by B,
    so that it is held to the limit on the right, in which F is the quantile that none of a variable's elements exceeds
    by chance with a probability of 99 %.

    .. math:: \hat R_\text{nested} \le \sqrt{1.01^2 + F \, \frac{\hat B}{M \, \hat W_\text{superchains}}}

    Effective sample sizes are those of the mean of normalised ranks and of the tails.

    Args:
        tree: `xarray.DataTree` with `posterior` and perhaps `sample_stats`: of `inference.sample`,
            `diagnostics.from_chains`, `diagnostics.from_pyro`, or of another library.
        var_names: Variables to judge, of `posterior` or `sample_stats`; all of `posterior`, and the energies in
            `sample_stats`, by default.
        num_superchains: Groups of chains that stand side by side and started from one point each; by default what
            `inference.sample` has noted.

    Returns:
        A `Convergence`.

    Raises:
        TypeError: If `tree` has no `posterior` with chains and draws.
        ValueError: If there are fewer than four draws, a variable is not known, the groups are not of one size, or the
            draws are those of a guide.

    References:
        | Rank-Normalization, Folding, and Localization: an Improved R-hat for Assessing Convergence of MCMC (Vehtari et
          al., 2021), arXiv:1903.08008
        | Nested R-hat: Assessing the Convergence of Markov Chain Monte Carlo When Running Many Short Chains
          (Margossian et al., 2024), arXiv:2110.13017

    Example:
        >>> from ppgen import diagnostics, inference, models
        >>> rbm = models.RBM(visible=4, hidden=3)
        >>> chains = inference.sample(inference.BlockGibbs(rbm), 100, num_chains=8, warmup_steps=50)
        >>> found = diagnostics.convergence(chains)
        >>> found.converged, sorted(found.rhat.data_vars)
        (True, ['energy', 'free_energy', 'hidden', 'visible'])
    """
    variables = _variables(tree, var_names)
    sizes = next(iter(variables.values())).sizes
    chains, draws = sizes["chain"], sizes["draw"]
    if draws < 4:
        raise ValueError(f"tree must hold at least 4 draws of each chain to judge them, got {draws}.")
    groups = _groups(tree, num_superchains, chains)
    found: dict[str, dict[Hashable, Any]] = {"rhat": {}, "bulk": {}, "tail": {}, "nested": {}, "limit": {}}
    for name, array in variables.items():
        for key, value in _judged(array, groups).items():
            found[key][name] = value
    constant = sum(int(np.isnan(value.values).sum()) for value in found["rhat"].values())
    return Convergence(
        rhat=_dataset(found["rhat"]),
        ess_bulk=_dataset(found["bulk"]),
        ess_tail=_dataset(found["tail"]),
        nested_rhat=_dataset(found["nested"]) if groups is not None else None,
        nested_limit=_dataset(found["limit"]) if groups is not None else None,
        num_chains=chains,
        num_draws=draws,
        num_constant=constant,
        **_sampler(tree),
    )


def _variables(tree: Any, var_names: str | Sequence[str] | None) -> dict[Hashable, Any]:
    if not isinstance(getattr(tree, "children", None), Mapping):
        raise TypeError(
            "tree must be a DataTree with a group posterior of dimensions chain and draw, such as inference.sample "
            f"returns, got {type(tree).__name__}."
        )
    groups = [group for name in ("posterior", "sample_stats") if (group := _group(tree, name)) is not None]
    if not groups or not {"chain", "draw"} <= set(groups[0].dims):
        raise TypeError(
            "tree must be a DataTree with a group posterior of dimensions chain and draw, such as inference.sample "
            f"returns, got {type(tree).__name__}."
        )
    if tree.attrs.get("inference") == "variational":
        raise ValueError(
            "tree holds draws of a guide, which are independent: there are no chains to judge. See "
            "diagnostics.importance_weights and diagnostics.simulation_based_calibration."
        )
    known = {name: array for group in groups for name, array in group.data_vars.items() if "draw" in array.dims}
    if var_names is None:
        stats = set() if len(groups) == 1 else set(groups[1].data_vars) - set(_STATS)
        return {name: array for name, array in known.items() if name not in stats}
    if not isinstance(var_names, Sequence):
        raise TypeError(f"var_names must be a name or a list of names, got {var_names!r}.")
    wanted = [var_names] if isinstance(var_names, str) else list(var_names)
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        raise ValueError(f"var_names must be among {', '.join(map(str, known))}, got {wanted}.")
    return {name: known[name] for name in wanted}


def _group(tree: Any, name: str) -> Any:
    children = getattr(tree, "children", None)
    return children[name].to_dataset() if children and name in children else None


def _groups(tree: Any, given: int | None, chains: int) -> np.ndarray | None:
    count = tree.attrs.get("num_superchains") if given is None else given
    if count is None:
        return None
    whole = isinstance(count, (int, np.integer)) and not isinstance(count, bool)
    if not whole or count < 2 or chains % count or chains == count:
        raise ValueError(
            f"num_superchains must be at least 2 and divide the {chains} chains into groups of two or more, "
            f"got {count!r}."
        )
    return np.repeat(np.arange(int(count)), chains // int(count))


def _judged(array: Any, groups: np.ndarray | None) -> dict[str, Any]:
    """R-hat and effective sample sizes of each element; NaN where all its draws are equal."""
    values = array.transpose("chain", "draw", ...)
    flat = values.values.reshape(*values.shape[:2], -1).astype(np.float64)
    keys = ("rhat", "bulk", "tail") if groups is None else ("rhat", "bulk", "tail", "nested", "limit")
    found = {key: np.full(flat.shape[-1], np.nan) for key in keys}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of quantiles of a unit with two values
        for element in range(flat.shape[-1]):
            for key, value in _judge(np.ascontiguousarray(flat[..., element]), groups, flat.shape[-1]).items():
                found[key][element] = value
    template = array.isel(chain=0, draw=0, drop=True)
    shape = template.shape
    return {key: template.copy(data=value.reshape(shape)) for key, value in found.items()}


def _judge(draws: np.ndarray, groups: np.ndarray | None, elements: int) -> dict[str, float]:
    """R-hat and effective sample sizes of one of some elements, (chains, draws); nothing if it cannot be judged."""
    from arviz_stats.base import array_stats

    if np.ptp(draws) == 0 or not np.isfinite(draws).all():
        return {}
    if np.ptp(draws, axis=1).max() == 0:  # no chain has moved, and they stand at different places
        return {"rhat": np.inf, "bulk": 0.0, "tail": 0.0} | (
            {} if groups is None else {"nested": np.inf, "limit": RHAT_LIMIT}
        )
    half = draws.shape[1] // 2
    chains = draws if len(draws) > 1 else np.concatenate([draws[:, :half], draws[:, -half:]])
    bulk = float(array_stats.ess(draws, method="bulk"))
    # A unit with two values has no tail of its own: its quantiles are those values.
    tail = bulk if len(np.unique(draws)) <= 2 else float(array_stats.ess(draws, method="tail", prob=TAILS))
    found = {"rhat": float(array_stats.rhat(chains)), "bulk": bulk, "tail": tail}
    if groups is None:
        return found
    nested = {"nested": float(array_stats.rhat_nested(draws, groups)), "limit": _nested_limit(draws, groups, elements)}
    return {**found, **nested}


def _nested_limit(draws: np.ndarray, groups: np.ndarray, elements: int) -> float:
    """Nested R-hat that groups of chains which agree stay below: the larger of those of bulk and tails."""
    from scipy.stats import f, norm, rankdata

    count, each = len(np.unique(groups)), len(groups) // len(np.unique(groups))
    quantile = float(f.ppf(1 - CHANCE / elements, count - 1, count * (each - 1)))
    limits = []
    for values in (draws, np.abs(draws - np.median(draws))):
        ranks = rankdata(values).reshape(values.shape)
        scores = norm.ppf((ranks - 0.375) / (ranks.size + 0.25)).reshape(count, each, -1)
        between = scores.mean(-1).var(1, ddof=1).mean()
        within = between + scores.var(-1, ddof=1).mean()
        limits.append(math.sqrt(RHAT_LIMIT**2 + quantile * between / (each * within)) if within > 0 else RHAT_LIMIT)
    return max(limits)


def _dataset(found: dict[Hashable, Any]) -> Any:
    import xarray as xr

    return xr.Dataset(found)


def _sampler(tree: Any) -> dict[str, Any]:
    """What the kernel told: swaps, round trips, divergences."""
    stats, told = _group(tree, "sample_stats"), dict[str, Any]()
    if stats is None:
        return told
    if "swap_acceptance" in stats and "replica" in stats:
        from ppgen.inference import round_trips

        told["swap_acceptance"] = stats["swap_acceptance"].mean(
            [d for d in stats["swap_acceptance"].dims if d != "pair"]
        )
        replica = stats["replica"].transpose("chain", "draw", ..., "temperature")
        told["round_trips"] = float(round_trips(replica.values).double().mean())
    if "diverging" in stats:
        told["num_diverging"] = int(stats["diverging"].sum())
    return told
