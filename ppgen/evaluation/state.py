"""Running a pair for evaluation without leaving a trace on it or on the caller."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ppgen.modes import keeping_modes
from ppgen.pair import AnyPair


@contextmanager
def evaluating(pair: AnyPair, seed: int | None = None) -> Iterator[None]:
    """Context in which the pair is in evaluation mode without gradients, on random state of its own.

    The training flag of every module and torch's random state are as before afterwards, whatever happens.

    Args:
        pair: Model and guide.
        seed: Seed of the random state inside; None goes on from the caller's.

    Example:
        >>> from ppgen import models
        >>> rbm = models.RBM(visible=4, hidden=3)
        >>> with evaluating(rbm, seed=0):
        ...     rbm.training
        False
        >>> rbm.training
        True
    """
    devices = [pair.device] if pair.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.no_grad(), keeping_modes(pair):
        if seed is not None:
            torch.manual_seed(seed)
        pair.eval()
        yield
