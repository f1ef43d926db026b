"""Approximate posteriors and priors of latents by name: Normal laws, and flows upon them."""

from collections.abc import Sequence
from typing import Any

from ppgen.models.parts.arguments import one_of, positive_size, positive_sizes
from ppgen.nn import (
    CouplingFlow,
    Flow,
    FlowConditional,
    InverseAutoregressiveFlow,
    MaskedAutoregressiveFlow,
    NormalConditional,
)

POSTERIORS = ("diagonal", "iaf", "coupling", "spline")
PRIORS = ("normal", "maf", "coupling", "spline")
DENSITIES = ("maf", "coupling", "spline")


def posterior_conditional(
    posterior: str, inputs: int, hidden: Sequence[int], latent: int, steps: int, flow_hidden: Sequence[int]
) -> NormalConditional:
    """Encoder of a name: independent Normal variables, or a flow upon them that sees its last hidden layer.

    Raises:
        ValueError: If the name is unknown, a number is not positive, or one latent is to be split into halves.
    """
    one_of("posterior", posterior, POSTERIORS)
    _check_halves("posterior", posterior, latent, "iaf")
    steps, flow_hidden = positive_size("flow_steps", steps), positive_sizes("flow_hidden", flow_hidden)
    if posterior == "diagonal":
        return NormalConditional(inputs, hidden, latent)
    given = hidden[-1] if len(hidden) else inputs
    return FlowConditional(inputs, hidden, flow(posterior, latent, steps, flow_hidden, given))


def prior_flow(prior: str, latent: int, steps: int, flow_hidden: Sequence[int]) -> Flow | None:
    """Flow upon the standard Normal prior, or None where the prior is that itself.

    Raises:
        ValueError: If the name is unknown, a number is not positive, or one latent is to be split into halves.
    """
    one_of("prior", prior, PRIORS)
    _check_halves("prior", prior, latent, "maf")
    steps, flow_hidden = positive_size("flow_steps", steps), positive_sizes("flow_hidden", flow_hidden)
    return None if prior == "normal" else flow(prior, latent, steps, flow_hidden)


def flow(name: str, features: int, steps: int, hidden: Sequence[int], given: int = 0, **options: Any) -> Flow:
    """Flow of a name, with networks of these hidden layers; sizes are checked by then."""
    if name == "iaf":
        return InverseAutoregressiveFlow(features, hidden, steps, given)
    if name == "maf":
        return MaskedAutoregressiveFlow(features, hidden, steps, given)
    return CouplingFlow(features, hidden, steps, given, transform="spline" if name == "spline" else "affine", **options)


def _check_halves(argument: str, name: str, latent: int, instead: str) -> None:
    if name in ("coupling", "spline") and latent < 2:
        raise ValueError(
            f"{argument}={name!r} takes at least two latent variables, one half of which moves the other, got "
            f"{latent}. Take {argument}={instead!r}."
        )
