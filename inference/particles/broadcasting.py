"""Whether a program runs many particles at once: each must get the log-density that it has alone."""

import warnings
from typing import Any

import pyro
import torch
from pyro import poutine
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ppgen.batch import split_batch
from ppgen.inference.particles.given_values import factors_at, with_same_rows
from ppgen.inference.particles.particle_runs import model_run, particle_trace
from ppgen.inference.structure.layout import Layout
from ppgen.inference.structure.traces import sites
from ppgen.pair import keeping_buffers
from ppgen.undisturbed import device_of, forked

_RELATIVE, _ABSOLUTE = 1e-3, 1e-3  # nats; far above rounding, far below what a mixed-up particle gives
_COUNT = 3


def vectorized(pair: Any, batch: Any, layout: Layout, vectorize: bool = True) -> bool:
    """Whether particles of a pair can be run at once; warns once where they are to be, and cannot.

    A program that sums over all dimensions (`w.sum()`) runs with many particles and mixes them up. It is seen by
    running some at once and each of them alone with the same values: every site must have the same log-density.

    Args:
        pair: A pair.
        batch: A batch of data.
        layout: Its structure.
        vectorize: Whether they are to be run at once.
    """
    if not vectorize or layout.laws or not layout.guide_order:  # without draws there is nothing to mix up
        return vectorize
    known = pair.__dict__.get("_mixed_by")
    if known is None:
        known = pair.__dict__["_mixed_by"] = mixing_site(pair, batch, layout) or ""
        if known:
            warnings.warn(
                f"Site {known!r} has another log-density when many particles are run at once than when each is run "
                "alone: the program takes particles together, as w.sum() does where w.sum(-1) is meant. They are run "
                "one by one; index and sum from the right (x[..., i], x.sum(-1)) to run them at once, or say "
                "vectorize_particles=False.",
                stacklevel=2,
            )
    return not known


def mixing_site(pair: Any, batch: Any, layout: Layout) -> str | None:
    """The first site whose log-density at many particles at once is not that of each alone; None if there is none.

    Programs that cannot be told are taken to be sound: those that draw at random beside their sites, as dropout does,
    that have other sites at another call, that normalise batches, or that cannot run several particles at all.
    """
    if isinstance(pair, nn.Module) and any(isinstance(module, _BatchNorm) for module in pair.modules()):
        return None
    device = device_of(pair, *split_batch(batch))
    with torch.no_grad(), keeping_buffers(pair), pyro.validation_enabled(False), forked(device):
        try:
            with pair.running():
                args, kwargs = split_batch(batch)
                drawn = particle_trace(pair.guide, _COUNT, layout, args, kwargs)
                model = poutine.replay(pair.model, trace=drawn)
                values = with_same_rows(drawn, model_run(model, _COUNT, layout, args, kwargs)[0])
                several = factors_at(pair, batch, values, layout, _COUNT)
                alone = [
                    factors_at(pair, batch, _of_particle(values, layout, particle), layout)
                    for particle in (0, 0, _COUNT - 1)
                ]
        except (RuntimeError, ValueError, IndexError, NotImplementedError, KeyError):
            return None
    if any(each.keys() != several.keys() for each in alone):
        return None
    for (program, name), factor in several.items():
        first, again, last = (found[program, name].value for found in alone)
        if not _close(first, again):
            return None
        if not (_close(factor.value[:1], first) and _close(factor.value[-1:], last)):
            return name
    return None


def _of_particle(drawn: poutine.Trace, layout: Layout, particle: int) -> poutine.Trace:
    """The values of one particle."""
    values = drawn.copy()
    for name, site in sites(drawn).items():
        value = site["value"]
        if isinstance(value, torch.Tensor) and value.dim() - site["fn"].event_dim == -layout.particle_dim:
            values.nodes[name] = {**site, "value": value[min(particle, len(value) - 1)]}
    return values


def _close(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two log-densities agree; as sums where a site that all share is as wide as its plate in one alone."""
    if one.shape[1:] != other.shape[1:]:
        return False
    return torch.allclose(one, other, rtol=_RELATIVE, atol=_ABSOLUTE, equal_nan=True)
