"""Networks with sampled weights, whose layers take one set of weights and no batch of them."""

import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from pyro.nn import PyroModule
from torch import nn

from ppgen.batch import split_batch
from ppgen.inference.structure.layout import Layout
from ppgen.pair import keeping_buffers
from ppgen.parameters.references import referenced_modules
from ppgen.undisturbed import device_of, forked

# By module with sampled weights: whether it takes no batch of them. Asked at every step, found out and told once.
_alone: "weakref.WeakKeyDictionary[nn.Module, bool]" = weakref.WeakKeyDictionary()


def runs_one_by_one(pair: Any, batch: Any, layout: Layout, trial: Callable[[], Any]) -> bool:
    """Whether particles must be run one by one, for weights of layers are among the latents (`pyro.nn.PyroSample`).

    `nn.Linear` and its like take one set of weights. That they cannot run several at once is tried out once and told
    in a warning; what broadcasts by itself runs them at once. The random state and buffers are left as they were.

    Args:
        pair: A pair, or the two programs of `pyro.infer.SVI`.
        batch: A batch of data.
        layout: Structure of the pair.
        trial: Runs the programs with several particles at once.
    """
    module = next(_with_sampled_weights(pair), None)
    if module is None:
        return False
    if module not in _alone:
        _alone[module] = False  # the trial asks, too
        _alone[module] = not _succeeds(pair, batch, trial)
        if _alone[module]:
            warnings.warn(
                f"The weights of {type(module).__name__} are sampled (pyro.nn.PyroSample), and its layers take one set "
                "of them: particles are run one by one. vectorize_particles=False says so without a warning; layers "
                f"that broadcast over a dimension left of the plates (dim={layout.particle_dim}) run them at once.",
                stacklevel=2,
            )
    return _alone[module]


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


def _succeeds(pair: Any, batch: Any, trial: Callable[[], Any]) -> bool:
    try:
        with torch.no_grad(), forked(device_of(pair, *split_batch(batch))), keeping_buffers(pair):
            trial()
    except (RuntimeError, ValueError, IndexError):
        return False
    return True
