"""Machines with real units and the joint law of any small machine: discrete units by sums, real ones in closed form."""

import math

import torch
from kernel_machines import place, random, stacked
from torch import Tensor

from ppgen import testing
from ppgen.distributions import (
    Bernoulli,
    BoltzmannMachine,
    Categorical,
    Convolutional,
    Dense,
    Gaussian,
    MaxPooled,
    Multinomial,
    PrecisionGaussian,
    Units,
)
from ppgen.distributions.machines.layered_energy import EVEN, ODD

REAL = (Gaussian, PrecisionGaussian)


def learned(*shape: int) -> Gaussian:
    """Units each of a variance of its own."""
    return Gaussian(random(*shape), 0.5 * random(*shape, 1).squeeze(-1))


def maps_of_reals(pool: int, top: bool = False) -> BoltzmannMachine:
    """Real images under maps of bits, pooled over 2 x 2 positions or not, with a layer of bits above them."""
    if pool == 1:
        visible = Gaussian(random(2), 0.5 * random(2, 1).squeeze(-1), positions=2)
        layers = {"visible": visible, "hidden": Bernoulli(random(1), 2)}
        return BoltzmannMachine(layers, [Convolutional(random(1, 2, 1, 1), (1, 2))])
    visible = Gaussian(random(1), 0.5 * random(1, 1).squeeze(-1), positions=4)
    layers = {"visible": visible, "hidden": MaxPooled(random(1), 4), "top": Bernoulli(random(2))}
    couplings = [Convolutional(random(1, 1, 1, 1), (2, 2), pool=2), Dense(random(4, 2))]
    return BoltzmannMachine(layers if top else dict(list(layers.items())[:2]), couplings if top else couplings[:1])


# Real units that can be tempered: Gaussian ones on the even side, those of a precision anywhere.
TEMPERED = {
    "gaussian": stacked(Gaussian(random(2)), Bernoulli(random(3))),
    "learned variance": stacked(learned(2), Categorical(random(2, 2))),
    "gaussian, three layers": stacked(learned(2), Bernoulli(random(2)), Bernoulli(random(2))),
    "gaussian at both ends": stacked(learned(1), Categorical(random(1, 3)), learned(2)),
    "gaussian on top": stacked(
        Categorical(random(2, 3), torch.tensor([True, False])), Bernoulli(random(2)), learned(1)
    ),
    "gaussian, four layers": stacked(
        learned(1), Bernoulli(random(2)), Categorical(random(1, 3)), PrecisionGaussian(random(1), random(1, 1)[0])
    ),
    "real hidden, missing groups": stacked(
        Categorical(random(2, 3), torch.tensor([True, False])),
        PrecisionGaussian(random(2), 0.5 * random(2), torch.tensor(1)),
    ),
    "real hidden, documents": stacked(Multinomial(random(3), 2), PrecisionGaussian(random(2), 0.5 * random(2))),
    "gaussian maps": maps_of_reals(1),
    "pooled gaussian maps": maps_of_reals(2),
    "pooled gaussian maps, three layers": maps_of_reals(2, top=True),
}
COLD_ONLY = {
    "gaussian hidden": stacked(Categorical(random(2, 2)), learned(2)),
    "gaussian in the middle": stacked(Bernoulli(random(2)), learned(2), Categorical(random(1, 3))),
    "gaussian on top of four": stacked(learned(1), Bernoulli(random(2)), Categorical(random(1, 2)), learned(1)),
}


def data_mean(machine: BoltzmannMachine) -> Tensor | None:
    """A mean of the data that is not the bias, where the visible units are real."""
    visible = machine.base_energy.units[0]
    return visible.bias + torch.linspace(-0.5, 0.7, visible.size) if isinstance(visible, Gaussian) else None


class JointLaw:
    r"""The law of both sides at one inverse temperature, real units that are no neighbours summed out in closed form.

    .. math:: p_\beta(d) \propto \exp(-E_\beta(d)) \prod_i \int \exp(x s_i - E_\beta(x)) \, dx

    over all states d of the discrete layers, with the Normal law of each real unit i given its neighbours. Biases of
    the even side are not tempered, but for the mean of the visible layer that a path starts from.

    Args:
        machine: A machine of which no two real layers are neighbours.
        beta: Inverse temperature.
        mean: Mean of the visible layer at beta = 0, if it is Gaussian; its own biases by default.
    """

    def __init__(self, machine: BoltzmannMachine, beta: float = 1.0, mean: Tensor | None = None) -> None:
        self.energy = energy = machine.base_energy
        units, couplings = energy.units, energy.couplings
        discrete = [layer for layer, each in enumerate(units) if not isinstance(each, REAL)]
        index = torch.cartesian_prod(*(torch.arange(int(units[layer].num_states)) for layer in discrete))
        columns = index.reshape(-1, len(discrete)).unbind(-1)
        states = [units[layer].states(each) for layer, each in zip(discrete, columns, strict=True)]
        # Documents are states as ordered words, several of which have the same counts.
        self.states, counts = torch.unique(torch.cat(states, -1), dim=0, return_counts=True)
        values = dict(zip(discrete, self.states.split([units[layer].size for layer in discrete], -1), strict=True))
        log_weights = self.log_counts = counts.double().log()
        for layer, value in values.items():
            log_weights = log_weights - (beta if layer % 2 else 1.0) * units[layer].energy(value)
            if layer + 1 in values:
                log_weights = log_weights + beta * (couplings[layer].forward(value) * values[layer + 1]).sum(-1)
        self.normal: dict[int, tuple[Tensor, Tensor]] = {}
        for layer in [layer for layer in range(len(units)) if layer not in discrete]:
            below = couplings[layer - 1].forward(values[layer - 1]) if layer else 0.0
            above = couplings[layer].backward(values[layer + 1]) if layer + 1 < len(units) else 0.0
            input = beta * (below + above)
            loc, scale, summed = integrated(units[layer], layer % 2, beta, input, None if layer else mean)
            self.normal[layer] = loc.detach(), scale.detach().expand_as(loc)
            log_weights = log_weights + summed
        self.log_partition = log_weights.logsumexp(0)
        self.law = log_weights.detach().softmax(0)

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        """Exact draws of both sides: (count, even units), (count, odd units)."""
        index = torch.multinomial(self.law, count, replacement=True)
        sizes = [each.size for layer, each in enumerate(self.energy.units) if layer not in self.normal]
        pieces = iter(self.states[index].split(sizes, -1))
        layers = []
        for layer in range(len(self.energy.units)):
            law = self.normal.get(layer)
            layers.append(next(pieces) if law is None else torch.normal(law[0][index], law[1][index]))
        return torch.cat(layers[EVEN::2], -1), torch.cat(layers[ODD::2], -1)

    def parts(self, even: Tensor, odd: Tensor) -> tuple[Tensor, Tensor]:
        """Index of the discrete state, (draws,), and the values of all real units, (draws, units)."""
        layers = {**self.energy.split(even, EVEN), **self.energy.split(odd, ODD)}
        discrete = torch.cat([layers[i] for i in sorted(layers) if i not in self.normal], -1)
        reals = [layers[i] for i in self.normal]
        return place(discrete, self.states), torch.cat(reals, -1) if reals else discrete[..., :0]

    def check(self, even: Tensor, odd: Tensor, what: str) -> None:
        """Raise unless discrete states, each with the quarters of their laws that real units are in, are as likely."""
        index, reals = self.parts(even, odd)
        law = self.law
        if self.normal:
            loc, scale = (torch.cat(each, -1)[index] for each in zip(*self.normal.values(), strict=True))
            quarters = (4 * torch.special.ndtr((reals - loc) / scale)).long().clamp(max=3)
            for quarter in quarters.unbind(-1):
                index, law = 4 * index + quarter, law.repeat_interleave(4) / 4
        testing.check_frequencies(index, law, what)

    def coarse(self, even: Tensor, odd: Tensor) -> tuple[Tensor, Tensor]:
        """One of four cells of each draw, by the first real unit and the discrete state; and the law of the cells."""
        index, reals = self.parts(even, odd)
        loc, scale = (each[:, 0] for each in next(iter(self.normal.values())))
        cut = self.law @ loc
        below = torch.special.ndtr((cut - loc) / scale)
        high = torch.arange(len(self.law)) >= len(self.law) // 2
        law = torch.stack([self.law @ (side * half) for side in (1 - below, below) for half in (~high, high)])
        return 2 * (reals[:, 0] < cut).long() + high[index].long(), law


def integrated(
    units: Units, odd: int, beta: float, input: Tensor, mean: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Means, standard deviations and the logarithm of the integral of real units given their tempered input."""
    if isinstance(units, PrecisionGaussian):
        variance = 1 / units.precision
        loc = ((beta if odd else 1.0) * units.bias + input) * variance
        return loc, variance.sqrt(), ((loc.square() / variance + (2 * math.pi * variance).log()) / 2).sum(-1)
    own, variance = units.bias, units.variance(units.bias)
    start = own if mean is None else mean
    loc = (1 - beta) * start + beta * own + input
    squares = loc.square() - (1 - beta) * start.square() - beta * own.square()
    return loc, variance.sqrt(), ((squares / variance + (2 * math.pi * variance).log()) / 2).sum(-1)
