"""Blocks of importance sampling as machine code: a pair is traced once, and its log-weights are compiled."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from ppgen import inference
from ppgen.graphs.compiler import compiled_or_none, in_a_line, worth_compiling
from ppgen.inference.structure.layout import Layout
from ppgen.pair import AnyPair, keeping_buffers
from ppgen.undisturbed import forked

# Log-weights times parameters of the pair, from which on a run is compiled. On one core a VAE of 425,000 parameters
# takes 13 microseconds a log-weight as a program and 7 as machine code, which takes 9 seconds to make: it pays from
# 6e11 on, after some twenty seconds.
WORTH_COMPILING = 1e12

LogWeights = Callable[[Any], Tensor]


def worth_compiling_weights(pair: AnyPair, num_data: int, num_particles: int) -> bool:
    """Whether a run is so large, by its size and not by the clock, that compiling it pays.

    Example:
        >>> from ppgen import models
        >>> vae = models.VAE(features=784, latent=50)
        >>> worth_compiling_weights(vae, 10, 5000), worth_compiling_weights(vae, 10_000, 5000)
        (False, True)
    """
    weights = num_data * num_particles * sum(parameter.numel() for parameter in pair.parameters())
    return worth_compiling(weights, WORTH_COMPILING, pair.device)


def compiled_log_weights(pair: AnyPair, batch: Any, count: int, layout: Layout) -> LogWeights | None:
    """Log-weights of batches shaped as this one as machine code; None, with a warning, where that cannot be made.

    The graph is compared with the program on this batch first. Parameters are constants of the machine code, which is
    to be thrown away before they change. Draws may be computed from keys that torch's generator gives, so they follow
    from the seed and are not those of the program. The random state and the buffers of the pair are left as they are.

    Args:
        pair: Model and guide.
        batch: Rows of data: a tensor, or a tuple or mapping of tensors.
        count: Particles.
        layout: Structure of the pair.

    Returns:
        Function of a batch that gives (particles, rows).
    """
    leaves, structure = tree_flatten(batch)

    def program(*leaves: Tensor) -> Tensor:
        return inference.log_weights(pair, tree_unflatten(list(leaves), structure), count, layout=layout).local

    # Shown at the caller of log_likelihood: four functions and a decorator above.
    told, stacklevel = "Importance sampling could not be compiled, so it runs eagerly", 6
    try:
        with _undisturbed(pair):
            graph = traced(program, leaves)
        with _undisturbed(pair):
            found = graph(*leaves)
        with _undisturbed(pair):
            expected = program(*leaves)
    except Exception as error:  # a program that no graph can hold
        warnings.warn(f"{told}: {in_a_line(error)}", stacklevel=stacklevel)
        return None
    if not _agree(found, expected):  # such as draws of NumPy
        warnings.warn(f"{told}: its graph gives other log-weights than the program", stacklevel=stacklevel)
        return None
    with _undisturbed(pair):
        machine_code = compiled_or_none(graph, leaves, told, stacklevel=stacklevel)
    return None if machine_code is None else lambda batch: machine_code(*tree_leaves(batch))[0]


def traced(program: Callable[..., Tensor], leaves: list[Tensor]) -> fx.GraphModule:
    """Graph of a program of tensors; run as it is, it draws what the program draws."""
    with torch.no_grad():
        return make_fx(program, tracing_mode="fake", _allow_non_fake_inputs=True)(*leaves)


@contextmanager
def _undisturbed(pair: AnyPair) -> Iterator[None]:
    """Context after which torch's random state and the buffers of a pair are as before."""
    with forked(pair.device), torch.no_grad(), keeping_buffers(pair):
        yield


def _agree(found: Tensor, expected: Tensor) -> bool:
    """Whether two tensors are the same up to rounding; what is not finite must be so in both."""
    if found.shape != expected.shape:
        return False
    tolerance = 1e-8 if found.dtype == torch.float64 else 1e-3
    scale = float(expected[expected.isfinite()].abs().amax()) if bool(expected.isfinite().any()) else 0.0
    return torch.allclose(found, expected, rtol=tolerance, atol=tolerance * scale, equal_nan=True)
