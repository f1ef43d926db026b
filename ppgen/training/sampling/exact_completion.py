"""What is missing from rows of data, drawn from the exact law of the rest: models that are one law of their data."""

from typing import Any

from pyro import poutine
from torch import Tensor

from ppgen.distributions import Autoregressive, OrderlessMixture, OrderMixture
from ppgen.inference.structure.machine_sites import CollectSites
from ppgen.inference.structure.traces import sites
from ppgen.pair import AnyPair
from ppgen.training.sampling.observed_site import mean_of


def law_of_rows(pair: AnyPair, given: Tensor) -> Any:
    """Law of rows at the one site of a model, where it has one that can be conditioned on a part; else None.

    Args:
        pair: A pair, in the state in which it is run.
        given: Rows of data, (rows, features), NaN at what is to be drawn.
    """
    filled = given.nan_to_num(0.0)
    try:
        with CollectSites():  # which lets machines run that have no sampler
            trace = poutine.trace(pair.model).get_trace(filled)
    except (RuntimeError, TypeError):
        return None  # what the rows do not fit is said where the model is asked for a machine
    drawn = list(sites(trace).values())
    if len(drawn) != 1 or drawn[0]["value"] is not filled:
        return None
    law = drawn[0]["fn"]
    return law if isinstance(law, (Autoregressive, OrderMixture)) else None


def complete_exactly(law: Any, given: Tensor, num_samples: int) -> tuple[Tensor, Tensor | None]:
    """Independent draws of rows given a part of them, and the mean of each entry given those before it.

    Args:
        law: As `law_of_rows` finds it.
        given: Rows of data, (rows, features), NaN at what is drawn.
        num_samples: Draws of each row.

    Returns:
        Draws and means, both (num_samples, rows, features); the means are None where the law has none.

    Raises:
        ValueError: If rows do not fit, or what is known does not come first in the order of the law.
    """
    size = law.event_shape[0]
    if given.shape[1] != size:
        raise ValueError(f"given must have {size} features, as the data have, got {given.shape[1]}.")
    if isinstance(law, OrderlessMixture):
        return _complete_in_any_order(law, given, num_samples), None
    rest = _condition(law, given)
    samples = rest.sample((num_samples,))
    return samples, mean_of(rest, samples)


def _complete_in_any_order(law: OrderlessMixture, given: Tensor, num_samples: int) -> Tensor:
    """Draws of rows, those with the same entries known at once: what is known stands first in the order of each."""
    samples = given.new_empty(num_samples, *given.shape)
    patterns, which = given.isnan().unique(dim=0, return_inverse=True)
    for pattern in range(len(patterns)):
        at = which == pattern
        samples[:, at] = _condition(law.select(given.shape[:1], at), given[at]).sample((num_samples,))
    return samples


def _condition(law: Any, given: Tensor) -> Any:
    try:
        return law.condition(given)
    except ValueError as error:  # which knows the rows by the name of its own argument
        raise ValueError(str(error).replace("value must", "given must", 1)) from error
