"""Small machines of discrete units at every place, and all their states: what kernels and chains are tested on."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from feature_maps import feature_maps
from torch import Tensor

from ppgen import testing
from ppgen.distributions import (
    BaseRatePath,
    Bernoulli,
    BoltzmannMachine,
    Categorical,
    Convolutional,
    Dense,
    MaxPooled,
    Multinomial,
    Spin,
    Units,
)
from ppgen.distributions.machines.layered_energy import EVEN, ODD, LayeredEnergy

NAN = float("nan")
LADDER = (0.0, 0.35, 1.0)


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def joined(lower: Units, upper: Units) -> BoltzmannMachine:
    return BoltzmannMachine({"below": lower, "above": upper}, [Dense(random(lower.size, upper.size))])


def stacked(*layers: Units) -> BoltzmannMachine:
    """Layers `layer0`, `layer1`, ... joined by dense weights, of which no two pairs of layers share any."""
    couplings = [
        Dense(random(lower.size, upper.size, *(1,) * index).reshape(lower.size, upper.size))
        for index, (lower, upper) in enumerate(zip(layers, layers[1:], strict=False))
    ]
    return BoltzmannMachine({f"layer{index}": units for index, units in enumerate(layers)}, couplings)


def held(sizes: tuple[int, ...], layer: str, values: list[Any]) -> BoltzmannMachine:
    return testing.boltzmann_machine(sizes).condition({layer: torch.tensor(values, dtype=torch.float64)})


def filtered(visible: Units, hidden: Units, *filters: int, pool: int = 1) -> BoltzmannMachine:
    """Filters of one row over an image of one row, or of one pixel where the maps are pooled."""
    weight = random(*filters)
    image = (pool, pool) if pool > 1 else (1, visible.size // filters[1])
    return BoltzmannMachine({"below": visible, "above": hidden}, [Convolutional(weight, image, pool=pool)])


BITS = {
    "feature maps": feature_maps((1, 2, 2), (2, 1), pool=1),
    "pooled maps": feature_maps((1, 2, 2), (1, 1), pool=2),
    "three layers of maps": feature_maps((1, 2, 2), (1, 1), pool=2, top=1),
    "two layers": testing.boltzmann_machine((4, 3)),
    "three layers": testing.boltzmann_machine((3, 2, 2)),
    "four layers": testing.boltzmann_machine((2, 2, 1, 2)),
    "held below": held((4, 3), "layer0", [1.0, NAN, 0.0, NAN]),
    "held in the middle": held((3, 2, 2), "layer1", [NAN, 1.0]),
}
TWO_LAYERS = {
    "categorical below": joined(Categorical(random(2, 3)), Bernoulli(random(3))),
    "categorical above": joined(Bernoulli(random(3)), Categorical(random(2, 2))),
    "missing groups": joined(Categorical(random(2, 3), torch.tensor([True, False])), Bernoulli(random(2))),
    "multinomial": joined(Multinomial(random(3), 2), Bernoulli(random(2))),
    "multinomial above": joined(Categorical(random(1, 3)), Multinomial(random(3), 2)),
    "filters on categories": filtered(Categorical(random(2, 3)), Bernoulli(random(1), 2), 1, 2, 1, 2),
    "spins and bits": joined(Spin(random(3)), Bernoulli(random(2))),
    "pooled categories": filtered(Categorical(random(2, 4)), MaxPooled(random(1), 4), 1, 2, 1, 1, pool=2),
}
# Layers whose values, uniforms and terms differ in number beside each other on one side, at every place.
DEEP = {
    "categorical, three layers": stacked(Categorical(random(1, 3)), Bernoulli(random(2)), Bernoulli(random(2))),
    "categorical in the middle": stacked(Bernoulli(random(2)), Categorical(random(1, 3)), Bernoulli(random(2))),
    "categorical on top": stacked(
        Bernoulli(random(2)), Bernoulli(random(2)), Categorical(random(2, 3), torch.tensor([False, True]))
    ),
    "missing groups, three layers": stacked(
        Categorical(random(3, 2), torch.tensor([True, False, True])), Bernoulli(random(2)), Bernoulli(random(1))
    ),
    "multinomial, three layers": stacked(Multinomial(random(3), 2), Bernoulli(random(1)), Bernoulli(random(2))),
    "multinomial in the middle": stacked(Bernoulli(random(2)), Multinomial(random(2), 2), Categorical(random(1, 3))),
    "multinomial on top": stacked(Bernoulli(random(2)), Bernoulli(random(1)), Multinomial(random(3), 2)),
    "spins": stacked(Spin(random(3)), Spin(random(2)), Spin(random(1))),
    "all kinds in four layers": stacked(
        Multinomial(random(2), 2), Bernoulli(random(1)), Categorical(random(1, 3)), Categorical(random(1, 2))
    ),
}
MACHINES = {**BITS, **TWO_LAYERS, **DEEP}


def leaves(machine: BoltzmannMachine) -> BoltzmannMachine:
    """A copy whose parameters all take a gradient."""
    copied = copy.deepcopy(machine)
    for parameter in copied.parameters():
        parameter.requires_grad_()
    return copied


class Exact:
    """All joint states of a small machine, their law, and exact draws."""

    def __init__(self, energy: LayeredEnergy) -> None:
        self.even, self.odd = (energy.states(side, 0, int(energy.num_states(side))) for side in (EVEN, ODD))
        grid = -energy.energy(self.even.unsqueeze(1), self.odd.unsqueeze(0)).detach()
        self.law = grid.flatten().softmax(0)
        self.shape = grid.shape

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        index = torch.multinomial(self.law, count, replacement=True)
        return self.even[index // self.shape[1]], self.odd[index % self.shape[1]]

    def check(self, even: Tensor, odd: Tensor, what: str) -> None:
        """Raise unless values follow the law; states of equal value (ordered words) count as one."""
        index = place(even, self.even) * self.shape[1] + place(odd, self.odd)
        rows, columns = place(self.even, self.even), place(self.odd, self.odd)
        same = (rows.unsqueeze(1) * self.shape[1] + columns).flatten()
        testing.check_frequencies(index, torch.zeros_like(self.law).index_add(0, same, self.law), what)


def place(values: Tensor, states: Tensor) -> Tensor:
    """Index of the first state equal to each value, found by their digits: units have values from 0 to 3."""
    powers = 4 ** torch.arange(states.shape[-1])
    digits, order = (states.long() @ powers).sort(stable=True)
    index = order[torch.searchsorted(digits, values.long() @ powers).clamp(max=len(order) - 1)]
    assert torch.equal(states[index], values)
    return index


def path_law(path: BaseRatePath, states: Tensor, beta: float) -> Tensor:
    return path.log_density(states, torch.tensor(beta, dtype=torch.float64)).detach().softmax(0)


def even_draws(laws: Sequence[Tensor], states: Tensor, count: int) -> Tensor:
    """Independent draws by each law: (laws, count, even units)."""
    return torch.stack([states[torch.multinomial(law, count, replacement=True)] for law in laws])
