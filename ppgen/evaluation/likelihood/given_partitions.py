"""log Z of every undirected site that a log-likelihood needs: as it was given, or estimated now."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ppgen.distributions.machines.layered_energy import LayeredEnergy
from ppgen.evaluation.estimate import Estimate
from ppgen.evaluation.partition.partition import ADAPTIVE, enumerable
from ppgen.evaluation.partition.partition import log_partition as estimate_log_partition
from ppgen.evaluation.partition.sandwich import sandwiched
from ppgen.inference.annealing.annealing import make_betas
from ppgen.pair import AnyPair

_SWEEPS = 1000  # of the chains from which annealing goes down, at most
_ADAPTIVE_SWEEPS = 100  # where the ladder is not known before it is made


def partitions_of(
    pair: AnyPair, energies: dict[str, LayeredEnergy], given: Any, method: str, options: dict[str, Any]
) -> dict[str, Estimate]:
    """Estimate of log Z by undirected site: the one given, else made now."""
    if given is not None and not energies:
        raise ValueError("log_partition was given, but the model has no undirected site (no BoltzmannMachine).")
    if not isinstance(given, Mapping):
        if given is not None and len(energies) > 1:
            raise ValueError(f"log_partition must map each undirected site to its log Z; sites: {sorted(energies)}.")
        given = {} if given is None else dict.fromkeys(energies, given)
    unknown = sorted(set(given) - set(energies))
    if unknown:
        raise ValueError(f"log_partition names {unknown}; the undirected sites are {sorted(energies)}.")
    partitions = {}
    for site, energy in energies.items():
        if site in given:
            partitions[site] = _given_partition(site, given[site], energy)
        else:
            if method in ("exact", "ais"):
                partitions[site] = estimate_log_partition(pair, site=site, method=method, **options)
            else:
                partitions[site] = unasked_partition(pair, site, energy, **options)
        if method == "exact" and partitions[site].kind != "exact":
            raise ValueError(
                f'method="exact" needs an exact log Z at site {site!r}, got {partitions[site]!r}. '
                'Leave the method at "auto", or give log_partition(pair, method="exact"); a number that is known to be '
                "exact is Estimate(number, 0.0, 'exact', 'known', unit='nats')."
            )
    return partitions


def unasked_partition(
    pair: AnyPair,
    site: str,
    energy: LayeredEnergy,
    *,
    num_chains: int = 100,
    betas: int | str | Sequence[float] | Tensor = 1000,
    **options: Any,
) -> Estimate:
    """log Z where nobody said how: enumerated, else annealed from both sides, at twice the cost of one at most.

    Annealing upwards alone is blind to what its runs never meet, and its error says nothing of that. Downwards go half
    as many runs, from chains of at most as many sweeps as the ladder has steps, so that they cost as much together. The
    value is that of annealing upwards.

    Args:
        pair: Model and guide.
        site: Site of the machine.
        energy: Its energy.
        num_chains: Annealing runs upwards.
        betas: Ladder, as `log_partition` takes it.
        **options: Other arguments of `log_partition`.
    """
    options |= {"site": site, "betas": betas}
    if enumerable(energy):
        return estimate_log_partition(pair, method="exact", num_chains=num_chains, **options)
    lower = estimate_log_partition(pair, method="ais", num_chains=num_chains, **options)
    half = max(num_chains // 2, 2)
    steps = _ADAPTIVE_SWEEPS if betas == ADAPTIVE else len(make_betas(betas)) - 1
    sweeps = min(steps, _SWEEPS)
    upper = estimate_log_partition(pair, method="reverse_ais", num_chains=half, sweeps=sweeps, **options)
    source = upper.method.removesuffix(")").partition(", from ")[2]
    budget = lower.method.removeprefix("AIS (").removesuffix(")").replace(" chains", f" and {half} chains")
    return sandwiched(lower, upper, f"AIS upwards, and downwards from {source} ({budget})")


def _given_partition(site: str, given: Any, energy: LayeredEnergy) -> Estimate:
    if not isinstance(given, Estimate):
        try:
            if isinstance(given, (bool, np.bool_, str, bytes)):  # float takes them too
                raise TypeError(given)
            value = float(given)
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"log_partition of site {site!r} must be an Estimate or a number, got {type(given).__name__}."
            ) from error
        given = Estimate(value, math.nan, "estimate", "given log Z", unit="nats")  # a number does not tell its error
    if energy.batch_shape and own_partitions(given) is None:
        raise ValueError(
            f"The machine at site {site!r} has a log Z for each row, as its energy depends on the datum. Give that of "
            "these rows: ppgen.evaluation.log_partition(pair, x=x)."
        )
    if not math.isfinite(given.value):
        raise ValueError(f"log_partition of site {site!r} must be finite, got {given.value}.")
    if given.fingerprint is not None and given.fingerprint != energy.fingerprint():
        raise ValueError(
            f"The log Z given for site {site!r} was estimated for other weights than the machine has now"
            + (", or for other rows. " if energy.batch_shape else ". ")
            + "Estimate it again: ppgen.evaluation.log_partition(pair)."
        )
    return given


def own_partitions(partition: Estimate) -> np.ndarray | None:
    """log Z of each row, where each has its own."""
    return None if partition.per_datum is None else partition.per_datum.get("log_partition")
