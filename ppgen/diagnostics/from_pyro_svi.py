"""Draws of a trained guide as an ArviZ tree."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from ppgen import inference
from ppgen.diagnostics.collect import Collector
from ppgen.distributions.layered_energy import LayeredEnergy
from ppgen.evaluation import log_partition as estimate_log_partition
from ppgen.evaluation.data import Rows
from ppgen.evaluation.state import evaluating
from ppgen.inference.machines import undirected_sites
from ppgen.inference.support import check_support
from ppgen.pair import AnyPair, as_pair
from ppgen.trees import check_sample_dims, make_tree

CHUNK = 10_000  # draws x rows at once
MAX_EXACT_STATES = 2**16  # machines up to this size are enumerated unasked, in about a second


def from_pyro_svi(
    pair: Any,
    x: Any,
    *,
    num_samples: int = 1000,
    predictions: Any = None,
    prior: bool = True,
    posterior_predictive: bool = True,
    log_likelihood: bool = True,
    coords: Mapping[str, Any] | None = None,
    dims: Mapping[str, Sequence[str]] | None = None,
    sample_dims: Sequence[str] | None = None,
    log_partition: Any = None,
    sampler: Any = None,
    chunk: int = CHUNK,
    vectorize_particles: bool = True,
    seed: int = 0,
) -> Any:
    r"""Draw from the guide of a trained pair, and return all that ArviZ can use as an `xarray.DataTree`.

    Groups: `posterior` (every latent site), `posterior_predictive`, `log_likelihood` (of each datum, summed
    over its other plates), `sample_stats`, `prior` and `prior_predictive`, `predictions`, `observed_data`.
    Dimensions are those of the draws, then the plates by name, then `<site>_dim_0`, ... for event dimensions.
    Bits are stored as int8.

    `sample_stats` holds, in nats, `log_p` = log p(x, z), `log_q` = log q(z | x) and `log_weight`, their
    difference: for each datum where all latents lie in the data plate, and summed over the data where some do
    not, which is what `arviz_stats.loo_approximate_posterior(tree, log_p=..., log_q=...)` needs in either
    case; and `lp`, log p(x, z) of all data together.

    The draws form one chain (`attrs["inference"]` is `"variational"`), because ArviZ's `summary`, `loo` and
    `loo_approximate_posterior` want these dimensions. They are independent; R-hat of one chain is NaN. With
    `sample_dims=["sample"]` the tree has the form of `arviz_base.from_numpyro_svi`, on which
    `summary(tree, sample_dims=["sample"], kind="stats")` works.

    Args:
        pair: A model of the zoo, a `ppgen.Pair` or a run.
        x: Data, (rows, features); for programs with several arguments a tuple or a mapping.
        num_samples: Draws of the guide.
        predictions: Other data, of which to draw the observed sites anew: q(z | predictions), then p(x | z).
        prior: Whether to draw from the model without data, into `prior` and `prior_predictive`.
        posterior_predictive: Whether to draw the observed sites anew.
        log_likelihood: Whether to keep the log-likelihood of the observed sites.
        coords: Coordinates by dimension, such as `{"data": labels}`.
        dims: By site, names of its event dimensions, or of plates and event dimensions together.
        sample_dims: `["chain", "draw"]`, or one name.
        log_partition: log Z of the undirected sites, as `inference.attach` takes it. Without it small
            machines are enumerated, and for large ones `log_p` holds up to a constant.
        sampler: Sampler of the undirected sites for the prior, as `inference.attach` takes it. Without one,
            small machines are sampled exactly, and for large ones the prior is left out.
        chunk: Draws times rows that run at once, which bounds the memory beside the result.
        vectorize_particles: False for programs that cannot broadcast over draws.
        seed: Seed of all draws; the caller's random state is as before.

    Returns:
        The tree. What was left out is told by `attrs["left_out"]`.

    Raises:
        ValueError: If data or arguments are wrong; the message says what to do.
        TypeError: If `pair` is none.

    References:
        | Yes, but Did It Work?: Evaluating Variational Inference (Yao, Vehtari, Simpson and Gelman, 2018)
        | Bayesian leave-one-out cross-validation for large data (Magnusson et al., 2019), arXiv:1904.10679

    Example:
        >>> import torch
        >>> from ppgen import diagnostics, models
        >>> vae = models.VAE(features=6, latent=2, hidden=(4,))
        >>> tree = diagnostics.from_pyro_svi(vae, torch.ones(5, 6), num_samples=10)
        >>> dict(tree.posterior.sizes)
        {'chain': 1, 'draw': 10, 'data': 5, 'z_dim_0': 2}
        >>> sorted(tree.sample_stats)
        ['log_p', 'log_q', 'log_weight', 'lp']
    """
    pair = as_pair(pair)
    names = check_sample_dims(sample_dims)
    for name, value in (("num_samples", num_samples), ("chunk", chunk)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a positive integer, got {value!r}.")
    batch = _batch(pair, x)
    energies = undirected_sites(pair, batch)
    partitions, normalised = _partitions(pair, energies, batch, log_partition)
    collector = Collector(pair, num_samples, chunk, vectorize_particles, dims)
    left_out = []
    with evaluating(pair, seed), inference.attach(log_partition=partitions):
        collector.posterior(batch, predictive=posterior_predictive, log_likelihood=log_likelihood)
    if predictions is not None:
        with evaluating(pair, seed + 1), inference.attach(log_partition=partitions):
            collector.predictions(_batch(pair, predictions))
    if prior and energies and sampler is None and not all(map(_small, energies.values())):
        left_out.append(
            f"prior and prior_predictive, as the Boltzmann machine at {', '.join(energies)} is too large to "
            'be sampled exactly; give a sampler, such as sampler="gibbs"'
        )
    elif prior:
        attached: AbstractContextManager[Any] = nullcontext()
        if energies:
            attached = inference.attach(sampler="exact" if sampler is None else sampler)
        with evaluating(pair, seed + 2), attached:
            collector.prior(batch)
    if not normalised:
        left_out.append(
            f"log Z of {', '.join(energies)} in log_p, lp and log_weight, which hold up to a constant; "
            "give log_partition=ppgen.evaluation.log_partition(pair, ...)"
        )
    return make_tree(
        collector.groups,
        sample_dims=names,
        coords=coords,
        attrs={
            "inference": "variational",
            "model": type(pair).__name__,
            "seed": seed,
            **({"left_out": "; ".join(left_out)} if left_out else {}),
        },
    )


def _batch(pair: AnyPair, x: Any) -> Any:
    rows = Rows(x, pair)
    batch = rows(0, len(rows))
    with evaluating(pair):
        pair.prepare(batch)
    rows = Rows(x, pair)  # parameters made at the first run decide the dtype
    batch = rows(0, len(rows))
    with evaluating(pair):
        check_support(pair, batch)
    return batch


def _small(energy: LayeredEnergy) -> bool:
    return energy.num_states(energy.smaller_side) <= MAX_EXACT_STATES


def _partitions(
    pair: AnyPair, energies: Mapping[str, LayeredEnergy], batch: Any, given: Any
) -> tuple[dict[str, Any], bool]:
    """log Z by undirected site, 0 where it is not known, and whether all are known."""
    if given is not None and not energies:
        raise ValueError("log_partition was given, but the model has no undirected site (no BoltzmannMachine).")
    partitions: dict[str, Any] = {}
    normalised = True
    for site, energy in energies.items():
        value = given.get(site) if isinstance(given, Mapping) else given
        if value is None and _small(energy):
            value = estimate_log_partition(pair, site=site, method="exact", x=batch)
        normalised &= value is not None
        partitions[site] = 0.0 if value is None else value
    return partitions, normalised
