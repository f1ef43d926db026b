"""Draws of our own Markov chains as an ArviZ tree."""

from collections.abc import Mapping, Sequence
from typing import Any

from ppgen import inference
from ppgen.checks.seeding import check_seed
from ppgen.checks.switches import check_switches
from ppgen.diagnostics.converters.chain_draws import chain_draws
from ppgen.diagnostics.converters.collector import CHUNK, check_counts
from ppgen.diagnostics.converters.given_draws import GivenDraws
from ppgen.diagnostics.converters.machine_groups import add_prior, partitions, whole_batch
from ppgen.evaluation.rows import CheckedRows
from ppgen.inference.structure.machine_sites import undirected_sites
from ppgen.pair import as_pair
from ppgen.trees import check_labels, make_tree
from ppgen.undisturbed import evaluating


def from_chains(
    chains: Any,
    pair: Any = None,
    x: Any = None,
    *,
    prior: bool = True,
    posterior_predictive: bool = True,
    log_likelihood: bool = True,
    coords: Mapping[str, Any] | None = None,
    dims: Mapping[str, Sequence[str]] | None = None,
    log_partition: Any = None,
    sampler: Any = None,
    chunk: int = CHUNK,
    vectorize_particles: bool = True,
    seed: int = 0,
) -> Any:
    r"""Return draws of the chains of `ppgen.inference` with all that ArviZ can use, as an `xarray.DataTree`.

    Groups: `posterior`; `sample_stats` with what the kernel tells of each step; and, with the pair and the data, also
    `log_likelihood` of each datum, `posterior_predictive`, `observed_data`, `prior` and `prior_predictive`, and
    values of the latents' deterministic functions. Dimensions are chain, draw, the plates by name, then
    `<site>_dim_0`, ... for event dimensions; every datum has chains of its own.

    `sample_stats` of Hamiltonian chains: `lp`, the log-density that the chain moved on, log p(x, z) + log-Jacobian;
    `acceptance_rate`, `diverging`, `energy`, `energy_error` and `step_size` of each trajectory; all by datum. With the
    pair `log_p` = log p(x, z) of each datum besides, in nats.

    Chains of a machine that was conditioned on data draw from the posterior of its hidden layers. Those of a machine
    by itself draw from its law: with the pair and the data, the latents, drawn further down through directed layers,
    are the `prior`, and visible units given them the `prior_predictive`.

    Args:
        chains: What `inference.sample_posterior` returned, or the tree of `inference.sample` for a machine.
        pair: The model of the zoo, `ppgen.Pair` or run that the chains were run for.
        x: The data that they were run for, as the pair takes them.
        prior: Whether to draw from the model without data, as often as there are draws.
        posterior_predictive: Whether to draw the observed sites anew.
        log_likelihood: Whether to keep the log-likelihood of the observed sites.
        coords: Coordinates by dimension, such as `{"data": labels}`.
        dims: By site, names of its event dimensions, or of plates and event dimensions together.
        log_partition: log Z of the undirected sites, as `inference.attach` takes it. Without it small machines are
            enumerated, and for large ones `log_p` holds up to a constant.
        sampler: Sampler of the undirected sites for the prior, as `inference.attach` takes it. Without one, small
            machines are sampled exactly, and for large ones the prior is left out.
        chunk: Draws times rows that run at once, which bounds the memory beside the result.
        vectorize_particles: False for programs that cannot broadcast over draws.
        seed: Seed of the predictive draws; the caller's random state is as before.

    Returns:
        The tree. What was left out is told by `attrs["left_out"]`.

    Raises:
        TypeError: If `chains` are none of ours.
        ValueError: If the pair or the data do not fit the chains, or arguments are wrong.

    Example:
        >>> import torch
        >>> from ppgen import diagnostics, inference, models
        >>> vae, x = models.VAE(features=4, latent=2, hidden=(3,)), torch.ones(5, 4)
        >>> chains = inference.sample_posterior(vae, x, num_samples=20, warmup_steps=20, num_chains=3)
        >>> tree = diagnostics.from_chains(chains, vae, x)
        >>> dict(tree.posterior.sizes)
        {'chain': 3, 'draw': 20, 'data': 5, 'z_dim_0': 2}
        >>> sorted(tree.sample_stats)
        ['acceptance_rate', 'accepted', 'diverging', 'energy', 'energy_error', 'log_p', 'lp', 'step_size']
    """
    check_switches(prior=prior, posterior_predictive=posterior_predictive, log_likelihood=log_likelihood)
    check_switches(vectorize_particles=vectorize_particles)
    seed = check_seed(seed)
    check_counts(chunk=chunk)
    check_labels(coords=coords, dims=dims)
    if (pair is None) != (x is None):
        raise ValueError(
            f"{'x' if x is None else 'pair'} is missing: give the pair and the data that the chains were run for, or "
            "neither."
        )
    pair = None if pair is None else as_pair(pair)
    held = chain_draws(chains, dims, *([] if pair is None else [pair.plate]))
    groups, left_out = {"posterior": held.posterior, "sample_stats": held.sample_stats}, list[str]()
    model = {}
    if pair is not None:
        model = {"model": type(pair).__name__, "seed": seed}
        batch = whole_batch(pair, x)
        energies = undirected_sites(pair, batch)
        known, left_out = partitions(pair, energies, batch, log_partition)
        dims = {**held.dims, **(dims or {})}
        collector = GivenDraws(pair, held.num_chains * held.num_draws, chunk, vectorize_particles, dims)
        with evaluating(pair, seed), inference.attach(log_partition=known):
            if held.conditioned:
                collector.chains(
                    batch,
                    held.values,
                    posterior=held.by_site,
                    predictive=posterior_predictive,
                    log_likelihood=log_likelihood,
                )
            else:
                collector.prior_chains(batch, CheckedRows(x, pair)(0, 1), held.values if prior else None)
        if held.conditioned and prior:
            left_out = add_prior(collector, batch, energies, sampler, seed + 1) + left_out
        if not held.conditioned:
            left_out = ["log_likelihood and posterior_predictive, as the chains were not conditioned on data"]
        for name in collector.group("observed_data").arrays if held.conditioned else ():
            held.posterior.remove(name)  # a layer that is held at the data
        held.sample_stats.take(collector.group("sample_stats"))
        groups |= {name: group for name, group in collector.groups.items() if name != "sample_stats"}
    attrs = {"inference": "mcmc", "kernel": held.kernel, **model}
    if left_out:
        attrs["left_out"] = "; ".join(left_out)
    return make_tree(
        groups,
        sample_dims=["chain", "draw"],
        coords={**held.coords, **(coords or {})},
        attrs=attrs,
        num_chains=held.num_chains,
    )
