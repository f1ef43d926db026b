"""What a model says of its data when its latents are drawn from its own prior, and not from the guide."""

from collections.abc import Iterator
from typing import Any

from pyro.distributions import Unit
from torch import Tensor

from ppgen.batch import split_batch
from ppgen.inference.particles.factors import summed_log_prob
from ppgen.inference.particles.particle_runs import particle_trace
from ppgen.inference.structure.layout import Layout
from ppgen.inference.structure.traces import sites, unmasked


def check_prior_draws(layout: Layout) -> None:
    """Raise unless the gradient can go through every draw of the model's latents.

    Raises:
        ValueError: Names the site, and says what to do.
    """
    for name, why in _hindrances(layout):
        raise ValueError(
            f"prior_weight follows draws of the model's own latents by their path, but {why.format(repr(name))}. Leave "
            "prior_weight at 0."
        )


def _hindrances(layout: Layout) -> Iterator[tuple[str, str]]:
    for name, site in layout.sites.items():
        if not site.stated or site.model_law is None:
            continue
        law = unmasked(site.model_law)
        if site.undirected is not None:
            yield name, "site {} is a Boltzmann machine"
        elif isinstance(law, Unit):
            yield name, "pyro.factor {} weighs what the model draws"
        elif site.marginalised:
            yield name, "site {} is summed out"
        elif not site.observed and layout.plate not in site.plates:
            yield name, "site {} is common to all data"
        elif not site.observed and not law.has_rsample:
            yield name, "the model's law at site {} is not reparameterised"


def prior_likelihood(pair: Any, batch: Any, layout: Layout, num_particles: int, *, vectorize: bool = True) -> Tensor:
    r"""Mean of log p(y | x, z) over latents z that the model draws, in nats, of each row, (1, rows or 1).

    .. math:: E_{p(z \mid x)}[\log p(y \mid x, z)] \le \log p(y \mid x)

    Args:
        pair: A pair, running.
        batch: A batch of data.
        layout: Structure of the pair.
        num_particles: Draws of each datum.
        vectorize: Whether they are drawn at once.
    """
    args, kwargs = split_batch(batch)
    total: Any = 0.0
    for _ in range(1 if vectorize else num_particles):
        trace = particle_trace(pair.model, num_particles if vectorize else 1, layout, args, kwargs)
        for name, site in sites(trace).items():
            if name in layout.sites and layout.sites[name].observed:
                total = total + summed_log_prob(site, layout).mean(0, keepdim=True)
    return total if vectorize else total / num_particles
