"""Whether a guide reads its data: the laws of its sites under other data."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pyro
import torch
from pyro import poutine
from torch import Tensor, nn

from ppgen.batch import changed, split_batch
from ppgen.inference.structure.traces import sites
from ppgen.pair import keeping_buffers
from ppgen.undisturbed import device_of, evaluating, forked

_TOLERANCE = 1e-5  # of log-densities, relative: laws computed from the same numbers differ by less
_STEP = 0.3  # by which parameters are moved; weights that start at zero hide what a guide reads


def reads_data(pair: Any, first: Any, second: Any) -> bool:
    """Whether the law of any site of the guide is another one under other data, all its draws being the same.

    It is looked for at the parameters as they are and at others, because a layer that starts at zero hides it. The
    random state goes on; parameters and buffers are left as they are.

    Args:
        pair: A pair, running.
        first: A batch.
        second: Another with other observed data in each row.
    """
    with _quietly(pair):
        for moved in (contextlib.nullcontext(), moved_parameters(pair, first)):
            with moved:
                with forked(device_of(pair, *split_batch(first))):
                    one = _guide(pair, first)
                if len(_same(one, _guide(pair, second))) < len(one):
                    return True
    return False


def reads_other_data(pair: Any, batch: Any) -> bool:
    """Whether the law of any site of the guide is another one if all data are: with their rows, or numbers, moved.

    Args:
        pair: A pair; training flags and the random state are as before afterwards.
        batch: A batch.
    """
    with evaluating(pair), pair.running():
        return reads_data(pair, batch, changed(batch, _other))


def _other(value: Any) -> Any:
    """Other values of the same shape: those of the other rows, and numbers changed."""
    if not isinstance(value, Tensor):
        return value
    other = value.roll(1, 0) if value.dim() else value
    return 1.1 * other + _STEP if other.is_floating_point() and not _bits(other) else other


def _bits(value: Tensor) -> bool:
    """Whether values are all 0 or 1, which other numbers in their place might not be."""
    return bool(((value == 0) | (value == 1)).all())


def blind_sites(pair: Any, first: Any, second: Any) -> list[str]:
    """Sites of the guide whose law depends on parameters, and neither on the data nor on what is drawn before them.

    Args:
        pair: A pair, running.
        first: A batch.
        second: Another with other observed data in each row.
    """
    with _quietly(pair):
        one = _guide(pair, first)
        constant = _same(one, _guide(pair, second))
        if not constant:
            return []
        with moved_parameters(pair, first):
            still = _same(one, other := _guide(pair, first))
            constant &= _same(other, _guide(pair, second))
    return [name for name in one if name in constant and name not in still]


def _guide(pair: Any, batch: Any) -> dict[str, Any]:
    """Sites of the guide, each with the log-density of its draw, for a law may hold the parameters themselves."""
    args, kwargs = split_batch(batch)
    found = sites(poutine.trace(pair.guide).get_trace(*args, **kwargs))
    return {
        name: {**site, "density": _density(site["fn"], site["value"])}
        for name, site in found.items()
        if not site["infer"].get("_deterministic")
    }


def _same(first: dict[str, Any], second: dict[str, Any]) -> set[str]:
    """Sites that have the same law in two runs, as far as the log-densities of one draw tell."""
    return {name for name, site in first.items() if name in second and _equal(site, second[name])}


def _equal(first: Any, second: Any) -> bool:
    if first["fn"].shape() != second["fn"].shape() or first["density"] is None:
        return False
    density = _density(second["fn"], first["value"])
    return density is not None and torch.allclose(first["density"], density, rtol=_TOLERANCE, atol=_TOLERANCE)


def _density(fn: Any, value: Any) -> Tensor | None:
    """Log-density, or None where it is not known: of unknown log Z, of a flow without inverse."""
    try:
        density = fn.log_prob(value)
    except (RuntimeError, ValueError, NotImplementedError, KeyError):
        return None
    return density if isinstance(density, Tensor) and bool(density.isfinite().all()) else None


@contextlib.contextmanager
def _quietly(pair: Any) -> Iterator[None]:
    with torch.no_grad(), keeping_buffers(pair), pyro.validation_enabled(False):
        yield


@contextlib.contextmanager
def moved_parameters(pair: Any, batch: Any) -> Iterator[None]:
    """Context in which all parameters are other ones; through `data`, so that they do not count as written."""
    if isinstance(pair, nn.Module):
        found: list[Any] = list(pair.parameters())
    else:
        args, kwargs = split_batch(batch)
        found = parameters_of(poutine.trace(pair.guide, param_only=True).get_trace(*args, **kwargs))
    kept = [parameter.data.clone() for parameter in found]
    try:
        for parameter in found:
            if parameter.is_floating_point():
                parameter.data.add_(_STEP * torch.randn_like(parameter))
        yield
    finally:
        for parameter, value in zip(found, kept, strict=True):
            parameter.data.copy_(value)


def parameters_of(trace: poutine.Trace) -> list[Tensor]:
    """Unconstrained parameters of the param statements of a trace, each once."""
    found: dict[int, Tensor] = {}
    for site in trace.nodes.values():
        if site["type"] == "param":
            value: Any = site["value"]
            value = value.unconstrained() if hasattr(value, "unconstrained") else value
            found[id(value)] = value
    return list(found.values())
