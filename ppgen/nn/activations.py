"""Non-linearities by name, with their slopes as functions of what they give out."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus


@dataclass(frozen=True)
class Activation:
    """A non-linearity of units.

    Attributes:
        apply: Output of each unit given its input.
        slope: Derivative of each unit, as a function of its output.
        gain: What Glorot's weights are multiplied by, so that signals keep their size through many layers.
        inverse: An input at which each unit gives that output, or one near by where none does or it is infinite.
    """

    apply: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]
    gain: float = 1.0
    inverse: Callable[[Tensor], Tensor] = lambda output: output


ACTIVATIONS: dict[str, Activation] = {
    "linear": Activation(lambda input: input, torch.ones_like),
    "sigmoid": Activation(
        torch.sigmoid, lambda output: output * (1 - output), 4.0, lambda output: torch.logit(output, 1e-3)
    ),
    "tanh": Activation(
        torch.tanh, lambda output: 1 - output.square(), 1.0, lambda output: torch.atanh(output.clamp(-0.999, 0.999))
    ),
    "relu": Activation(torch.relu, lambda output: (output > 0).to(output.dtype), 2**0.5),
    "softplus": Activation(
        softplus, lambda output: -torch.expm1(-output), 2**0.5, lambda output: output.clamp(min=1e-3).expm1().log()
    ),
}
"""The known ones: for a sigmoid the gain is 4, as its slope at 0 is a quarter (Glorot and Bengio, 2010)."""


def activation_named(name: str, argument: str = "activation") -> Activation:
    """The non-linearity of that name.

    Args:
        name: A key of `ACTIVATIONS`.
        argument: What the caller calls it, for the message.

    Raises:
        ValueError: If there is none; the message lists the known ones.

    Example:
        >>> activation_named("tanh").slope(torch.zeros(2))
        tensor([1., 1.])
    """
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise ValueError(f"{argument} must be one of {', '.join(map(repr, ACTIVATIONS))}, got {name!r}.")
    return ACTIVATIONS[name]
