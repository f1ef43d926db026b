"""Programs whose sites differ from run to run, by chance, by their data, or by other arguments."""

from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from pyro_programs.enumeration import PARALLEL, probability, simplex
from pyro_programs.program import Program


def geometric(name: str, of_guide: bool) -> Callable[[], None]:
    """A number of sites that is drawn: heads until the first tails."""

    def program() -> None:
        p = probability("q", 0.4) if of_guide else torch.tensor(0.4)
        for i in range(20):
            if pyro.sample(f"{name}{i}", dist.Bernoulli(p)).item() < 0.5:
                break

    return program


def branch(summed: bool) -> Program:
    """A site that is drawn in one branch alone, by the value of another."""

    def model() -> None:
        x = pyro.sample("x", dist.Bernoulli(0.4))
        y = pyro.sample("y", dist.Normal(1.0, 1.0)) if bool(x.sum() > 0) else torch.tensor(0.0)
        pyro.sample("seen", dist.Normal(y, 1.0), obs=torch.tensor(0.5))

    def guide() -> None:
        infer = {"enumerate": "sequential"} if summed else None
        x = pyro.sample("x", dist.Bernoulli(probability()), infer=infer)
        if bool(x.sum() > 0):
            pyro.sample("y", dist.Normal(pyro.param("m", torch.tensor(0.3)), 1.0))

    losses = ("TraceEnum",) if summed else ("Trace", "TraceGraph")
    return Program(f"a branch, summed {summed}", model, guide, losses=losses, like_pyro=False)


def ragged() -> Program:
    """Groups of rows as a Python loop, of different length."""
    groups = [torch.tensor([0.1, 0.5]), torch.tensor([1.0]), torch.tensor([-0.2, 0.3, 0.9])]

    def model(groups: list[Tensor]) -> None:
        m = pyro.sample("m", dist.Normal(0.0, 1.0))
        for i, y in enumerate(groups):
            b = pyro.sample(f"b{i}", dist.Normal(m, 1.0))
            with pyro.plate(f"rows{i}", len(y)):
                pyro.sample(f"y{i}", dist.Normal(b, 1.0), obs=y)

    def guide(groups: list[Tensor]) -> None:
        pyro.sample("m", dist.Normal(pyro.param("a", torch.tensor(0.3)), 1.0))
        for i in range(len(groups)):
            pyro.sample(f"b{i}", dist.Normal(pyro.param(f"b_loc{i}", torch.tensor(0.1 * i)), 0.7))

    return Program(
        "groups of different length", model, guide, args=(groups,), losses=("Trace", "TraceGraph", "MeanField")
    )


def pieces() -> Program:
    """A mixture whose rows are a Python loop, each with its assignment."""

    def model() -> None:
        weights = simplex("weights", 2)
        locs = pyro.param("locs", torch.tensor([-1.0, 1.0]))
        for i, y in enumerate((0.3, -1.2, 0.8)):
            k = pyro.sample(f"k{i}", dist.Categorical(weights), infer=PARALLEL)
            pyro.sample(f"y{i}", dist.Normal(locs[k], 1.0), obs=torch.tensor(y))

    return Program("a mixture as a loop", model, lambda: None, losses=("TraceEnum",))


def auxiliary(marked: bool) -> Program:
    """A site of the guide that the model has not."""
    infer: Any = {"is_auxiliary": True} if marked else None

    def model() -> None:
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.sample("seen", dist.Normal(x, 1.0), obs=torch.tensor(0.5))

    def guide() -> None:
        a = pyro.sample("a", dist.Normal(pyro.param("m", torch.tensor(0.1)), 0.5), infer=infer)
        pyro.sample("x", dist.Delta(a))

    said = "runs" if marked else "warns"
    return Program(f"an auxiliary site, marked {marked}", model, guide, losses=("Trace", "TraceGraph"), pyro=said)


PROGRAMS: list[Program] = [
    Program("a drawn number of sites", geometric("x", False), geometric("x", True), like_pyro=False),
    *(branch(summed) for summed in (False, True)),
    ragged(),
    pieces(),
    *(auxiliary(marked) for marked in (True, False)),
]
