"""The law of an autoregressive model, and the order in which it reads the entries of a datum."""

from typing import Any

import torch
from torch import Tensor

from ppgen.distributions import Autoregressive


def ordered_law(pair: Any) -> tuple[Autoregressive, Tensor]:
    """Law of a datum of a model, and its order: the entry that stands at each position.

    Args:
        pair: A pair, in the state in which it is run.

    Raises:
        ValueError: If the model is not autoregressive, or has several orders.
    """
    from ppgen.training.sampling.exact_completion import law_of_rows

    name, features = type(pair).__name__, getattr(pair, "num_features", None)
    like = next((tensor for tensor in pair.parameters() if tensor.is_floating_point()), torch.empty(()))
    law = law_of_rows(pair, like.new_zeros(1, features)) if isinstance(features, int) else None
    if law is None:
        raise ValueError(
            f"pair must be an autoregressive model of rows, such as models.FullyVisibleBeliefNet; {name} is none."
        )
    if not isinstance(law, Autoregressive):
        raise ValueError(
            f"pair must have one order of entries; {name} is a mixture of {len(law.laws)}: train it with orders=1."
        )
    given = None if law.given is None else law.given[0]
    order = torch.arange(law.event_shape[0], device=like.device) if law.order is None else law.order
    return Autoregressive(law.network, law.output, law.order, given), order
