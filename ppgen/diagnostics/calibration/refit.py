"""A guide that is fitted anew to each simulated datum, for guides that do not compute their law from the data."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pyro
import torch
from pyro import poutine
from torch import Tensor, nn

from ppgen import inference
from ppgen.batch import split_batch
from ppgen.diagnostics.calibration.draws import Drawn, guide_draws
from ppgen.diagnostics.calibration.latents import Latents, Sites
from ppgen.evaluation.rows import CheckedRows
from ppgen.inference.structure.recognition import reads_data
from ppgen.inference.structure.traces import sites
from ppgen.pair import AnyPair, keeping_buffers
from ppgen.progress import progress_bar
from ppgen.undisturbed import held_constant

Refit = Callable[[AnyPair, Any], Any]
STEPS, LR, PARTICLES = 500, 0.05, 10


def check_recognition(pair: AnyPair, first: Any, second: Any) -> None:
    """Raise if the guide draws the same whatever the data are, so that it is fitted to those of one data set only.

    A guide that is the prior is let through: that is what a guide that ignores the data ought to be seen as.

    Args:
        pair: A pair.
        first: Simulated data.
        second: Other ones.

    Raises:
        ValueError: Says what calibration needs, and offers the two ways.
    """
    with pair.running():
        if reads_data(pair, first, second):
            return
        args, kwargs = split_batch(first)
        guide = poutine.trace(pair.guide).get_trace(*args, **kwargs)
        with inference.attach(log_partition=0.0), pyro.validation_enabled(False):
            model = poutine.trace(poutine.replay(pair.model, trace=guide)).get_trace(*args, **kwargs)
            stated, drawn = sites(model), sites(guide)
            if all(name in stated and _same_law(stated[name], drawn[name]) for name in drawn):
                return
    raise ValueError(
        "The guide draws the same whatever the data are: it was fitted to one data set, and is no posterior of the "
        "simulated ones. Calibration needs a guide that computes its law from the data (amortised), or a fit for each "
        'simulation: give refit="svi", or refit=lambda pair, x: ... which trains the guide to x.'
    )


def _same_law(stated: Any, drawn: Any) -> bool:
    densities = [site["fn"].log_prob(drawn["value"]) for site in (stated, drawn)]
    first, second = densities
    return first.shape == second.shape and torch.allclose(first, second, rtol=1e-4, atol=1e-4)


def drawn_by_refits(
    pair: AnyPair,
    x: Any,
    truth: Mapping[str, Tensor],
    rows: int,
    refit: Refit | str,
    num_samples: int,
    vectorize: bool,
    progress: bool,
) -> Drawn:
    """Independent draws of the guide, fitted to each datum from the same start; afterwards the pair is as before.

    Args:
        pair: A pair.
        x: Simulated data.
        truth: Latents that they came from, as the model draws them.
        rows: Number of simulations.
        refit: `"svi"`, or a function of the pair and one datum that trains the guide in place.
        num_samples: Draws of each simulation.
        vectorize: False for programs that cannot broadcast over draws.
        progress: Whether to show a progress bar.

    Raises:
        ValueError: If the guide has no parameters of its own.
    """
    found = Sites(pair, x, vectorize)
    latents = {name: place.rows_first(truth[name], 1, rows)[0] for name, place in found.places.items()}
    data = CheckedRows(x, pair)
    kept: dict[str, list[Tensor]] = {name: [] for name in latents}
    each = [data(row, row + 1) for row in range(rows)]
    with progress_bar("fits of the guide", rows, progress) as advance:
        for row, part in enumerate(refitted(pair, each, refit)):
            for name, value in guide_draws(Sites(pair, part, vectorize), part, 1, num_samples).items():
                kept[name].append(value)
            if advance is not None:
                advance(row + 1)
    draws = {name: torch.cat(values, 1) for name, values in kept.items()}

    def some(first: int, last: int, part: Any) -> Latents:
        return {name: value[:, first:last] for name, value in draws.items()}

    def densities(first: int, last: int, part: Any, values: Latents) -> tuple[Tensor, Tensor]:
        return found.densities(part, values)

    dims = {name: place.dims for name, place in found.places.items()}
    return Drawn(latents, dims, "the guide fitted to each simulation", num_samples, some, densities)


def refitted(pair: AnyPair, batches: Sequence[Any], refit: Refit | str, num_data: int = 1) -> Iterator[Any]:
    """Each batch, handed out while the guide is fitted to it; afterwards the pair is as before.

    Args:
        pair: A pair.
        batches: Simulated data, each of one datum or of one data set.
        refit: `"svi"`, or a function of the pair and a batch that trains the guide in place.
        num_data: Rows of each.

    Raises:
        ValueError: If the guide has no parameters of its own.
    """
    own = {id(each) for each in guide_parameters(pair, batches[0])}
    others = [each for each in pair.parameters() if id(each) not in own]  # the model is what data were simulated from
    with _restored(pair) as restore:
        for batch in batches:
            restore()
            with held_constant(others), torch.enable_grad():
                if callable(refit):
                    refit(pair, batch)
                else:
                    fit_guide(pair, batch, num_data)
            pair.eval()
            yield batch


def fit_guide(pair: AnyPair, x: Any, num_data: int = 1) -> None:
    """Fit the parameters of the guide to data: the ELBO of 10 particles, 500 steps of Adam from 0.05 down to 0."""
    bound = inference.Inference(inference.ELBO(PARTICLES)).bind(pair, x, num_data=num_data)
    named = {name: value for name, value in pair.named_parameters() if value.requires_grad}
    optimizer = torch.optim.Adam(named.values(), LR)
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = LR * (1 - step / STEPS)
        gradients = bound.step(x).gradients
        for name, value in named.items():
            value.grad = gradients.get(name)
        optimizer.step()


def guide_parameters(pair: AnyPair, x: Any) -> list[nn.Parameter]:
    """Parameters that the guide reads and the model does not.

    Raises:
        ValueError: If there are none.
    """
    args, kwargs = split_batch(x)
    every = [value for value in pair.parameters() if value.requires_grad]
    with torch.enable_grad(), pair.running(), keeping_buffers(pair), pyro.validation_enabled(False):
        guide = poutine.trace(pair.guide).get_trace(*args, **kwargs)
        values = guide.copy()
        for name, site in sites(guide).items():
            values.nodes[name] = {**site, "value": site["value"].detach()}
        with inference.attach(log_partition=0.0):
            model = poutine.trace(poutine.replay(pair.model, trace=values)).get_trace(*args, **kwargs)
        reached = [_reached(sites(trace).values(), every) for trace in (guide, model)]
    own = [value for value in every if id(value) in reached[0] - reached[1]]
    if not own:
        raise ValueError("refit was given, but the guide has no parameters of its own that could be fitted.")
    return own


def _reached(found: Any, parameters: list[nn.Parameter]) -> set[int]:
    terms = [part.sum() for site in found for part in (site["fn"].log_prob(site["value"]), site["value"] * 1.0)]
    terms = [term for term in terms if term.requires_grad]
    if not terms:
        return set()
    gradients = torch.autograd.grad(sum(terms[1:], terms[0]), parameters, allow_unused=True)
    return {id(value) for value, gradient in zip(parameters, gradients, strict=True) if gradient is not None}


@contextmanager
def _restored(pair: AnyPair) -> Iterator[Callable[[], None]]:
    """Context that gives a function by which the pair is as it was; it is called at the end too."""
    tensors = [*pair.parameters(), *pair.buffers()]
    before = [tensor.detach().clone() for tensor in tensors]
    gradients = [tensor.grad for tensor in tensors]
    state = pair.inference_state

    def restore() -> None:
        with torch.no_grad():
            for tensor, value, gradient in zip(tensors, before, gradients, strict=True):
                tensor.copy_(value)
                tensor.grad = gradient
        pair.inference_state = state

    try:
        yield restore
    finally:
        restore()
