"""What networks of noise share: the law of the noise, and what their last layer goes through."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppgen.models.parts.arguments import one_of
from ppgen.models.parts.programs import standard_normal

OUTPUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "linear": lambda value: value,
}
"""Functions of the last layer by name."""


def noise_law(prior: str) -> Callable[[int, nn.Module], dist.TorchDistribution]:
    """Law of noise by its name, a function of the number of variables and the module whose device it takes.

    Args:
        prior: `"normal"` or `"uniform"` in [-1, 1].

    Raises:
        ValueError: If it is neither.
    """
    return standard_normal if one_of("prior", prior, ("normal", "uniform")) == "normal" else _uniform


def start_at(last: nn.Module, output: str, mean: Tensor) -> None:
    """Set the bias of a last layer so that its outputs begin near the training mean.

    Args:
        last: The layer, with a `bias` of as many numbers as there are features, or of one for each channel.
        output: What it goes through, a key of `OUTPUTS`.
        mean: Mean of each feature.
    """
    inverse: dict[str, Callable[[Tensor], Tensor]] = {
        "sigmoid": partial(torch.logit, eps=0.01),
        "tanh": lambda value: torch.atanh(value.clamp(-0.98, 0.98)),
        "linear": lambda value: value,
    }
    bias: Any = last.bias
    channels = mean.flatten().reshape(len(bias), -1).mean(1)
    with torch.no_grad():
        bias.copy_(inverse[output](channels.to(bias)))


def _uniform(size: int, owner: nn.Module) -> dist.TorchDistribution:
    like = next(owner.parameters())
    return dist.Uniform(-like.new_ones(size), like.new_ones(size)).to_event(1)
