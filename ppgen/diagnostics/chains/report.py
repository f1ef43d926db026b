"""What is said of chains: their figures in lines, and each warning with what it means and what to try."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

RHAT_LIMIT = 1.01  # Vehtari et al. 2021; the nested one has a limit of its own
ESS_LIMIT = 400  # the same, for bulk and tail
SWAP_LIMIT = 0.1  # below it a pair of temperatures holds the whole ladder up


@dataclass(frozen=True)
class Convergence:
    r"""How well Markov chains agree, and how many independent draws theirs are worth.

    Attributes:
        rhat: Rank-normalised split R-hat of each variable, elementwise: an `xarray.Dataset`; NaN where all draws of
            an element are equal.
        ess_bulk: Effective number of draws in the bulk of each variable, elementwise.
        ess_tail: Effective number of draws in the tails (the smaller of those of the 5 % and the 95 % quantile).
        nested_rhat: Nested R-hat of chains in groups that each started from one point, or None where there are none.
        nested_limit: What each nested R-hat may be where the groups agree, or None where there are none.
        num_chains: Chains.
        num_draws: Draws of each.
        num_constant: Elements of which all draws are equal: nothing can be said of them.
        swap_acceptance: Mean acceptance of each pair of neighbouring temperatures, an `xarray.DataArray`, or None.
        round_trips: Trips of replicas from the machine to the base rates and back, mean over the chains, or None.
        num_diverging: Diverging trajectories of Hamiltonian Monte Carlo, or None.
    """

    rhat: Any = field(repr=False)
    ess_bulk: Any = field(repr=False)
    ess_tail: Any = field(repr=False)
    nested_rhat: Any = field(repr=False)
    nested_limit: Any = field(repr=False)
    num_chains: int
    num_draws: int
    num_constant: int
    swap_acceptance: Any = None
    round_trips: float | None = None
    num_diverging: int | None = None

    @property
    def worst_rhat(self) -> float:
        """Largest R-hat of all elements, the nested one where chains stand in groups; NaN if none can be judged."""
        return _worst(self.rhat if self.nested_rhat is None else self.nested_rhat)[0]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is wrong, each with what it means and what to try."""
        return tuple(_warnings(self))

    @property
    def converged(self) -> bool:
        """Whether nothing is wrong."""
        return not self.warnings

    def __repr__(self) -> str:
        lines = [f"Convergence of {self.num_chains} chains x {self.num_draws} draws"]
        for name in self.rhat.data_vars:
            values = [f"R-hat at most {_number(_largest(self.rhat[name]), '.3f')}"]
            if self.nested_rhat is not None:
                values.append(f"nested R-hat at most {_number(_largest(self.nested_rhat[name]), '.3f')}")
            for label, found in (("bulk", self.ess_bulk), ("tail", self.ess_tail)):
                values.append(f"{label} ESS at least {_number(_smallest(found[name]), '.0f')}")
            size = self.rhat[name].size
            lines.append(f"  {name}{f' ({size} elements)' if size > 1 else ''}: {', '.join(values)}")
        if self.num_constant:
            lines.append(f"  not judged: {self.num_constant} elements whose draws are all equal")
        if self.swap_acceptance is not None:
            lines.append(
                f"  swaps: accepted {float(self.swap_acceptance.min()):.2f} (worst pair) to "
                f"{float(self.swap_acceptance.max()):.2f}; {self.round_trips:.1f} round trips a chain"
            )
        lines += [f"warning: {each}" for each in self.warnings] or ["no sign of trouble"]
        return "\n".join(lines)


def _warnings(found: Convergence) -> Iterator[str]:
    if found.num_constant and all(np.isnan(array.values).all() for array in found.ess_bulk.data_vars.values()):
        yield (
            "all draws are one and the same: either the law has a single state, or no chain moved. Start chains at "
            "other places, or use inference.ParallelTempering"
        )
    nested = found.nested_rhat is not None
    label = "nested R-hat" if nested else "R-hat"
    rhat, where = _worst(found.rhat)
    limit = RHAT_LIMIT
    if nested:
        ratio, where = _worst(found.nested_rhat / found.nested_limit)  # each element has a limit of its own
        limit = _value(found.nested_limit, where)
        rhat = ratio * limit
    if rhat > limit:
        yield (
            f"{label} of {where} is {rhat:.3f} (limit {limit:.4g}): the chains do not agree, so their draws are not "
            "yet of one law. Raise warmup_steps; if that does not help, they are caught in modes: use "
            "inference.ParallelTempering"
        )
    ess, where = _fewest(found)
    if 0 < ess < ESS_LIMIT:
        yield (
            f"the effective number of draws of {where} is {ess:.0f} (limit {ESS_LIMIT}): means and R-hat itself are "
            "uncertain. Raise num_samples, num_chains or the sweeps of a step"
        )
    if found.swap_acceptance is not None:
        least = float(found.swap_acceptance.min())
        if least < SWAP_LIMIT:
            yield (
                f"a pair of temperatures swaps with probability {least:.2f} (limit {SWAP_LIMIT}): replicas do not "
                "pass. Raise num_temperatures"
            )
        if found.round_trips is not None and found.round_trips < 1:
            yield (
                f"{found.round_trips:.2f} round trips a chain: few replicas came from the base rates and back, so "
                "modes are hardly found anew. Raise num_samples or num_temperatures"
            )
    if found.num_diverging:
        yield (
            f"{found.num_diverging} trajectories diverged: the step is too long where the posterior bends, and draws "
            "there are missing. Raise the acceptance that inference.HMC adapts its step size to"
        )


def _worst(found: Any) -> tuple[float, str]:
    """Largest value of a Dataset, and where it stands."""
    return _extreme(found, np.nanargmax)


def _fewest(found: Convergence) -> tuple[float, str]:
    """Smallest effective number of draws, in the bulk or the tails, and where."""
    values = [_extreme(each, np.nanargmin) for each in (found.ess_bulk, found.ess_tail)]
    values = [each for each in values if not math.isnan(each[0])]
    return min(values, key=lambda each: each[0]) if values else (math.nan, "")


def _extreme(found: Any, choose: Any) -> tuple[float, str]:
    best, where = math.nan, ""
    for name, array in found.data_vars.items():
        if np.isnan(array.values).all():
            continue
        flat = array.values.reshape(-1)
        index = int(choose(flat))
        if math.isnan(best) or choose(np.array([best, flat[index]])) == 1:
            place = np.unravel_index(index, array.shape)
            best, where = float(flat[index]), f"{name}{list(map(int, place)) if place else ''}"
    return best, where


def _value(found: Any, where: str) -> float:
    """The element of a Dataset that `_extreme` names; NaN if it names none."""
    name, _, place = where.partition("[")
    return (
        float(found[name].values[tuple(map(int, place.rstrip("]").split(",")))] if place else found[name])
        if name
        else math.nan
    )


def _largest(array: Any) -> float:
    return math.nan if np.isnan(array.values).all() else float(np.nanmax(array.values))


def _smallest(array: Any) -> float:
    return math.nan if np.isnan(array.values).all() else float(np.nanmin(array.values))


def _number(value: float, form: str) -> str:
    return "unknown" if math.isnan(value) else f"{value:{form}}"
