"""Masks, scales, factors, and observations that are partly missing."""

from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor
from torch.distributions import constraints

from pyro_programs.program import Program, Stated, programs_of

PATHS = ("Trace", "TraceGraph", "MeanField")
DATA = torch.tensor([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])


def masked_observation(mask: Any, by: str) -> Program:
    """An observation under a mask, which a handler or the law has."""

    def model() -> None:
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        if by == "handler":
            with poutine.mask(mask=mask):
                pyro.sample("y", dist.Normal(x, 1.0), obs=torch.tensor(0.5))
        else:
            pyro.sample("y", dist.Normal(x, 1.0).mask(mask), obs=torch.tensor(0.5))

    def guide() -> None:
        pyro.sample("x", dist.Normal(pyro.param("m", torch.tensor(0.2)), 1.0))

    return Program(f"observation under {mask!r} of the {by}", model, guide, losses=PATHS)


def masked_latent(mask: Any) -> Program:
    """A latent under a mask in both programs."""

    def model() -> None:
        x = pyro.sample("x", dist.Normal(0.0, 1.0).mask(mask))
        pyro.sample("y", dist.Normal(x, 1.0), obs=torch.tensor(0.5))

    def guide() -> None:
        pyro.sample("x", dist.Normal(pyro.param("m", torch.tensor(0.2)), 1.0).mask(mask))

    return Program(f"latent under {mask!r}", model, guide, losses=PATHS)


def plated(name: str, handler: Any) -> Program:
    """Observations in a plate under a handler, of a global latent."""

    def model() -> None:
        c = pyro.sample("c", dist.LogNormal(0.0, 1.0).expand([3]).to_event(1))
        with pyro.plate("data", 2), handler:
            pyro.sample("obs", dist.Dirichlet(c), obs=DATA)

    def guide() -> None:
        loc = pyro.param("loc", torch.tensor([0.1, 0.0, -0.2]))
        scale = pyro.param("scale", torch.ones(3), constraint=constraints.positive)
        pyro.sample("c", dist.LogNormal(loc, scale).to_event(1))

    return Program(f"observations of a plate under {name}", model, guide, losses=(*PATHS, "Renyi"))


def scaled(scale: Any) -> Program:
    """An observation under a scale."""

    def model() -> None:
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        with poutine.scale(scale=scale):
            pyro.sample("y", dist.Normal(x, 1.0), obs=torch.tensor(0.5))

    def guide() -> None:
        pyro.sample("x", dist.Normal(pyro.param("m", torch.tensor(0.2)), 1.0))

    return Program(f"observation scaled by {scale!r}", model, guide, losses=PATHS)


def annealed() -> Program:
    """A latent scaled in both programs, as KL terms are annealed."""

    def model() -> None:
        with pyro.plate("data", 2):
            with poutine.scale(scale=0.2):
                z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(z, 1.0), obs=torch.tensor([0.5, -1.0]))

    def guide() -> None:
        with pyro.plate("data", 2), poutine.scale(scale=0.2):
            pyro.sample("z", dist.Normal(pyro.param("m", torch.tensor([0.2, 0.3])), 1.0))

    return Program("a scaled latent", model, guide, losses=PATHS)


def factor(draw: Stated, plate: bool) -> None:
    """A term of the log-density, of all rows or of each."""
    x = draw.latent("x")
    if type(draw) is not Stated:
        return
    if plate:
        with pyro.plate("data", 3):
            pyro.factor("penalty", -(x - torch.tensor([0.1, 0.5, 2.0])).square())
    else:
        pyro.factor("penalty", -x.square())


def factor_in_the_guide(has_rsample: bool) -> Program:
    """A term of the guide's log-density, which Pyro wants marked."""

    def model() -> None:
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(x, 1.0), obs=torch.tensor(0.5))

    def guide() -> None:
        m = pyro.param("m", torch.tensor(0.2))
        pyro.sample("x", dist.Normal(m, 1.0))
        pyro.factor("penalty", m.square(), has_rsample=has_rsample)

    return Program(
        f"a factor of the guide, has_rsample {has_rsample}", model, guide, losses=("Trace",), like_pyro=False
    )


def drawn_outside() -> Program:
    """A draw that no site of the guide makes, whose log-density is a factor."""

    def model() -> None:
        z = pyro.sample("z", dist.Bernoulli(0.4))
        pyro.sample("y", dist.Normal(z, 1.0), obs=torch.tensor(1.0))

    def guide() -> None:
        law = dist.Bernoulli(logits=pyro.param("m", torch.tensor(1 / 3).log()))
        z = law.sample()
        pyro.sample("z", dist.Delta(z))
        pyro.factor("law", law.log_prob(z), has_rsample=False)

    return Program("a draw outside of the guide's sites", model, guide, like_pyro=False)


def partly_observed(mask: Tensor, events: bool) -> Program:
    """Observations of which a mask says which are there; the others are latents that the guide draws."""
    y = torch.tensor([[0.4, -0.3], [1.2, 0.0], [-0.7, 0.8]]) if events else torch.tensor([0.4, 1.2, -0.7])

    def law(at: Any) -> Any:
        base = dist.Normal(at, 1.0)
        return base.expand([2]).to_event(1) if events else base

    def model() -> None:
        m = pyro.sample("m", dist.Normal(0.0, 1.0))
        with pyro.plate("data", 3):
            pyro.sample("y", law(m), obs=y, obs_mask=mask)

    def guide() -> None:
        pyro.sample("m", dist.Normal(pyro.param("a", torch.tensor(0.2)), 1.0))
        with pyro.plate("data", 3):
            pyro.sample("y_unobserved", law(pyro.param("b", torch.tensor(0.4))))

    name = f"{int(mask.sum())} of {len(mask)}"
    return Program(f"{name} rows observed, events {events}", model, guide, losses=("Trace", "TraceGraph"))


def deterministic(draw: Stated) -> None:
    """Values that are recorded and not drawn."""
    x = draw.latent("x")
    y = 2 * x if type(draw) is not Stated else pyro.deterministic("twice", 2 * x)
    with pyro.plate("data", 3):
        draw.seen("seen", dist.Normal(y, 1.0), torch.tensor([0.1, 0.2, -0.4]))


MASKS: tuple[Any, ...] = (True, False, torch.tensor(True), torch.tensor(False))

PROGRAMS: list[Program] = [
    *(masked_observation(mask, by) for mask in MASKS for by in ("handler", "law")),
    *(masked_latent(mask) for mask in (True, False)),
    *(plated(f"mask {mask!r}", poutine.mask(mask=mask)) for mask in (*MASKS, torch.tensor([False, True]))),
    *(scaled(scale) for scale in (1, 0.1, torch.tensor(0.5))),
    *(
        plated(f"scale {scale!r}", poutine.scale(scale=scale))
        for scale in (1, 0.1, torch.tensor(0.5), torch.tensor([0.1, 0.9]))
    ),
    annealed(),
    *(each for plate in (False, True) for each in programs_of(f"factor, plate {plate}", factor, plate)),
    *(factor_in_the_guide(has_rsample) for has_rsample in (True, False)),
    drawn_outside(),
    *(
        partly_observed(mask, events)
        for mask in torch.tensor([[True, True, True], [False, False, False], [True, False, True]])
        for events in (False, True)
    ),
    *programs_of("deterministic values", deterministic),
]
