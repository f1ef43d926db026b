"""Fantasies: data and latents drawn from the model, in the form in which the guide takes data."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from pyro import poutine
from pyro.distributions import Unit
from torch import Tensor

from ppgen.batch import all_tensors_of, changed, split_batch
from ppgen.distributions import GibbsSampler
from ppgen.inference.particles.factors import summed_log_prob
from ppgen.inference.structure.attach import attach
from ppgen.inference.structure.layout import Layout
from ppgen.inference.structure.recognition import blind_sites, reads_data
from ppgen.inference.structure.traces import of_data, sites, unmasked
from ppgen.pair import keeping_buffers
from ppgen.undisturbed import device_of, forked

Fantasy = Callable[[Any], Any]


def sleep_log_density(pair: Any, batch: Any, layout: Layout, num_data: int, fantasy: Fantasy | None = None) -> Tensor:
    r"""log q(z | x) of a fantasy (x, z) drawn from the model, per datum: a scalar with a gradient in the guide alone.

    .. math:: E_{p(x, z)}[\log q_\phi(z \mid x)]

    Args:
        pair: A pair, running.
        batch: A batch, which says how many rows to draw and holds the arguments that are not observed.
        layout: Structure of the pair.
        num_data: Rows of the whole data set, for all of which sites outside the data plate count once.
        fantasy: Makes the guide's batch from the model's trace, for pairs whose data cannot be recognised; None finds
            the arguments that the model observes and puts the drawn values in their place.

    Raises:
        ValueError: If the model observes something else than an argument as it is, so that a fantasy cannot be given
            to the guide; if a factor weighs what the model draws.
    """
    trace, fantasy_batch = _drawn_fantasy(pair, batch, layout, fantasy)
    args, kwargs = split_batch(fantasy_batch)
    guide_trace = poutine.trace(poutine.replay(pair.guide, trace=trace)).get_trace(*args, **kwargs)
    total: Any = 0.0
    for site in sites(guide_trace).values():
        if site["infer"].get("_deterministic"):
            continue
        term = summed_log_prob(site, layout).mean()
        total = total + (term if of_data(site, layout.plate) else term / num_data)
    return total


@torch.no_grad()
def _drawn_fantasy(pair: Any, batch: Any, layout: Layout, fantasy: Fantasy | None) -> tuple[poutine.Trace, Any]:
    """A trace of the model that draws all, and the batch of it for the guide."""
    args, kwargs = split_batch(batch)
    trace = poutine.trace(poutine.uncondition(pair.model)).get_trace(*args, **kwargs)
    _check_factors(trace, layout.plate)
    return trace, fantasy_batch_of(trace, batch, layout.plate) if fantasy is None else fantasy(trace)


def check_fantasies(pair: Any, batch: Any, layout: Layout, fantasy: Fantasy | None) -> None:
    """Draw a fantasy on trial, before training; the random state is restored.

    Raises:
        ValueError: As `sleep_log_density`; if the guide draws more than the model, or a site without reading its data.
    """
    auxiliary = [name for name in layout.latent if name not in layout.model_laws]
    if auxiliary:
        raise ValueError(
            f"A fantasy has no value for the auxiliary site {auxiliary[0]!r} of the guide, so its log q is not known. "
            "Use an objective without a sleep phase: inference.ELBO() or inference.ReweightedWakeSleep()."
        )
    args, kwargs = split_batch(batch)
    # The draws of the negative phase come with the first step; here any will do.
    trial = attach(sampler=GibbsSampler(sweeps=1))
    with forked(device_of(pair, args, kwargs)), torch.no_grad(), pair.running(), keeping_buffers(pair), trial:
        sleep_log_density(pair, batch, layout, 1, fantasy)
        fantasies = [_drawn_fantasy(pair, batch, layout, fantasy)[1] for _ in range(2)]
        blind = blind_sites(pair, *fantasies) if _differ(*fantasies) else []
        reads = not blind or reads_data(pair, *fantasies)
    if not reads:
        raise ValueError(
            f"The guide draws site {blind[0]!r} without reading its data, but a sleep phase learns q(z | x) on "
            f"fantasies of many x, so that the law of {blind[0]!r} would become that of the prior. {_READ_OR_LEAVE}"
        )
    if blind:
        warnings.warn(
            f"The guide draws site {blind[0]!r} without reading its data or what it drew before: the sleep phase makes "
            f"its law that of the prior, which is the posterior of no data. {_READ_OR_LEAVE}",
            stacklevel=2,
        )


_READ_OR_LEAVE = (
    "Compute it from the data, or use an objective without a sleep phase: inference.ELBO() or "
    "inference.ReweightedWakeSleep()."
)


def _differ(first: Any, second: Any) -> bool:
    """Whether two batches hold other values, which a single datum of few bits may not."""
    parts = [all_tensors_of(batch) for batch in (first, second)]
    return any(one.shape != other.shape or not torch.equal(one, other) for one, other in zip(*parts, strict=True))


def _check_factors(trace: poutine.Trace, plate: str | None) -> None:
    for name, site in sites(trace).items():
        if isinstance(unmasked(site["fn"]), Unit) and of_data(site, plate):
            raise ValueError(
                f"pyro.factor {name!r} weighs what the model draws, so its draws are no fantasies. Use an objective "
                "without a sleep phase: inference.ELBO() or inference.ReweightedWakeSleep()."
            )


def fantasy_batch_of(trace: poutine.Trace, batch: Any, plate: str | None) -> Any:
    """The batch with every tensor that the model observes replaced by what the model drew there.

    Args:
        trace: Trace of the model under `poutine.uncondition`.
        batch: The batch that it ran with.
        plate: Name of the data plate.

    Raises:
        ValueError: If a site in the data plate observes something else than an argument as it is, or none observes.
    """
    given = {id(value) for value in all_tensors_of(batch)}
    drawn = {
        name: site
        for name, site in sites(trace).items()
        if site["infer"].get("was_observed") and not site["infer"].get("_deterministic")
    }
    observed = {id(site["infer"]["obs"]): site["value"] for site in drawn.values()}
    made = [name for name, site in drawn.items() if id(site["infer"]["obs"]) not in given and of_data(site, plate)]
    if made or not given & set(observed):
        what = f"Site {made[0]!r} of the model observes no" if made else "The model observes no"
        raise ValueError(
            f"{what} argument as it is, so fantasies cannot be given to the guide. Observe the argument itself "
            "(obs=x), or say how: fantasy=lambda trace: batch for the guide."
        )
    return changed(batch, lambda value: observed.get(id(value), value))
