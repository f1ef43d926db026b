"""Latents at the means of the guide, and what the model expects of the data given them."""

from collections.abc import Mapping
from typing import Any

from pyro import poutine
from pyro.poutine.messenger import Messenger
from torch import Tensor

from ppgen.batch import split_batch
from ppgen.inference.structure.given_latents import GivenValues
from ppgen.inference.structure.layout import Layout


class _AtMeans(Messenger):
    """Gives each latent the mean of its law, so that what is drawn after it is computed from that."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        self.names = names

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] in self.names and not msg["is_observed"]:
            msg["value"], msg["done"] = _mean(msg["name"], msg["fn"]), True


def posterior_means(pair: Any, batch: Any, layout: Layout) -> dict[str, Tensor]:
    """Mean of the guide at each latent site of the model, given the means of those before it.

    Args:
        pair: A prepared pair, in evaluation mode and running.
        batch: Its data.
        layout: Its structure.

    Raises:
        ValueError: If the law at a site has no mean, as one over unordered categories.
    """
    names = tuple(name for name in layout.latent if name in layout.model_laws)
    args, kwargs = split_batch(batch)
    with _AtMeans(names):
        trace: Any = poutine.trace(pair.guide).get_trace(*args, **kwargs)
    return {name: trace.nodes[name]["value"] for name in names}


def expected_data(pair: Any, batch: Any, layout: Layout, means: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """What the model observes, and its mean given the latents, (rows, numbers) each.

    Raises:
        ValueError: If the model observes several sites, or a law without a mean.
    """
    observed = tuple(layout.observed_laws)
    if len(observed) != 1:
        raise ValueError(f"The model observes the sites {list(observed)}: there must be one whose mean is the result.")
    args, kwargs = split_batch(batch)
    with GivenValues(means):
        trace: Any = poutine.trace(pair.model).get_trace(*args, **kwargs)
    site = trace.nodes[observed[0]]
    law = site["fn"]
    return by_row(site["value"], law.event_dim, layout), by_row(_mean(observed[0], law), law.event_dim, layout)


def by_row(value: Tensor, event_dim: int, layout: Layout) -> Tensor:
    """A value with plates and event dimensions as one row for each datum: (rows, numbers)."""
    rows = value.movedim(value.dim() - event_dim + layout.row_dim, 0)
    return rows.reshape(len(rows), -1)


def _mean(name: str, law: Any) -> Tensor:
    try:
        mean: Tensor | None = law.mean
    except (NotImplementedError, AttributeError):
        mean = None
    if mean is None or not bool(mean.isfinite().all()):
        raise ValueError(
            f"The law at site {name!r}, {type(law).__name__}, has no finite mean, so that it gives no code and no "
            "reconstruction. Take a law of numbers or of bits."
        )
    return mean
