"""Latents that chains in an unconstrained space can move: continuous ones, on supports that unfold."""

from typing import Any

import pyro.distributions as dist
import torch
from torch.distributions import biject_to

from ppgen.inference.structure.traces import element_law, undirected_law

CIRCULAR = (torch.distributions.VonMises, dist.SineBivariateVonMises)


def check_continuous(name: str, fn: Any) -> None:
    """Raise unless a latent site has a density that chains can move along.

    Args:
        name: The site.
        fn: Its law in the model.

    Raises:
        ValueError: If it is discrete, or no smooth map takes the real numbers onto its support once.
    """
    law = undirected_law(fn)
    if law is None and not fn.support.is_discrete:
        _check_unfolds(name, fn)
        return
    kind = "a Boltzmann machine's" if law is not None else type(element_law(fn)).__name__
    raise ValueError(
        f"The latent site {name!r} is discrete ({kind}), and Hamiltonian Monte Carlo moves continuous latents only. "
        'Use evaluation.log_likelihood(method="importance") for log p(x), or sum the site out of the model.'
    )


def _check_unfolds(name: str, fn: Any) -> None:
    """Raise where no smooth map takes the real numbers onto the support once."""
    circular = isinstance(element_law(fn), CIRCULAR)  # the density repeats itself along the real line
    try:
        biject_to(fn.support)
    except NotImplementedError:
        circular = True
    if circular:
        raise ValueError(
            f"The latent site {name!r} ({type(element_law(fn)).__name__}) lies on a circle, a sphere or another "
            "support onto which the real numbers have no map, and Hamiltonian Monte Carlo moves along those. Use "
            'evaluation.log_likelihood(method="importance") for log p(x).'
        )
