"""One run of a pair whose draws are held, for checks that move some of them and look what follows."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyro
import torch
from pyro import poutine

from ppgen.batch import split_batch
from ppgen.pair import keeping_buffers
from ppgen.undisturbed import device_of, forked


@contextmanager
def held_draws(pair: Any, batch: Any, layout: Any) -> Iterator[tuple[poutine.Trace, poutine.Trace]]:
    """Context in which pair, caller and random state stay as they are, with a trace of the guide and of the model.

    The guide's trace holds the sites that the model sums out, too, as the model drew them.

    Args:
        pair: A pair.
        batch: A batch of data.
        layout: Its structure.
    """
    args, kwargs = split_batch(batch)
    with (
        forked(device_of(pair, args, kwargs)),
        torch.no_grad(),
        pair.running(),
        keeping_buffers(pair),
        pyro.validation_enabled(False),
    ):
        drawn = poutine.trace(pair.guide).get_trace(*args, **kwargs)
        stated = poutine.trace(poutine.replay(pair.model, trace=drawn)).get_trace(*args, **kwargs)
        for name in layout.marginalised:
            drawn.add_node(name, **stated.nodes[name])
        yield drawn, stated
