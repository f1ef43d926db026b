"""Model and guide that do not fit each other, or have nothing to say."""

from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import torch

from pyro_programs.enumeration import nothing
from pyro_programs.program import REFUSES, RUNS, WARNS, Program

TRACES = ("Trace", "TraceGraph", "TraceEnum")


def sampling(*statements: tuple[str, Callable[[], Any]], seen: float | None = None) -> Callable[[], None]:
    """A program that draws the named sites in order; with an observation after them."""

    def program() -> None:
        for name, law in statements:
            pyro.sample(name, law())
        if seen is not None:
            pyro.sample("seen", dist.Normal(0.0, 1.0), obs=torch.tensor(seen))

    return program


def normal(*shape: int, events: int = 0) -> Callable[[], Any]:
    """A normal law of some shape with a parameter for its mean."""
    return lambda: dist.Normal(pyro.param("m", torch.tensor(0.2)), 1.0).expand(shape).to_event(events)


def constant(*shape: int, events: int = 0) -> Callable[[], Any]:
    """A standard normal law of some shape."""
    return lambda: dist.Normal(torch.zeros(shape), 1.0).to_event(events)


def observing(value: Any, law: Any) -> Callable[[], None]:
    """A program that observes a value and draws nothing."""

    def program() -> None:
        pyro.sample("x", law, obs=value)

    return program


def observed_outside(rows: bool) -> Program:
    """A batch of observations in no plate, or in one event."""
    law = dist.Normal(torch.zeros(3), 1.0)
    model = observing(torch.ones(3), law if rows else law.to_event(1))
    said = REFUSES if rows else RUNS
    return Program(f"observed vector, of rows {rows}", model, nothing, losses=TRACES, pyro=said)


def no_guide_for_plated() -> Program:
    """A site that the guide draws in a plate that the model has not around it."""

    def model() -> None:
        with pyro.plate("a", 3):
            pass
        pyro.sample("x", dist.Normal(0.0, 1.0).expand([3]).to_event(1))

    def guide() -> None:
        with pyro.plate("a", 3):
            pyro.sample("x", dist.Normal(pyro.param("m", torch.tensor(0.2)), 1.0))

    return Program("in a plate in the guide alone", model, guide, losses=TRACES, pyro=REFUSES)


def of(name: str, model: Any, guide: Any, said: str, losses: tuple[str, ...] = TRACES, **options: Any) -> Program:
    """A program under the three losses."""
    return Program(name, model, guide, losses=losses, pyro=said, **options)


x = ("x", constant())
q = ("x", normal())

PROGRAMS: list[Program] = [
    of(
        "an observed event and no latent",
        observing(torch.ones(2), dist.Normal(0.0, 1.0).expand([2]).to_event(1)),
        nothing,
        RUNS,
    ),
    of("nothing in either", nothing, nothing, RUNS),
    of("nothing in either, strict", nothing, nothing, WARNS, losses=("TraceEnum, strict",)),
    of("no observation", sampling(x), sampling(q), RUNS),
    of("an observation", sampling(x, seen=0.4), sampling(q), RUNS),
    of("two sites of one name in the model", sampling(x, x), sampling(q), REFUSES),
    of("two sites of one name in the guide", sampling(x), sampling(q, q), REFUSES),
    of("a site that the guide misses", sampling(x, ("y", constant())), sampling(q), WARNS),
    of("a site that the model misses", sampling(x), sampling(q, ("y", normal())), WARNS),
    of(
        "other event dimensions",
        sampling(("x", constant(2, events=1))),
        sampling(("x", normal(2, 1, events=2))),
        REFUSES,
    ),
    of("other shapes", sampling(("x", constant(1, 2, events=2))), sampling(("x", normal(2, 1, events=2))), REFUSES),
    of("other sizes", sampling(("x", constant(2, events=1))), sampling(("x", normal(3, events=1))), REFUSES),
    of("a batch in no plate", sampling(("x", constant(3))), sampling(("x", normal(3))), REFUSES),
    of("another order", sampling(x, ("y", constant())), sampling(("y", normal()), q), RUNS),
    observed_outside(True),
    observed_outside(False),
    no_guide_for_plated(),
    of("a density outside of the support", observing(torch.tensor(-1.0), dist.Gamma(1.0, 1.0)), nothing, REFUSES),
    of("mean field", sampling(x, ("y", constant())), sampling(q, ("y", normal())), RUNS, losses=("MeanField",)),
    of(
        "mean field, another order",
        sampling(x, ("y", constant())),
        sampling(("y", normal()), q),
        WARNS,
        losses=("MeanField",),
    ),
    of("Renyi, no plate", sampling(x, seen=0.4), sampling(q), RUNS, losses=("Renyi",)),
]
