"""Guides that Pyro makes: AutoGuides of every kind, with latents inside plates and outside; EasyGuide."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.contrib.easyguide import EasyGuide, easy_guide
from pyro.infer import autoguide
from torch import Tensor
from torch.distributions import constraints

from pyro_programs.enumeration import PARALLEL, simplex
from pyro_programs.program import REFUSES, RUNS, Program

X = torch.tensor([[0.1, 1.0], [0.5, -0.3], [-0.8, 0.4], [1.2, 0.6], [0.3, -1.1]])
TRACES = ("Trace", "TraceGraph")
Y = torch.tensor([0.4, 1.2, -0.7, 0.1, 0.9])


# Flat priors cannot be drawn from, so a guide of them starts at values that are given.
START = {"m": torch.tensor(0.2), "s": torch.tensor(0.8)}


def regression(x: Tensor, y: Tensor) -> None:
    """A linear regression with global latents, one of them positive."""
    w = pyro.sample("w", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    sigma = pyro.sample("sigma", dist.LogNormal(0.0, 0.3))
    with pyro.plate("data", len(x)):
        pyro.sample("y", dist.Normal(x @ w, sigma), obs=y)


def hierarchy(x: Tensor, y: Tensor) -> None:
    """Global latents, and one for each row."""
    m = pyro.sample("m", dist.Normal(0.0, 1.0))
    s = pyro.sample("s", dist.LogNormal(0.0, 0.3))
    with pyro.plate("school", len(y)):
        theta = pyro.sample("theta", dist.Normal(m, s))
        pyro.sample("y", dist.Normal(theta, 1.0), obs=y)


def no_plate(x: Tensor, y: Tensor) -> None:
    """One datum, passed in whole, and a latent vector."""
    w = pyro.sample("w", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    pyro.sample("y", dist.Normal(x @ w, 1.0).to_event(1), obs=y)


def two_plates(x: Tensor, y: Tensor) -> None:
    """Latents in a plate of components and in one of rows."""
    with pyro.plate("components", 2):
        w = pyro.sample("w", dist.Normal(0.0, 1.0))
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(x @ w + z, 1.0), obs=y)


def improper(x: Tensor, y: Tensor) -> None:
    """A flat prior over a positive number, and one over all."""
    m = pyro.sample("m", dist.ImproperUniform(constraints.real, (), ()))
    s = pyro.sample("s", dist.ImproperUniform(constraints.positive, (), ()))
    with pyro.plate("data", len(y)):
        pyro.sample("y", dist.Normal(m, s), obs=y)


def mixture(x: Tensor, y: Tensor) -> None:
    """Locations of a mixture whose assignments are summed out."""
    with pyro.plate("components", 2):
        locs = pyro.sample("locs", dist.Normal(0.0, 2.0))
    with pyro.plate("data", len(y)):
        k = pyro.sample("k", dist.Categorical(simplex("weights", 2)), infer=PARALLEL)
        pyro.sample("y", dist.Normal(locs[k], 0.5), obs=y)


def simplexes(x: Tensor, y: Tensor) -> None:
    """Latents of other supports: a simplex, an interval, a covariance factor."""
    pyro.sample("p", dist.Dirichlet(torch.ones(3)))
    u = pyro.sample("u", dist.Uniform(-1.0, 2.0))
    chol = pyro.sample("L", dist.LKJCholesky(2, 1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.MultivariateNormal(u.expand(2), scale_tril=chol), obs=x)


def made(name: str, model: Any, guide: Callable[[], Any], losses: tuple[str, ...], args: Any = (X, Y)) -> Program:
    """A model with a guide that is made anew for each run."""
    return Program(name, model, guide, args=args, losses=losses, fresh=True)


def auto(name: str, model: Callable[..., Any], losses: tuple[str, ...] = TRACES, **options: Any) -> Program:
    """A model with an AutoGuide of it."""
    said = "".join(f", {key}" for key in options)
    return made(f"{name} of {model.__name__}{said}", model, lambda: getattr(autoguide, name)(model, **options), losses)


def mixture_guide(name: str) -> Program:
    """A mixture with an AutoGuide of all but the assignments, which stay summed out."""
    hidden = poutine.block(mixture, hide=["k"])
    return made(f"{name} of a mixture", mixture, lambda: getattr(autoguide, name)(hidden), ("TraceEnum",))


def discrete_guide() -> Program:
    """AutoDiscreteParallel for the assignments, in a list with another one."""

    def guide() -> Any:
        both = autoguide.AutoGuideList(mixture)
        both.append(autoguide.AutoNormal(poutine.block(mixture, hide=["k"])))
        both.append(autoguide.AutoDiscreteParallel(poutine.block(mixture, expose=["k"])))
        return both

    # The locations are drawn anew for each value of the assignments.
    return replace(made("AutoGuideList with discrete sites", mixture, guide, ("TraceEnum",)), like_pyro=False)


def guide_list() -> Program:
    """Two AutoGuides, of the global latents and of those in the plate."""

    def guide() -> Any:
        both = autoguide.AutoGuideList(hierarchy)
        both.append(autoguide.AutoDiagonalNormal(poutine.block(hierarchy, hide=["theta"])))
        both.append(autoguide.AutoNormal(poutine.block(hierarchy, expose=["theta"])))
        return both

    return made("AutoGuideList", hierarchy, guide, TRACES)


def amortised() -> Program:
    """An AutoGuide of the global latents beside a guide of the rows that reads them."""

    def guide() -> Any:
        around = autoguide.AutoNormal(poutine.block(hierarchy, hide=["theta"]))

        def both(x: Tensor, y: Tensor) -> None:
            around(x, y)
            a = pyro.param("a", torch.tensor(0.5))
            with pyro.plate("school", len(y)):
                pyro.sample("theta", dist.Normal(a * y, 0.7))

        return both

    return made("AutoNormal beside an amortised guide", hierarchy, guide, TRACES)


def easy(subsample: int | None) -> Program:
    """EasyGuide: a group of global latents, and a site in the plate, cut to the subsample."""

    def model() -> None:
        m = pyro.sample("m", dist.Normal(0.0, 1.0))
        s = pyro.sample("s", dist.Normal(0.0, 1.0))
        with pyro.plate("data", 5, subsample) as rows:
            z = pyro.sample("z", dist.Normal(m + s, 1.0))
            pyro.sample("y", dist.Normal(z, 1.0), obs=Y[rows])

    def statements(self: EasyGuide) -> None:
        together = self.group(match="m|s")
        loc = pyro.param("loc", 0.1 * torch.ones(together.event_shape))
        together.sample("both", dist.Normal(loc, 0.5).to_event(1))
        with self.plate("data", 5, subsample):
            z = pyro.param("z_loc", 0.2 * torch.arange(5.0), event_dim=0)
            pyro.sample("z", dist.Normal(z, 0.6))

    return made(f"EasyGuide, subsample {subsample}", model, lambda: easy_guide(model)(statements), TRACES, args=())


def easy_points() -> Program:
    """EasyGuide with points for some sites."""

    def model() -> None:
        m = pyro.sample("m", dist.Normal(0.0, 1.0))
        s = pyro.sample("s", dist.LogNormal(0.0, 0.3))
        with pyro.plate("data", 5):
            pyro.sample("y", dist.Normal(m, s), obs=Y)

    def statements(self: EasyGuide) -> None:
        self.map_estimate("s")
        pyro.sample("m", dist.Normal(pyro.param("m_loc", torch.tensor(0.2)), 0.5))

    return made("EasyGuide with points", model, lambda: easy_guide(model)(statements), ("Trace",), args=())


EVERY = (
    "AutoDelta",
    "AutoNormal",
    "AutoDiagonalNormal",
    "AutoMultivariateNormal",
    "AutoLowRankMultivariateNormal",
    "AutoIAFNormal",
    "AutoStructured",
    "AutoLaplaceApproximation",
)
SOME = ("AutoDelta", "AutoNormal", "AutoMultivariateNormal", "AutoStructured")

PROGRAMS: list[Program] = [
    *(auto(name, model) for model in (regression, hierarchy) for name in EVERY),
    auto("AutoNormal", regression, ("MeanField",)),
    auto("AutoNormal", hierarchy, ("MeanField", "Renyi")),
    auto("AutoMultivariateNormal", hierarchy, ("Trace, 10 at once", "Renyi")),
    *(auto(name, model) for model in (no_plate, two_plates, simplexes) for name in SOME),
    *(
        replace(auto(name, improper, ("Trace",), init_loc_fn=autoguide.init_to_value(values=START)), pyro=said)
        for name, said in zip(SOME, (RUNS, RUNS, RUNS, REFUSES), strict=True)
    ),
    auto("AutoNormal", two_plates, init_scale=0.3),
    *(mixture_guide(name) for name in ("AutoDelta", "AutoNormal", "AutoDiagonalNormal")),
    discrete_guide(),
    guide_list(),
    amortised(),
    *(easy(subsample) for subsample in (None, 2)),
    easy_points(),
]
