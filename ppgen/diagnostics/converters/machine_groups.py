"""Data and undirected sites as the converters need them: log Z, and whether a prior can be drawn."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from ppgen import inference
from ppgen.batch import check_features
from ppgen.diagnostics.converters.collector import Collector
from ppgen.distributions.machines.layered_energy import LayeredEnergy
from ppgen.evaluation import log_partition as estimate_log_partition
from ppgen.evaluation.evidence.all_data import all_data, flat_prior, in_rows
from ppgen.evaluation.rows import CheckedRows
from ppgen.inference.structure.layout import find_layout
from ppgen.inference.structure.support import check_support
from ppgen.pair import AnyPair, Pair
from ppgen.undisturbed import evaluating

MAX_EXACT_STATES = 2**16  # machines up to this size are enumerated unasked, in about a second


def whole_batch(pair: AnyPair, x: Any) -> Any:
    """All data as one batch for the pair, which is prepared and whose support they lie in.

    Raises:
        ValueError: If the data are wrong or outside the support of their law.
    """
    if isinstance(pair, Pair) and not in_rows(x):  # a program that takes all of its arguments whole
        return all_data(pair, x, "x").batch
    rows = CheckedRows(x, pair)
    batch = rows(0, len(rows))
    check_features(batch, pair)
    with evaluating(pair):
        pair.prepare(batch)
    rows = CheckedRows(x, pair)  # parameters made at the first run decide the dtype
    batch = rows(0, len(rows))
    with evaluating(pair):
        check_support(pair, batch)
    return batch


def partitions(
    pair: AnyPair, energies: Mapping[str, LayeredEnergy], batch: Any, given: Any
) -> tuple[dict[str, Any], list[str]]:
    """log Z by undirected site, 0 where it is not known, and what to say of that.

    Raises:
        ValueError: If one is given and there is no undirected site.
    """
    if given is not None and not energies:
        raise ValueError("log_partition was given, but the model has no undirected site (no BoltzmannMachine).")
    found: dict[str, Any] = {}
    unknown = []
    for site, energy in energies.items():
        value = given.get(site) if isinstance(given, Mapping) else given
        if value is None and _small(energy):
            value = estimate_log_partition(pair, site=site, method="exact", x=batch)
        if value is None:
            unknown.append(site)
        found[site] = 0.0 if value is None else value
    if not unknown:
        return found, []
    return found, [
        f"log Z of {', '.join(unknown)} in log_p, lp and log_weight, which hold up to a constant; "
        "give log_partition=ppgen.evaluation.log_partition(pair, ...)"
    ]


def add_prior(
    collector: Collector, batch: Any, energies: Mapping[str, LayeredEnergy], sampler: Any, seed: int
) -> list[str]:
    """Draw from the model without data into `prior` and `prior_predictive`, or say why not.

    Args:
        collector: Collects the draws.
        batch: Data, whose number of rows counts.
        energies: Energies by undirected site.
        sampler: Their sampler; without one small machines are sampled exactly, and large ones not at all.
        seed: Seed of the draws.
    """
    if energies and sampler is None and not all(map(_small, energies.values())):
        return [
            f"prior and prior_predictive, as the Boltzmann machine at {', '.join(energies)} is too large to "
            'be sampled exactly; give a sampler, such as sampler="gibbs"'
        ]
    flat = flat_prior(find_layout(collector.pair, batch))
    if flat is not None:
        return [f"prior and prior_predictive, as {flat}, from which nothing can be drawn"]
    attached: AbstractContextManager[Any] = nullcontext()
    if energies:
        attached = inference.attach(sampler="exact" if sampler is None else sampler)
    with evaluating(collector.pair, seed), attached:
        collector.prior(batch)
    return []


def _small(energy: LayeredEnergy) -> bool:
    return energy.num_states(energy.smaller_side) <= MAX_EXACT_STATES
