"""Pyro's handlers and helpers around a model: conditioned, intervened, blocked, reparameterised, lifted."""

from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer.autoguide import AutoNormal
from pyro.infer.reparam import LatentStableReparam, LocScaleReparam, StudentTReparam, TransformReparam
from torch.distributions import constraints
from torch.distributions.transforms import AffineTransform

from pyro_programs.enumeration import PARALLEL, probability
from pyro_programs.program import WARNS, Program

Y = torch.tensor([28.0, 8.0, -3.0, 7.0]) / 10


def schools() -> None:
    """A hierarchy, whose observations are drawn unless a handler gives them."""
    mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
    tau = pyro.sample("tau", dist.LogNormal(0.0, 0.5))
    with pyro.plate("school", 4):
        theta = pyro.sample("theta", dist.Normal(mu, tau))
        pyro.sample("y", dist.Normal(theta, 1.0), obs=None)


def schools_guide(*names: str, suffix: str = "") -> Callable[[], None]:
    """A guide of the named sites of it; the effects under another name if they were reparameterised."""

    def guide() -> None:
        if "mu" in names:
            pyro.sample("mu", dist.Normal(pyro.param("m", torch.tensor(0.3)), 0.5))
        if "tau" in names:
            pyro.sample("tau", dist.LogNormal(pyro.param("t", torch.tensor(-0.2)), 0.3))
        if "theta" in names:
            with pyro.plate("school", 4):
                pyro.sample(f"theta{suffix}", dist.Normal(pyro.param("e", 0.1 * torch.ones(4)), 0.8))

    return guide


observed = pyro.condition(schools, data={"y": Y})
LATENT = ("mu", "tau", "theta")


def centred(centred: float | None) -> Program:
    """The hierarchy with its effects decentred by a handler: by a number, or by one that is learnt."""
    model = poutine.reparam(observed, config={"theta": LocScaleReparam(centred)})
    return Program(f"LocScaleReparam({centred})", model, schools_guide(*LATENT, suffix="_decentered"))


def reparam_by_transform() -> Program:
    """A law of transforms, of which the base is drawn."""

    def model() -> None:
        m = pyro.sample("m", dist.Normal(0.0, 1.0))
        with pyro.plate("data", 3):
            base = dist.Normal(0.0, 1.0).expand([3])
            z = pyro.sample("z", dist.TransformedDistribution(base, AffineTransform(m, 2.0)))
            pyro.sample("y", dist.Normal(z, 1.0), obs=Y[:3])

    def guide() -> None:
        pyro.sample("m", dist.Normal(pyro.param("a", torch.tensor(0.3)), 0.5))
        with pyro.plate("data", 3):
            pyro.sample("z_base", dist.Normal(pyro.param("b", torch.tensor(0.3)), 0.5))

    return Program("TransformReparam", poutine.reparam(model, config={"z": TransformReparam()}), guide)


def reparam_of_an_observation() -> Program:
    """A Student law of the observations as a mixture of normals, with a latent that a reparameterisation adds."""

    def model() -> None:
        m = pyro.sample("m", dist.Normal(0.0, 1.0))
        with pyro.plate("data", 4):
            pyro.sample("y", dist.StudentT(4.0, m, 1.0), obs=Y)

    def guide() -> None:
        pyro.sample("m", dist.Normal(pyro.param("a", torch.tensor(0.3)), 0.5))
        with pyro.plate("data", 4):
            pyro.sample("y_gamma", dist.Gamma(4.0, pyro.param("b", torch.tensor(2.0))))

    return Program("StudentTReparam", poutine.reparam(model, config={"y": StudentTReparam()}), guide)


def reparam_stable() -> Program:
    """A law without a density, drawn from two that have one; a guide of points."""

    @poutine.reparam(config={"z": LatentStableReparam()})
    def model() -> None:
        stability = pyro.sample("stability", dist.Uniform(0.0, 2.0))
        skew = pyro.sample("skew", dist.Uniform(-1.0, 1.0))
        y = pyro.sample("z", dist.Stable(stability, skew))
        pyro.sample("x", dist.Poisson(y.abs()), obs=torch.tensor(1.0))

    def guide() -> None:
        pyro.sample("stability", dist.Delta(pyro.param("s", torch.tensor(1.5))))
        pyro.sample("skew", dist.Delta(torch.tensor(0.0)))
        pyro.sample("z_uniform", dist.Delta(torch.tensor(0.1)))
        pyro.sample("z_exponential", dist.Delta(torch.tensor(1.0)))

    return Program("LatentStableReparam, points", model, guide, losses=("Trace",))


def lifted() -> Program:
    """Parameters that a handler makes latents."""

    def base() -> None:
        m = pyro.param("m", torch.tensor(0.0))
        with pyro.plate("data", 4):
            pyro.sample("y", dist.Normal(m, 1.0), obs=Y)

    def guide() -> None:
        pyro.sample("m", dist.Normal(pyro.param("a", torch.tensor(0.3)), 0.5))

    return Program("lifted parameters", poutine.lift(base, prior=dist.Normal(0.0, 1.0)), guide)


def marked_by_handler(handler: str) -> Program:
    """A mixture whose assignments a handler marks, not the statement."""

    def base() -> None:
        locs = pyro.param("locs", torch.tensor([-1.0, 1.0]))
        with pyro.plate("data", 4):
            k = pyro.sample("k", dist.Bernoulli(probability())).long()
            pyro.sample("y", dist.Normal(locs[k], 1.0), obs=Y)

    def told(site: Any) -> dict[str, Any]:
        return PARALLEL if site["name"] == "k" else {}

    marked = poutine.infer_config(base, told) if handler == "infer_config" else pyro.infer.config_enumerate(base)
    return Program(f"marked by {handler}", marked, lambda: None, losses=("TraceEnum",))


def scoped() -> Program:
    """Sites whose names a handler extends."""
    scope: Any = pyro.poutine.handlers.scope if hasattr(pyro.poutine.handlers, "scope") else None
    from pyro.contrib.autoname import scope as contributed

    scope = scope or contributed

    def guide() -> None:
        pyro.sample("a/mu", dist.Normal(pyro.param("m", torch.tensor(0.3)), 0.5))

    def inner() -> None:
        mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(mu, 1.0), obs=torch.tensor(0.4))

    def model() -> None:
        with scope(prefix="a"):
            inner()

    return Program("names under a scope", model, guide)


def blocked_auto_guide() -> Program:
    """An AutoGuide of some sites, and points by hand for the others."""

    def made() -> Callable[[], None]:
        auto = AutoNormal(poutine.block(observed, hide=["tau"]))

        def guide() -> None:
            auto()
            pyro.sample("tau", dist.Delta(pyro.param("t", torch.tensor(0.8), constraint=constraints.positive)))

        return guide

    return Program("AutoNormal of a blocked model", observed, made, losses=("Trace",), fresh=True)


PROGRAMS: list[Program] = [
    Program("conditioned", observed, schools_guide(*LATENT), losses=("Trace", "TraceGraph", "MeanField")),
    Program(
        "conditioned on latents too",
        pyro.condition(observed, data={"tau": torch.tensor(0.7)}),
        schools_guide("mu", "theta"),
    ),
    Program(
        "intervened", poutine.do(observed, data={"tau": torch.tensor(0.7)}), schools_guide("mu", "theta"), pyro=WARNS
    ),
    Program("a hidden observation", poutine.block(observed, hide=["y"]), schools_guide(*LATENT)),
    Program("hidden latents", poutine.block(observed, hide=["tau"]), schools_guide("mu", "theta")),
    *(centred(c) for c in (0.0, 0.4, None)),
    reparam_by_transform(),
    reparam_of_an_observation(),
    reparam_stable(),
    lifted(),
    *(marked_by_handler(handler) for handler in ("infer_config", "config_enumerate")),
    scoped(),
    blocked_auto_guide(),
]
