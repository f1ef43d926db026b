"""Generated problems in which one x has many y, and the mixture density network that is the rival there."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import pyro
import pyro.distributions as dist
import torch
from pyro.nn.module import pyro_method
from torch import Tensor, nn

from ppgen.nn import MLP
from ppgen.pair import GenerativeModel

Rows = tuple[Tensor, Tensor]


def inverse(rows: int, generator: torch.Generator) -> Rows:
    """Bishop's inverse problem: x = t + 0.3 sin(2 pi t) + noise, and y = t, of which there are up to three."""
    t = torch.rand(rows, 1, generator=generator)
    noise = 0.05 * torch.randn(rows, 1, generator=generator)
    x = t + 0.3 * torch.sin(2 * math.pi * t) + noise
    return 4 * (x - 0.5), 4 * (t - 0.5)


def paths(rows: int, generator: torch.Generator) -> Rows:
    """Six places of a walker who starts at x1, drifts by x2, and each time goes a step to the left or to the right."""
    x = 2 * torch.rand(rows, 2, generator=generator) - 1
    right = torch.rand(rows, 6, generator=generator) < torch.sigmoid(2 * x[:, 1:])
    steps = torch.where(right, 1.0, -1.0) + x[:, 1:]
    return x, x[:, :1] + steps.cumsum(-1) / 2 + 0.1 * torch.randn(rows, 6, generator=generator)


def arms(rows: int, generator: torch.Generator, count: int) -> Rows:
    """Inverse kinematics of arms of two links: where the hands are to the angles, each elbow up or down."""
    middle = math.pi * (torch.rand(rows, count, generator=generator) - 0.5)  # direction of the hand
    bend = 0.5 + 2 * torch.rand(rows, count, generator=generator)
    elbow = torch.where(torch.rand(rows, count, generator=generator) < 0.5, bend, -bend)
    shoulder = middle - elbow / 2
    hands = [shoulder.cos() + (shoulder + elbow).cos(), shoulder.sin() + (shoulder + elbow).sin()]
    y = torch.cat([shoulder, elbow], -1)
    return torch.cat(hands, -1), y + 0.05 * torch.randn(rows, 2 * count, generator=generator)


def causes(rows: int, generator: torch.Generator) -> Rows:
    """Eight outputs, moved by six hidden causes that are there or not, each with a probability that depends on x."""
    fixed = torch.Generator().manual_seed(1)
    chance, effect, turn = (torch.randn(*shape, generator=fixed) for shape in ((2, 6), (6, 8), (2, 8)))
    x = 2 * torch.rand(rows, 2, generator=generator) - 1
    there = (torch.rand(rows, 6, generator=generator) < torch.sigmoid(x @ chance)).float()
    mean = torch.sin(2 * x @ turn) + there @ effect
    return x, mean + 0.2 * torch.randn(rows, 8, generator=generator)


@dataclass(frozen=True)
class Problem:
    """A problem in words: variables of x and y, modes of p(y | x); and the sizes of the network that is to solve it."""

    title: str
    variables: str
    modes: str
    draw: Callable[[int, torch.Generator], Rows]
    hidden: Sequence[int]
    stochastic: Sequence[int]


PROBLEMS: Mapping[str, Problem] = {
    "inverse": Problem("an inverse function", "1 to 1", "up to 3", inverse, (30, 30), (4, 4)),
    "three arms": Problem("angles of three arms of two links", "6 to 6", "8", partial(arms, count=3), (50, 50), (8, 0)),
    "six arms": Problem("angles of six arms of two links", "12 to 12", "64", partial(arms, count=6), (50, 50), (8, 0)),
    "paths": Problem("a walk of six steps", "2 to 6", "64", paths, (50, 50), (8, 0)),
    "causes": Problem("six hidden causes", "2 to 8", "64", causes, (50, 50), (8, 0)),
}


class MixtureDensity(GenerativeModel):
    r"""Mixture density network: p(y | x) as a mixture of diagonal Gaussians whose parameters a network computes.

    .. math:: p(y \mid x) = \sum_m \pi_m(x) \, N(y; \mu_m(x), \sigma_m(x)^2)

    References:
        | Mixture Density Networks (Bishop, 1994)
    """

    def __init__(self, inputs: int, outputs: int, hidden: int, components: int) -> None:
        super().__init__()
        self.outputs, self.components = outputs, components
        self.body = MLP((inputs, hidden, hidden), activate_last=True)
        self.head = nn.Linear(hidden, components * (1 + 2 * outputs))

    @pyro_method
    def model(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        body, head, size = self.body, self.head, self.components * self.outputs
        with pyro.plate(self.plate, len(x)):
            logits, loc, log_scale = head(body(x)).split([self.components, size, size], -1)
            shape = (*logits.shape, self.outputs)
            parts = dist.Normal(loc.reshape(shape), log_scale.reshape(shape).exp()).to_event(1)
            return pyro.sample("y", dist.MixtureSameFamily(dist.Categorical(logits=logits), parts), obs=y)

    @pyro_method
    def guide(self, x: Tensor, y: Tensor | None = None) -> None:
        """There is nothing to guess."""


def num_parameters(pair: nn.Module) -> int:
    """Numbers that are trained."""
    return sum(parameter.numel() for parameter in pair.parameters())


def rival(inputs: int, outputs: int, components: int, size: int) -> MixtureDensity:
    """The narrowest mixture density network of so many components with at least `size` parameters."""
    hidden = 1
    while num_parameters(MixtureDensity(inputs, outputs, hidden, components)) < size:
        hidden += 1
    return MixtureDensity(inputs, outputs, hidden, components)
