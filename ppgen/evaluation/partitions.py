"""log Z of every undirected site that a log-likelihood needs: as it was given, or estimated now."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ppgen.distributions.layered_energy import LayeredEnergy
from ppgen.evaluation.estimate import Estimate
from ppgen.evaluation.partition import log_partition as estimate_log_partition
from ppgen.pair import AnyPair


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
            how = "auto" if method in ("importance", "elbo", "bound") else method
            partitions[site] = estimate_log_partition(pair, site=site, method=how, **options)
        if method == "exact" and partitions[site].kind != "exact":
            raise ValueError(
                f'method="exact" needs an exact log Z at site {site!r}, got {partitions[site]!r}. '
                'Leave the method at "auto", or give log_partition(pair, method="exact").'
            )
    return partitions


def _given_partition(site: str, given: Any, energy: LayeredEnergy) -> Estimate:
    if not isinstance(given, Estimate):
        try:
            value = float(given)
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"log_partition of site {site!r} must be an Estimate or a number, got {type(given).__name__}."
            ) from error
        given = Estimate(value, 0.0, "exact", "given log Z", unit="nats")
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
