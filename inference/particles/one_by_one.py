"""Programs whose particles are run one by one: networks of sampled weights, and others that take no batch of them."""

import itertools
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from pyro.nn import PyroModule
from torch import nn

from ppgen.batch import split_batch
from ppgen.inference.structure.guide_factors import outside_densities
from ppgen.inference.structure.layout import Layout
from ppgen.pair import keeping_buffers
from ppgen.parameters.references import referenced_modules
from ppgen.undisturbed import device_of, forked

# By pair or model: whether its particles cannot be run at once. Asked at every step, found out and told once.
_alone: "weakref.WeakKeyDictionary[Any, bool]" = weakref.WeakKeyDictionary()


def runs_one_by_one(pair: Any, batch: Any, layout: Layout, trial: Callable[[int], Any]) -> bool:
    """Whether the particles of a program are run one by one, because several at once fail or are one draw.

    So are those of a guide that makes draws elsewhere than at its sites and says their log-density in a factor
    (`has_rsample=False`): they have no dimension of particles, so that all particles would have the same draw.

    Latents outside of the data plate reach layers and indices that were written for one value: `nn.Linear` with weights
    that are sampled (`pyro.nn.PyroSample`), `locs[k]` of locations that are latents. That such a program fails is tried
    out once and told in a warning. Programs whose latents all lie in the data plate are not tried: they raise.

    Args:
        pair: A pair, or the two programs of `pyro.infer.SVI`.
        batch: A batch of data.
        layout: Structure of the pair.
        trial: Runs the programs with so many particles at once. The random state and buffers are left as they were.
    """
    shared = outside_densities(layout)
    if not layout.global_latents and not shared:
        return False
    key = pair if isinstance(pair, nn.Module) else getattr(pair.model, "__self__", pair.model)
    if key not in _alone and shared:
        _alone[key] = True
        warnings.warn(
            f"pyro.factor {shared[0]!r} (has_rsample=False) is the log-density of draws that no pyro.sample makes, so "
            "that particles that are run at once would share them: they are run one by one. "
            "vectorize_particles=False says so without a warning.",
            stacklevel=2,
        )
    if key not in _alone:
        _alone[key] = False  # the trial asks, too
        error = _error(pair, batch, trial, _unlike_sizes(layout))
        _alone[key] = error is not None
        if error is not None:
            warnings.warn(_told(pair, layout, error), stacklevel=2)
    return _alone[key]


def _told(pair: Any, layout: Layout, error: Exception) -> str:
    sampled = next(_with_sampled_weights(pair), None)
    if sampled is not None:
        why = (
            f"The weights of {type(sampled).__name__} are sampled (pyro.nn.PyroSample), and its layers take one set of "
            "them"
        )
    else:
        why = f"The program cannot take several particles at once ({str(error).splitlines()[0][:200]})"
    return (
        f"{why}: particles are run one by one. To run them at once, let it broadcast over a dimension left of its "
        f"plates (dim={layout.particle_dim}); vectorize_particles=False says so without a warning."
    )


def _unlike_sizes(layout: Layout) -> int:
    """A number of particles that no dimension of the program has, which would hide that they do not fit."""
    laws = (*layout.guide_laws.values(), *layout.model_laws.values(), *layout.observed_laws.values())
    sizes = {size for law in laws for size in law.shape()}
    return next(count for count in itertools.count(5) if count not in sizes)


def _with_sampled_weights(pair: Any) -> Iterator[nn.Module]:
    """Modules of the programs that have sampled weights."""
    if isinstance(pair, nn.Module):
        roots = [pair]
    else:
        owners = [getattr(program, "__self__", program) for program in (pair.model, pair.guide)]
        known = [module for program in (pair.model, pair.guide) for module in referenced_modules(program).values()]
        roots = [each for each in (*owners, *known) if isinstance(each, nn.Module)]
    for root in roots:
        for module in root.modules():
            if isinstance(module, PyroModule) and module.__dict__.get("_pyro_samples"):
                yield module


def _error(pair: Any, batch: Any, trial: Callable[[int], Any], count: int) -> Exception | None:
    """What so many particles at once end in; None if they run, or if one alone does not run either."""
    found: Exception | None = None
    for particles in (count, 1):
        with torch.no_grad(), forked(device_of(pair, *split_batch(batch))), keeping_buffers(pair):
            try:
                trial(particles)
                return found
            except (RuntimeError, ValueError, IndexError) as error:
                cause = error.__cause__
                found = cause if isinstance(cause, Exception) else error
    return None
