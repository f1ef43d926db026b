"""Runs of guide and model with particles: drawing them, cutting leaves, explaining what goes wrong."""

import contextlib
import warnings
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from pyro.poutine.runtime import _PYRO_STACK
from torch import Tensor, nn
from torch.nn.utils.stateless import _reparametrize_module

from ppgen.batch import split_batch
from ppgen.inference.elimination.chains import SHORTEST
from ppgen.inference.elimination.enumerated import Enumerated
from ppgen.inference.elimination.marginal import Summand, summand
from ppgen.inference.elimination.repeats import shared
from ppgen.inference.particles.joint_states import Forced, JointStates
from ppgen.inference.structure.layout import Layout
from ppgen.inference.structure.plates import PARTICLES
from ppgen.inference.structure.traces import sites

_ERRORS = (RuntimeError, ValueError, IndexError)


@dataclass(frozen=True)
class ParticleRun:
    """Traces of one run of guide and model.

    Attributes:
        model_traces: Trace of the model; one for each state that is summed out if they were run one after another.
        guide_trace: Trace of the guide that log-densities are read from.
        drawn: Trace of the guide as it was drawn; the same where nothing is cut.
        leaves: Values at sites whose path is followed by itself: as they were drawn, and as a leaf.
        densities: Log-densities of sites of the guide, where they must be taken while parameters are constants.
        summed: The part of the model that depends on the sites that are summed out by elimination, if there are any.
    """

    model_traces: list[poutine.Trace]
    guide_trace: poutine.Trace
    drawn: poutine.Trace
    leaves: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    densities: dict[str, Tensor] = field(default_factory=dict)
    summed: Summand | None = None


def draw(
    pair: Any,
    batch: Any,
    num_particles: int,
    layout: Layout,
    states: JointStates | None,
    leaves: Collection[str] = (),
) -> ParticleRun:
    """Draw from the guide, and run the model with its values: with all values of sites that are summed out.

    Args:
        pair: A pair, running.
        batch: A batch of data.
        num_particles: Particles that are run at once.
        layout: Structure of the pair.
        states: Joint states of the sites of the model that are summed out, if they are run one by one.
        leaves: Sites whose values become leaves, and the parameters of the guide constants of its log-densities.
    """
    args, kwargs = split_batch(batch)
    drawn = guide_trace = particle_trace(pair.guide, num_particles, layout, args, kwargs)
    ends: dict[str, tuple[Tensor, Tensor]] = {}
    densities: dict[str, Tensor] = {}
    if leaves:
        values, ends = cut_leaves(drawn, leaves)
        with constant_parameters(pair):
            again = poutine.replay(pair.guide, trace=values)
            guide_trace = particle_trace(again, num_particles, layout, args, kwargs)
            # Here and no later: a law may hold a network, as those of flows do, whose parameters are constants for the
            # time of this context alone.
            densities = {
                name: site["fn"].log_prob(site["value"], *site["args"], **site["kwargs"])
                for name, site in sites(guide_trace).items()
            }
    replayed = poutine.replay(pair.model, trace=guide_trace)
    if states is not None:
        with Forced(states, layout, 1, vectorized=False):
            traces = [particle_trace(replayed, 1, layout, args, kwargs) for _ in range(states.count)]
        return ParticleRun(traces, guide_trace, drawn, ends, densities)
    trace, summed = model_run(replayed, num_particles, layout, args, kwargs)
    return ParticleRun([trace], guide_trace, drawn, ends, densities, summed)


def model_run(
    model: Any, num_particles: int, layout: Layout, args: Any, kwargs: Any
) -> tuple[poutine.Trace, Summand | None]:
    """Trace of a model, with all values of the sites that are summed out, and what depends on them."""
    if not layout.marginalised:
        return particle_trace(model, num_particles, layout, args, kwargs), None

    def run() -> tuple[poutine.Trace, Summand]:
        with Enumerated(layout.marginalised, layout.particle_dim - 1) as enumerated:
            trace = particle_trace(model, num_particles, layout, args, kwargs)
        kept = (PARTICLES,) if layout.plate is None else (PARTICLES, layout.plate)
        return trace, summand(sites(trace), enumerated, kept)

    found: tuple[poutine.Trace, Summand] = shared(run, len(layout.marginalised) >= SHORTEST)
    return found


def cut_leaves(drawn: poutine.Trace, leaves: Collection[str]) -> tuple[poutine.Trace, dict[str, Any]]:
    """A trace with values cut from their paths at some sites, and both ends of each cut."""
    chosen = [name for name in leaves if name in drawn.nodes]
    ends = {name: (drawn.nodes[name]["value"], _leaf(drawn.nodes[name]["value"])) for name in chosen}
    values = drawn.copy()
    for name, (_, leaf) in ends.items():
        values.nodes[name] = {**values.nodes[name], "value": leaf}
    return values, ends


@contextlib.contextmanager
def explained(alone: Callable[[], Any] | None, count: int, layout: Layout) -> Iterator["LastSite"]:
    """Context in which a program that cannot run many particles at once is told so, by the site that it came to.

    Args:
        alone: Runs the program with one particle and one value of each site, to see whether the error came from running
            several at once; None where there is one only.
        count: Particles that are run at once.
        layout: Structure of the pair.
    """
    last = LastSite()
    try:
        with contextlib.nullcontext() if alone is None else last:
            yield last
    except _ERRORS as error:
        if alone is None or not _succeeds(alone):
            raise
        summed = layout.marginalised
        states = next((each.states for each in _PYRO_STACK if isinstance(each, Forced)), None)
        what = f"{count if states is None else count // states.count} particles"
        if states is not None:
            what += f" with the {states.count} joint states of {list(states.sizes)}"
        if summed:
            what += f" with all values of the marked sites {list(summed)}"
        told = f"Particles are a dimension to the left of every plate (dim={layout.particle_dim})"
        if summed:
            told += ", values of marked sites one to the left of that"
        raise ValueError(
            f"The program could not run {what} at once: at or after site {last.name!r}: {error}. {told}; "
            "index the data from the right (x[..., i]), expand them before torch.cat with a latent "
            "(x.expand(*z.shape[:-1], -1)), or pass vectorize_particles=False to the objective to run them one by one."
        ) from error


class LastSite(Messenger):
    """Remembers the last sample statement, to name it when a program fails."""

    def __init__(self) -> None:
        super().__init__()
        self.name = ""

    def _pyro_sample(self, msg: Any) -> None:
        self.name = msg["name"]


@contextlib.contextmanager
def constant_parameters(pair: Any) -> Iterator[None]:
    """Context in which the parameters of a pair are constants."""
    pair = getattr(pair, "owner", None) or pair  # methods of a pair have its parameters
    if not isinstance(pair, nn.Module):  # programs under `pyro.infer.SVI`, whose parameters are those of Pyro's store
        with pair.constant_parameters():
            yield
        return
    constants = {name: value.detach() for name, value in pair.named_parameters()}
    with _reparametrize_module(pair, constants), warnings.catch_warnings():
        # `pyro.module` tells its user of parameters without a gradient, who did not ask for them here.
        warnings.filterwarnings("ignore", message=".* was not registered in the param store")
        yield


def particle_trace(function: Any, num_particles: int, layout: Layout, args: Any, kwargs: Any) -> poutine.Trace:
    """Trace of a program in a plate of particles, if there are several."""
    if num_particles == 1:
        return poutine.trace(function).get_trace(*args, **kwargs)
    with pyro.plate(PARTICLES, num_particles, dim=layout.particle_dim):
        return poutine.trace(function).get_trace(*args, **kwargs)


def _leaf(value: Any) -> Any:
    return value.detach().requires_grad_()


def _succeeds(alone: Callable[[], Any]) -> bool:
    try:
        with torch.no_grad():
            alone()
    except _ERRORS:
        return False
    return True
