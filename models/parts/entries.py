"""Laws of the entries of autoregressive vectors, and where their biases start."""

from typing import Any

import torch
from torch import Tensor

from ppgen.distributions import BernoulliOutput, CategoricalOutput, OutputLaw
from ppgen.models.parts.arguments import positive_size
from ppgen.nn import Causal

_ROWS = 10_000  # of the data, which say where biases start


def output_of_levels(levels: int) -> OutputLaw:
    """Law of an entry of so many levels: a Bernoulli law of two, else a categorical one.

    Raises:
        TypeError: If it is no whole number.
        ValueError: If there are fewer than two.

    Example:
        >>> output_of_levels(2), output_of_levels(17)
        (BernoulliOutput(), CategoricalOutput(levels=17))
    """
    if positive_size("levels", levels) < 2:
        raise ValueError(f"levels must be at least 2, got {levels}.")
    return BernoulliOutput() if levels == 2 else CategoricalOutput(levels)


def first_rows(data: Any) -> Tensor:
    """Up to 10,000 training rows of a data set, (rows, features)."""
    found = data.batch("train", torch.arange(min(data.num_train, _ROWS)), torch.Generator().manual_seed(0))
    return found if isinstance(found, Tensor) else found[0]


def start_at_data(network: Causal, output: OutputLaw, data: Any) -> None:
    """Start the biases of a network, where they are still 0, at the law of each entry by itself."""
    like = next(network.parameters())
    if isinstance(output, BernoulliOutput):
        values = torch.as_tensor(data.mean).flatten().unsqueeze(0)  # of all rows, and of probabilities of bits
    else:
        values = first_rows(data)
    start = output.start(values.to(like.device))
    if start is not None:
        network.initialise(start.to(like))
