"""What discriminator and generator descend, and the divergence that a discriminator's outputs estimate, by name."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus


class Loss(NamedTuple):
    """A pair of losses of a discriminator's outputs, (rows,): on rows of data, and on draws.

    Attributes:
        name: What the value is.
        value: The divergence as the discriminator tells it, a lower bound in expectation.
        discriminator: What the discriminator descends, before any penalty.
        generator: What the generator descends, of the outputs on draws.
        penalised: Whether the discriminator's slopes between data and draws are held at 1.
    """

    name: str
    value: Callable[[Tensor, Tensor], Tensor]
    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]
    penalised: bool = False


def _cross_entropy(data: Tensor, drawn: Tensor) -> Tensor:
    """-(E log D(x) + E log(1 - D(y))) of logits."""
    return softplus(-data).mean() + softplus(drawn).mean()


def _jensen_shannon(data: Tensor, drawn: Tensor) -> Tensor:
    """V = 2 JSD - log 4 at the best discriminator."""
    return (math.log(4) - _cross_entropy(data, drawn)) / 2


def _hinge(data: Tensor, drawn: Tensor) -> Tensor:
    return relu(1 - data).mean() + relu(1 + drawn).mean()


_JSD = "Jensen-Shannon divergence, as the discriminator tells it (nats, at most log 2)"

LOSSES: dict[str, Loss] = {
    "jensen-shannon": Loss(_JSD, _jensen_shannon, _cross_entropy, lambda drawn: -softplus(drawn).mean()),
    "non-saturating": Loss(_JSD, _jensen_shannon, _cross_entropy, lambda drawn: softplus(-drawn).mean()),
    "wasserstein-gp": Loss(
        "Wasserstein-1 distance, as the critic tells it (units of the data)",
        lambda data, drawn: data.mean() - drawn.mean(),
        lambda data, drawn: drawn.mean() - data.mean(),
        lambda drawn: -drawn.mean(),
        penalised=True,
    ),
    "hinge": Loss(
        "total variation distance, as the discriminator tells it (at most 1)",
        lambda data, drawn: 1 - _hinge(data, drawn) / 2,
        _hinge,
        lambda drawn: -drawn.mean(),
    ),
}
"""Losses by name."""


def gradient_penalty(critic: Callable[[Tensor], Tensor], data: Tensor, drawn: Tensor) -> Tensor:
    r"""Mean of :math:`(\lVert \nabla D \rVert - 1)^2` at one random place between each row and a draw, a scalar.

    Args:
        critic: Rows to one number each.
        data: Rows, (rows, features).
        drawn: As many draws.
    """
    share = torch.rand(len(data), 1, dtype=data.dtype, device=data.device)
    between = torch.lerp(drawn.detach(), data, share).requires_grad_()
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return ((slope.square().sum(1) + 1e-12).sqrt() - 1).square().mean()
