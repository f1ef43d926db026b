"""Which latent units a pair uses: activity and divergence of each, and the posterior of all data against the prior."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ppgen import inference
from ppgen.checks.arguments import check_count, check_number
from ppgen.checks.seeding import check_seed
from ppgen.checks.switches import check_switches
from ppgen.diagnostics.latents.aggregate_posterior import Decomposition, GuideSamples, decompose
from ppgen.diagnostics.latents.moments import Moments, SiteMoments
from ppgen.diagnostics.latents.report import LatentUnits
from ppgen.distributions.machines.layered_energy import LayeredEnergy
from ppgen.evaluation import Estimate
from ppgen.evaluation.likelihood.given_partitions import partitions_of
from ppgen.evaluation.partition.partition import enumerable
from ppgen.evaluation.program import Program, examine
from ppgen.evaluation.rows import CheckedRows
from ppgen.inference.structure.traces import base_law
from ppgen.pair import AnyPair, as_pair
from ppgen.trees import check_labels
from ppgen.undisturbed import evaluating

CHUNK = 10_000  # draws x rows at once


def latent_units(
    pair: Any,
    x: Any,
    *,
    num_samples: int = 100,
    threshold: float = 0.01,
    num_aggregate: int = 1000,
    log_partition: Any = None,
    dims: Mapping[str, Sequence[str]] | None = None,
    chunk: int = CHUNK,
    vectorize_particles: bool = True,
    seed: int = 0,
) -> LatentUnits:
    r"""Activity of every latent unit, its divergence from the prior, and what the data tell of all of them together.

    .. math::
        A_u = \mathrm{Var}_x \big( E_{q(z \mid x)}[z_u] \big), \qquad
        \mathrm{KL}_u = E_x E_q \Big[ \log \frac{q(z_u \mid x, \cdot)}{p(z_u \mid \cdot)} \Big], \qquad
        E_x \mathrm{KL}(q(z \mid x) \,\|\, p(z)) = I_q(x; z) + \mathrm{KL}(q(z) \,\|\, p(z))

    A unit is active if its activity is above the threshold; an inactive one is the same for all data. Activity is in
    squared units of the latent, so that the usual threshold fits priors of unit scale and bits. Means are those of the
    guide's laws, averaged over draws of what the guide drew before; what Monte Carlo noise adds to a variance is taken
    off. The variables of a one-hot or categorical site are its groups, whose activity is summed over the categories.

    The divergence of a unit is conditional on draws of the layers that its laws depend on. It is in closed form where
    `torch.distributions.kl_divergence` knows the laws and the model's law depends on nothing that the guide draws
    later; else, as in a chain of layers that are inferred from the bottom, it is the mean of the log-ratio over
    draws. Where the units of a site do not factorise, as under a Boltzmann machine, only the divergence of the site is
    given. Scales of the user's own, such as a KL weight, are no part of it.

    The last equation takes q(z) to be the mean of q(z | x) over the rows given, itself an exact sum. Of them it is
    true without bias. As an estimate for all data that might have been, a sum that holds the row that z was drawn from
    errs high in log q(z), so that I is low, never above log N, and KL(q(z) || p(z)) high.

    Args:
        pair: A model of the zoo, a `ppgen.Pair` or a run.
        x: Data, two rows or more; for programs with several arguments a tuple or a mapping.
        num_samples: Draws of each datum, 2 or more.
        threshold: Activity above which a unit is active.
        num_aggregate: Draws of q(z), spread over the rows; each is held against all rows.
        log_partition: log Z of undirected sites. Without it small machines are enumerated, and for large ones what
            needs a normalised prior is NaN.
        dims: By site, names of its event dimensions, or of plates and event dimensions together.
        chunk: Draws times rows that run at once.
        vectorize_particles: False for programs that cannot broadcast over draws.
        seed: Seed of all draws; the caller's random state is as before.

    Raises:
        ValueError: If data or arguments are wrong, there is no latent site, or one has no posterior of each datum.
        TypeError: If `pair` or `x` is none.

    References:
        | Importance Weighted Autoencoders (Burda, Grosse and Salakhutdinov, 2016)
        | https://arxiv.org/abs/1509.00519
        | ELBO Surgery: yet Another Way to Carve up the Variational Evidence Lower Bound (Hoffman and Johnson, 2016)

    Example:
        >>> import torch
        >>> from ppgen import diagnostics, models
        >>> vae = models.VAE(features=6, latent=2, hidden=(4,))
        >>> found = diagnostics.latent_units(vae, torch.eye(6))
        >>> found.dataset.z_kl.dims, found.num_units
        (('z_dim_0',), 2)
    """
    check_switches(vectorize_particles=vectorize_particles)
    seed = check_seed(seed)
    for name, number, least in (
        ("num_samples", num_samples, 2),
        ("num_aggregate", num_aggregate, 2),
        ("chunk", chunk, 1),
    ):
        check_count(name, number, least)
    check_number("threshold", threshold, "be positive and finite", lambda number: number > 0)
    check_labels(dims=dims)
    pair = as_pair(pair)
    rows = CheckedRows(x, pair)
    if len(rows) < 2:
        raise ValueError(f"x must hold at least two rows, over which the activity varies; got {len(rows)}.")
    program = examine(pair, rows, chunk)
    _check_sites(program)
    rows = CheckedRows(x, pair)  # parameters made at the first run decide the dtype
    partitions = _partitions(pair, rows, program.energies, log_partition)
    values = {site: 0.0 if each is None else each.value for site, each in partitions.items()}
    errors = {site: 0.0 if each is None else each.se for site, each in partitions.items()}
    moments = Moments(program.layout, {site: each is not None for site, each in partitions.items()}, dims)
    with evaluating(pair, seed), inference.attach(log_partition=values):
        draws = _spread(len(rows), num_aggregate, num_samples, program)
        block = max(1, chunk // num_samples)
        for start in range(0, len(rows), block):
            stop = min(start + block, len(rows))
            weights = inference.log_weights(
                pair, rows(start, stop), num_samples, vectorize=vectorize_particles, layout=program.layout
            )
            moments.add(weights)
            draws.add(weights, start, stop)
        divergence = moments.divergence / len(rows), math.sqrt(moments.divergence_noise) / len(rows)
        parts = decompose(pair, rows, draws, *divergence, vectorize=vectorize_particles)
    dataset = _dataset(moments.sites, len(rows), divergence, parts, threshold)
    for site, error in errors.items():  # of log Z, which every datum shares, and which the mutual information has not
        at = dataset.site == site
        dataset["kl_of_site_se"] = np.hypot(dataset.kl_of_site_se, at * error)
        for name in ("divergence_se", "marginal_divergence_se"):
            dataset[name] = np.hypot(dataset[name], error)
    dataset["kind"] = ("site", [program.layout.latent[name] for name in moments.sites])
    dataset.attrs = {
        "model": type(pair).__name__,
        "num_rows": len(rows),
        "num_samples": num_samples,
        "threshold": threshold,
        "seed": seed,
    }
    return LatentUnits(dataset, tuple(name for name, each in moments.sites.items() if each.binary))


def _spread(num_rows: int, number: int, num_samples: int, program: Program) -> GuideSamples:
    """Where draws of the aggregated posterior come from: all rows alike, or as many of them by chance."""
    if num_rows > number:
        return GuideSamples(program.layout, torch.randperm(num_rows)[:number], 1)
    return GuideSamples(program.layout, torch.arange(num_rows), max(1, min(number // num_rows, num_samples)))


def _dataset(
    found: Mapping[str, SiteMoments],
    num_rows: int,
    divergence: tuple[float, float],
    parts: Decomposition,
    threshold: float,
) -> Any:
    import xarray as xr

    variables: dict[str, Any] = {}
    layers: dict[str, list[float]] = {"kl_of_site": [], "kl_of_site_se": [], "num_units": [], "num_active": []}
    for name, each in found.items():
        activity = each.activity.cpu().numpy()
        active = activity > threshold
        variables[f"{name}_activity"] = (each.dims, activity)
        variables[f"{name}_active"] = (each.dims, active)
        if each.mean.shape[-1] == 1:
            variables[f"{name}_mean"] = (each.dims, each.mean[..., 0].cpu().numpy())
        if each.kl is not None:
            kl, noise = (sums.cpu().numpy() for sums in (each.kl, each.kl_noise))
            variables[f"{name}_kl"] = (each.dims, kl / num_rows, {"units": "nats"})
            variables[f"{name}_kl_se"] = (each.dims, np.sqrt(noise) / num_rows, {"units": "nats"})
        row = (each.site_kl / num_rows, math.sqrt(each.site_kl_noise) / num_rows, active.size, int(active.sum()))
        for key, value in zip(layers, row, strict=True):
            layers[key].append(value)
    variables |= {key: ("site", values, {"units": "nats"} if "kl" in key else {}) for key, values in layers.items()}
    variables["closed_form"] = ("site", [each.exact for each in found.values()])
    scalars = {
        "divergence": divergence[0],
        "divergence_se": divergence[1],
        "mutual_information": parts.mutual_information,
        "mutual_information_se": parts.mutual_information_se,
        "marginal_divergence": parts.marginal,
        "marginal_divergence_se": parts.marginal_se,
    }
    variables |= {key: ((), value, {"units": "nats"}) for key, value in scalars.items()}
    return xr.Dataset(variables, coords={"site": list(found)})


def _partitions(
    pair: AnyPair, rows: CheckedRows, energies: dict[str, LayeredEnergy], given: Any
) -> dict[str, Estimate | None]:
    """log Z by undirected site, None where it is not known."""
    own = [site for site, energy in energies.items() if energy.batch_shape]
    if own and given is not None:
        raise ValueError(
            f"log_partition: the machine at site {own[0]!r} has a log Z for each row, as its energy depends on the "
            "datum, and no prior that is the same for all. Leave log_partition out."
        )
    if given is None and (own or not all(map(enumerable, energies.values()))):
        return dict.fromkeys(energies)
    return {**partitions_of(pair, energies, given, "auto", {"x": rows(0, 1)})}


def _check_sites(program: Program) -> None:
    layout = program.layout
    if not layout.latent:
        raise ValueError("The pair has no latent site, so there are no units to look at.")
    auxiliary = [name for name in layout.latent if name not in layout.model_laws]
    if auxiliary:
        raise ValueError(
            f"The guide draws the auxiliary site {auxiliary[0]!r}, so that its density of the latents alone, which "
            "divergences need, is unknown. Give a guide without it."
        )
    if layout.marginalised:
        raise ValueError(
            f"The sites {list(layout.marginalised)} of the model are summed out (marked to be enumerated), so the "
            "guide has no posterior of them. Draw them in the guide."
        )
    if layout.masked:
        raise ValueError(
            f"Site {layout.masked[0]!r} is under a mask, so that not every datum has all its units. Take the mask "
            "away, or look at data in which all are present."
        )
    points = [name for name, law in layout.guide_laws.items() if type(base_law(law)).__name__ == "Delta"]
    if points:
        raise ValueError(
            f"The guide gives site {points[0]!r} a point and no law (Delta), so that no divergence is defined. Use a "
            "guide that draws it."
        )
