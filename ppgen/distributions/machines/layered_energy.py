"""Energy of layers joined in a chain, seen as two sides: the even layers and the odd ones.

Layers of one parity are independent given the layers of the other, so a machine of any depth is a restricted
Boltzmann machine between its two sides with a block-sparse weight matrix. Everything is written once in those terms.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from functools import cached_property

import torch
from torch import Size, Tensor

from ppgen.checks.arguments import check_kind
from ppgen.checks.shapes import broadcast_shapes
from ppgen.distributions.couplings.dense import Coupling
from ppgen.distributions.units.clamped import Clamped
from ppgen.distributions.units.units import Units, draw_layers, join_layers, log2_states

EVEN = 0
"""Side of the layers of even number, counted from 0 at the bottom: independent of each other given the odd side."""
ODD = 1
"""Side of the layers of odd number."""


class LayeredEnergy:
    r"""Energy of layers x_0, x_1, ... of units, neighbours joined by couplings.

    .. math:: E(x) = \sum_l E_l(x_l) - \sum_l x_l^\top W_l \, x_{l+1}

    Values of a *side* are the layers of one parity, concatenated in order: (..., units of that side).

    Args:
        layers: Units by layer name, from the bottom up; at least two layers.
        couplings: One coupling between each layer and the next.

    Raises:
        TypeError: If a layer is no units, or a coupling is none.
        ValueError: If the number of couplings or the shape of one does not fit the layers.
    """

    def __init__(self, layers: Mapping[str, Units], couplings: Sequence[Coupling]) -> None:
        check_kind("layers", layers, Mapping, "a mapping from names to units")
        check_kind("couplings", couplings, Sequence, "a list of couplings, one between each layer and the next")
        self.layers, self.couplings = dict(layers), tuple(couplings)
        for name, units in self.layers.items():
            check_kind(f"layers[{name!r}]", units, Units, "units such as distributions.Bernoulli(bias)")
        for index, coupling in enumerate(self.couplings):
            if not callable(getattr(coupling, "check", None)):
                raise TypeError(
                    f"couplings[{index}] must be a coupling such as distributions.Dense(weight), got {coupling!r}."
                )
        self.names = tuple(self.layers)
        self.units = tuple(self.layers.values())
        if len(self.units) < 2 or len(self.couplings) != len(self.units) - 1:
            raise ValueError(
                "A Boltzmann machine needs at least two layers and one coupling between each and the next, "
                f"got {len(self.units)} layers and {len(self.couplings)} couplings."
            )
        for index, coupling in enumerate(self.couplings):
            lower, upper = self.units[index], self.units[index + 1]
            coupling.check(lower.size, upper.size, (self.names[index], self.names[index + 1]))
        self.sides = tuple(tuple(range(parity, len(self.units), 2)) for parity in (EVEN, ODD))

    def parameters(self) -> list[Tensor]:
        """Every tensor that the energy depends on."""
        return list(self._parameters)

    @cached_property
    def _parameters(self) -> tuple[Tensor, ...]:  # asked for several times a step
        parts: list[Units | Coupling] = [*self.units, *self.couplings]
        return tuple(tensor for part in parts for tensor in part.parameters())

    @cached_property
    def batch_shape(self) -> Size:
        """Shape of the data that the energy depends on: clamped values, lengths, missing ratings; empty for most."""
        return broadcast_shapes(*(units.batch_shape for units in self.units))

    def conditions(self) -> list[Tensor]:
        """Tensors of the data that the energy depends on, those of each layer of its own batch shape + (n,)."""
        return [each for units in self.units for each in units.conditions()]

    def rows(self, index: Tensor) -> "LayeredEnergy":
        """The energy of the data of given index in a batch shape of one dimension."""
        # A layer of one row beside several serves them all.
        alike = {name for name, units in self.layers.items() if units.batch_shape == (1,) != self.batch_shape}
        layers = {name: units if name in alike else units.rows(index) for name, units in self.layers.items()}
        return LayeredEnergy(layers, self.couplings)

    def condition(self, layer: int, values: Tensor) -> "LayeredEnergy":
        """The energy of the other layers with a whole layer held at values, (..., units), taken as they are.

        `BoltzmannMachine.condition` holds some units of a layer, at values that it checks.
        """
        held = Clamped(self.units[layer], values.to(self.parameters()[0]))
        return LayeredEnergy({**self.layers, self.names[layer]: held}, self.couplings)

    def size(self, side: int) -> int:
        """Number of units of a side."""
        return sum(self.units[layer].size for layer in self.sides[side])

    @property
    def smaller_side(self) -> int:
        """Side with fewer joint states, the one to enumerate."""
        return min((EVEN, ODD), key=lambda side: log2_states([self.units[layer] for layer in self.sides[side]]))

    def split(self, values: Tensor, side: int) -> dict[int, Tensor]:
        """Values of a side by the index of the layer."""
        layers = self.sides[side]
        if len(layers) == 1:
            return {layers[0]: values}
        pieces = values.split([self.units[layer].size for layer in layers], -1)
        return dict(zip(layers, pieces, strict=True))

    def statistics(self, values: Tensor, side: int) -> Tensor:
        """What the layers of a side let their neighbours see: (..., units of side) -> the same shape."""
        return join_layers([self.units[layer].statistic(value) for layer, value in self.split(values, side).items()])

    def inputs(self, values: Tensor, side: int) -> list[Tensor]:
        """Inputs of the layers of the *other* side, given values of `side`."""
        given = {layer: self.units[layer].statistic(value) for layer, value in self.split(values, side).items()}
        inputs = []
        for layer in self.sides[1 - side]:
            terms = [self.sent(other, layer, given[other]) for other in (layer - 1, layer + 1) if other in given]
            inputs.append(terms[0] if len(terms) == 1 else terms[0] + terms[1])
        return inputs

    def sent(self, layer: int, to: int, statistic: Tensor) -> Tensor:
        """Input that a layer's statistics give the layer above or below it: (..., units) -> (..., units of `to`)."""
        return self.couplings[layer].forward(statistic) if to > layer else self.couplings[to].backward(statistic)

    def opposite(self, side: int) -> list[Units]:
        """Units of the layers of the other side."""
        return [self.units[layer] for layer in self.sides[1 - side]]

    def energy(self, even: Tensor, odd: Tensor) -> Tensor:
        """E(x) of both sides, in nats: (..., even units), (..., odd units) -> (...,)."""
        own = sum(
            self.units[layer].energy(value)
            for side, values in ((EVEN, even), (ODD, odd))
            for layer, value in self.split(values, side).items()
        )
        joined = sum(
            (self.units[layer].statistic(value) * input).sum(-1)
            for (layer, value), input in zip(self.split(odd, ODD).items(), self.inputs(even, EVEN), strict=True)
        )
        return own - joined  # type: ignore[return-value]

    def free_energy(self, values: Tensor, side: int) -> Tensor:
        """-log of the sum of exp(-E) over the other side, in nats: (..., units of side) -> (...,)."""
        own = sum(self.units[layer].energy(value) for layer, value in self.split(values, side).items())
        inputs = self.inputs(values, side)
        summed = sum(units.log_partition(input) for units, input in zip(self.opposite(side), inputs, strict=True))
        return own - summed  # type: ignore[return-value]

    def mean_opposite(self, values: Tensor, side: int) -> Tensor:
        """Mean of the other side given values of `side`: (..., units of the other side)."""
        inputs = self.inputs(values, side)
        return join_layers([units.mean(input) for units, input in zip(self.opposite(side), inputs, strict=True)])

    def mode_opposite(self, values: Tensor, side: int) -> Tensor:
        """The other side of least energy given values of `side`: (..., units of the other side)."""
        inputs = self.inputs(values, side)
        return join_layers([units.mode(input) for units, input in zip(self.opposite(side), inputs, strict=True)])

    def sample_opposite(self, values: Tensor, side: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw of the other side given values of `side`, each unit from a uniform of its own."""
        return draw_layers(self.opposite(side), self.inputs(values, side), generator=generator)

    @torch.no_grad()
    def gibbs(self, values: Tensor, side: int, sweeps: int = 1, generator: torch.Generator | None = None) -> Tensor:
        """Values of `side` after block Gibbs sweeps: other side given it, then it given the other side."""
        for _ in range(sweeps):
            values = self.sample_opposite(self.sample_opposite(values, side, generator), 1 - side, generator)
        return values

    def states(self, side: int, start: int, stop: int) -> Tensor:
        """Joint states of a side with index from `start` up to `stop`: (stop - start, units of that side)."""
        index = torch.arange(start, stop, device=self.parameters()[0].device)
        pieces: list[Tensor] = []
        for layer in reversed(self.sides[side]):
            units = self.units[layer]
            states = units.states(index % int(units.num_states))
            batch = (1,) * (len(self.batch_shape) + 2 - states.dim())
            pieces.append(states.reshape(len(index), *batch, *states.shape[1:]))
            index = index // int(units.num_states)
        return join_layers(pieces[::-1])

    def num_states(self, side: int) -> float:
        """Number of joint states of a side; infinite with continuous units."""
        counts = [self.units[layer].num_states for layer in self.sides[side]]
        return math.inf if math.inf in counts else math.prod(counts)

    def to(self, *args: torch.device | torch.dtype) -> "LayeredEnergy":
        """The energy with its tensors on another device or in another dtype; differentiable in those it had."""
        layers = {name: units.to(*args) for name, units in self.layers.items()}
        return LayeredEnergy(layers, [coupling.to(*args) for coupling in self.couplings])

    def fingerprint(self) -> str:
        """Hash of every weight and bias and of the data that the energy depends on: what a log Z was made for."""
        digest = hashlib.sha256()
        for tensor in (*self.parameters(), *self.conditions()):
            digest.update(tensor.detach().cpu().flatten().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def versions(self) -> tuple[tuple[int, int], ...]:
        """Identity and in-place version of every weight: equal as long as none was written to."""
        return tuple((tensor.data_ptr(), tensor._version) for tensor in self.parameters())
