"""Draws of a trained guide as an ArviZ tree."""

from collections.abc import Mapping, Sequence
from typing import Any

from ppgen import inference
from ppgen.checks.likelihood import check_has_likelihood
from ppgen.checks.seeding import check_seed
from ppgen.checks.switches import check_switches
from ppgen.diagnostics.converters.collector import CHUNK, Collector, check_counts
from ppgen.diagnostics.converters.machine_groups import add_prior, partitions, whole_batch
from ppgen.inference.structure.machine_sites import undirected_sites
from ppgen.pair import as_pair
from ppgen.trees import check_labels, check_sample_dims, make_tree
from ppgen.undisturbed import evaluating


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
    over its other plates; with several observed sites also their sum `joint`, which is what leaving out a datum needs:
    `arviz_stats.loo(tree, var_name="joint")`), `sample_stats`, `prior` and `prior_predictive`, `predictions`,
    `observed_data`.
    Dimensions are those of the draws, then the plates by name, then `<site>_dim_0`, ... for event dimensions.
    Bits are stored as int8.

    `sample_stats` holds, in nats, `log_p` = log p(x, z), `log_q` = log q(z | x) and `log_weight`, their
    difference: for each datum where all latents lie in the data plate, and summed over the data where some do
    not, which is what `arviz_stats.loo_approximate_posterior(tree, log_p=..., log_q=...)` needs in either
    case; and `lp`, log p(x, z) of all data together.

    Discrete sites of the model that are summed out (marked `infer={"enumerate": "parallel"}`, not drawn by the guide)
    are in `posterior` too, drawn exactly given the guide's draw and the data; `log_p`, `log_weight` and
    `log_likelihood` are those with the sites summed out, which has less variance.

    The draws form one chain (`attrs["inference"]` is `"variational"`), because ArviZ's `summary`, `loo` and
    `loo_approximate_posterior` want these dimensions. They are independent; R-hat of one chain is NaN. With
    `sample_dims=["sample"]` the tree has the form of `arviz_base.from_numpyro_svi`, on which
    `summary(tree, sample_dims=["sample"], kind="stats")` works.

    Args:
        pair: A model of the zoo, a `ppgen.Pair` or a run.
        x: Data, (rows, features); for programs with several arguments a tuple or a mapping.
        num_samples: Draws of the guide.
        predictions: Other data, of which to draw the observed sites anew: q(z | predictions), then p(x | z). Of
            `model(x, y=None)` inputs alone will do, `(x_new,)` or `(x_new, None)` beside data `(x, y)`, if the guide
            takes them too.
        prior: Whether to draw from the model without data, into `prior` and `prior_predictive`; where a prior is
            improper (`ImproperUniform`, `.mask(False)`) there is nothing to draw from, and they are left out.
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
        ValueError: If data or arguments are wrong, or a plate of the programs draws a subsample by itself; the message
            says what to do.
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
    check_switches(prior=prior, posterior_predictive=posterior_predictive, log_likelihood=log_likelihood)
    check_switches(vectorize_particles=vectorize_particles)
    seed = check_seed(seed)
    pair = as_pair(pair)
    check_has_likelihood(pair, "Draws of a guide and their weights")
    names = check_sample_dims(sample_dims)
    check_labels(coords=coords, dims=dims)
    check_counts(num_samples=num_samples, chunk=chunk)
    batch = whole_batch(pair, x)
    energies = undirected_sites(pair, batch)
    known, unknown = partitions(pair, energies, batch, log_partition)
    collector = Collector(pair, num_samples, chunk, vectorize_particles, dims)
    with evaluating(pair, seed), inference.attach(log_partition=known):
        collector.posterior(batch, predictive=posterior_predictive, log_likelihood=log_likelihood)
    if predictions is not None:
        with evaluating(pair, seed + 1), inference.attach(log_partition=known):
            collector.predictions(whole_batch(pair, _without_none(predictions)))
    left_out = add_prior(collector, batch, energies, sampler, seed + 2) if prior else []
    left_out += [*unknown, *collector.left_out]
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


def _without_none(given: Any) -> Any:
    """Arguments without those that are None at the end, or by name, as a program's own default says the same."""
    if isinstance(given, Mapping):
        return {name: value for name, value in given.items() if value is not None}
    if not isinstance(given, tuple) or not given or given[-1] is not None:
        return given
    return _without_none(given[:-1])
