"""Boltzmann machines as Pyro distributions: the joint law, the law of one side, and the conditionals."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from ppgen.checks.arguments import check_count
from ppgen.checks.shapes import broadcast_shapes
from ppgen.distributions.couplings.dense import Coupling
from ppgen.distributions.machines.enumeration import exact_log_partition
from ppgen.distributions.machines.layer_conditional import LayerConditional
from ppgen.distributions.machines.layered_energy import EVEN, ODD, LayeredEnergy
from ppgen.distributions.machines.mean_field import mean_field_inputs
from ppgen.distributions.machines.mode_search import ascended, enumerated_mode, enumerated_side_mode, lowest_of_starts
from ppgen.distributions.machines.undirected import UndirectedDistribution
from ppgen.distributions.units.clamped import clamped
from ppgen.distributions.units.units import Units


class BoltzmannMachine(UndirectedDistribution):
    r"""Layered Boltzmann machine: the joint law of all its units.

    .. math:: p(x) = \frac{1}{Z} \exp\Big(\sum_l b_l \cdot x_l + \sum_l x_l^\top W_l \, x_{l+1}\Big)

    An event is the units of all layers, concatenated from the bottom up; `marginal` gives the law of one side (the
    even or the odd layers) with the other summed out, `conditional` that of a layer given its neighbours. log Z is
    attached with `with_log_partition`, a sampler with `with_sampler`; until then `log_prob` and `sample` raise.

    References:
        | Parallel Distributed Processing, chapter 6 (Smolensky, 1986)
        | Deep Boltzmann Machines (Salakhutdinov and Hinton, 2009)

    Args:
        layers: Units by layer name, from the bottom up, such as `{"visible": Bernoulli(b), "hidden": Bernoulli(c)}`.
        couplings: One coupling between each layer and the next, such as `[Dense(W)]`.

    Raises:
        ValueError: If layers and couplings do not fit.

    Example:
        >>> import torch
        >>> from ppgen.distributions import Bernoulli, BoltzmannMachine, Dense
        >>> layers = {"visible": Bernoulli(torch.zeros(3)), "hidden": Bernoulli(torch.zeros(2))}
        >>> machine = BoltzmannMachine(layers, [Dense(torch.zeros(3, 2))])
        >>> machine.with_log_partition(machine.exact_log_partition()).log_prob(torch.ones(5))
        tensor(-3.4657)
    """

    def __init__(
        self, layers: Mapping[str, Units], couplings: Sequence[Coupling], *, validate_args: bool | None = None
    ) -> None:
        energy = LayeredEnergy(layers, couplings)
        super().__init__(energy, energy.size(EVEN) + energy.size(ODD), validate_args=validate_args)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the layers, from the bottom up."""
        return self.base_energy.names

    def parameters(self) -> list[Tensor]:
        """Every weight and bias, as tensors that gradients reach."""
        return self.base_energy.parameters()

    def fingerprint(self) -> str:
        """Hash of the weights; an estimate of log Z carries that of the weights it was made for."""
        return self.base_energy.fingerprint()

    def split(self, value: Tensor) -> dict[str, Tensor]:
        """Values by layer: (..., all units) -> a mapping from names to (..., units of the layer)."""
        sizes = [units.size for units in self.base_energy.units]
        return dict(zip(self.names, value.split(sizes, -1), strict=True))

    def join(self, values: Mapping[str, Tensor]) -> Tensor:
        """Event made of the values of every layer: the inverse of `split`."""
        return torch.cat([values[name] for name in self.names], -1)

    def energy(self, value: Tensor) -> Tensor:
        """E(x) in nats: (..., all units) -> (...,)."""
        return self.base_energy.energy(self._side(value, EVEN), self._side(value, ODD))

    def unnormalised(self, value: Tensor) -> Tensor:
        """log p(x) + log Z = -E(x), in nats: (..., all units) -> (...,)."""
        return -self.energy(value)

    def even_side(self, value: Tensor) -> Tensor:
        """Values of the even layers of an event: (..., all units) -> (..., even units)."""
        return self._side(value, EVEN)

    def side_means(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """Values of the even and of the odd side of an event: (..., all units) -> two of (..., units of the side)."""
        return self._side(value, EVEN), self._side(value, ODD)

    def free_energy(self, value: Tensor, side: str = "visible") -> Tensor:
        """F of the side that holds layer `side`, the other summed out, in nats: (..., units of that side) -> (...,)."""
        return self.base_energy.free_energy(self._own(value), self._parity((side,)))

    def marginal(self, names: str | Sequence[str]) -> "BoltzmannMarginal":
        """Law of one side with the other summed out.

        Args:
            names: Name of the layer, or of all layers of the side in order, whose values are then concatenated.

        Raises:
            ValueError: If the layers are not exactly those of one side.
        """
        names = (names,) if isinstance(names, str) else tuple(names)
        side = self._parity(names)
        whole = tuple(self.names[layer] for layer in self.base_energy.sides[side])
        if names != whole:
            raise ValueError(
                f"Only the even or the odd layers together have a closed-form marginal; layers {list(names)} are part "
                f"of {list(whole)}. Use machine.marginal({list(whole)})."
            )
        return BoltzmannMarginal(self.base_energy, side, self.attached, self.sampler, self._validate_args)

    def conditional(self, name: str, given: Tensor | Mapping[str, Tensor]) -> dist.TorchDistribution:
        """Law of a layer given its neighbours: its units are independent.

        Args:
            name: Name of the layer.
            given: Value of the only neighbour, or values by the neighbours' names, whole layers without NaN: (...,
                units). A layer of which a part is known is held by `condition`.

        Raises:
            ValueError: If the layer is unknown or a neighbour's value is missing.
        """
        layer = self._layer(name)
        neighbours = {self.names[index]: index for index in (layer - 1, layer + 1) if 0 <= index < len(self.names)}
        if not isinstance(given, Mapping):
            if len(neighbours) > 1:
                raise ValueError(
                    f"Layer {name!r} has neighbours {sorted(neighbours)}; give a mapping from both names to values."
                )
            given = dict.fromkeys(neighbours, given)
        missing = sorted(set(neighbours) - set(given))
        if missing:
            raise ValueError(f"given misses the values of layers {missing}, neighbours of {name!r}.")
        given = {neighbour: self._own(given[neighbour]) for neighbour in neighbours}
        energy = self.base_energy
        inputs = [
            energy.sent(index, layer, energy.units[index].statistic(given[neighbour]))
            for neighbour, index in neighbours.items()
        ]
        law = self.base_energy.units[layer].distribution(inputs[0] if len(inputs) == 1 else inputs[0] + inputs[1])
        return LayerConditional(
            law, self.base_energy, layer, {index: given[name] for name, index in neighbours.items()}
        )

    def gibbs(
        self, value: Tensor, sweeps: int = 1, *, side: str = "visible", generator: torch.Generator | None = None
    ) -> Tensor:
        """Values of the side of layer `side` after block Gibbs sweeps: (chains, units) -> (chains, units)."""
        return self.base_energy.gibbs(self._own(value), self._parity((side,)), sweeps, generator)

    def mean_field(self, given: Mapping[str, Tensor], sweeps: int = 10) -> dict[str, Tensor]:
        r"""Means of the layers that are not given, under the best factorial law: coordinate ascent by layers.

        .. math:: \log Z(\text{given}) \ge E_q[-E(x)] + H(q)

        Args:
            given: Values by layer name, whole layers without NaN, (..., units); at least one layer.
            sweeps: Updates of all even and then all odd layers, after a first pass outwards from the given layers.

        Returns:
            Means by the name of the layer: (..., units); they carry no gradient.

        Raises:
            ValueError: If no layer is given, or one is unknown.

        Example:
            >>> import torch
            >>> from ppgen import testing
            >>> machine = testing.boltzmann_machine((3, 2, 2))
            >>> machine.mean_field({"layer0": torch.ones(5, 3, dtype=torch.float64)})["layer2"].shape
            torch.Size([5, 2])
        """
        if not given:
            raise ValueError(f"given must hold the values of one layer or more of {list(self.names)}.")
        known = {self._layer(name): self._own(value) for name, value in given.items()}
        inputs = mean_field_inputs(self.base_energy, known, sweeps)
        return {self.names[layer]: self.base_energy.units[layer].mean(input) for layer, input in sorted(inputs.items())}

    def find_mode(
        self,
        start: Tensor | None = None,
        *,
        num_starts: int = 100,
        max_sweeps: int = 1000,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        r"""A local mode of p(x): all even layers at their most probable values, then all odd ones, until none changes.

        .. math:: x_{\text{even}} \leftarrow \arg\max_x p(x \mid x_{\text{odd}}), \quad
                  x_{\text{odd}} \leftarrow \arg\max_x p(x \mid x_{\text{even}})

        The energy never rises (iterated conditional modes); it needs no log Z. The global mode may be missed: `mode`
        has it for small machines, and draws of a chain are better starts than those that are made here. For the mode
        of some units given others use `machine.condition(...).find_mode()`.

        Args:
            start: Events to start from, (..., all units), of which the odd layers count. By default starts are drawn
                far apart, and the lowest energy that is reached from them wins.
            num_starts: How many, if `start` is None.
            max_sweeps: Largest number of sweeps; a warning tells if the energy still falls then.
            generator: Source of the starts; torch's global one by default.

        Returns:
            An event for each start, of shape (..., all units) with the machine's batch shape; without starts one, of
            shape batch shape + (all units,). It carries no gradient.

        Raises:
            TypeError: If `start` is no tensor.
            ValueError: If a shape, a value of `start` or a number does not fit, or the energy has no minimum.

        Example:
            >>> import torch
            >>> from ppgen import testing
            >>> machine = testing.boltzmann_machine((3, 2, 2))
            >>> found = machine.find_mode()
            >>> found, torch.equal(found, machine.mode)
            (tensor([1., 0., 1., 1., 1., 1., 1.], dtype=torch.float64), True)
        """
        for name, number in (("num_starts", num_starts), ("max_sweeps", max_sweeps)):
            check_count(name, number, wanted="a whole number of at least 1")
        energy = self.base_energy
        if start is None:
            return self._event(*lowest_of_starts(energy, num_starts, max_sweeps, generator))
        units, batch = self.event_shape[0], tuple(energy.batch_shape)
        if not isinstance(start, Tensor):
            raise TypeError(f"start must be a tensor of events, (..., {units}), got {type(start).__name__}.")
        if start.shape[-1:] != (units,):
            raise ValueError(f"start must be events of {units} units, (..., {units}), got shape {tuple(start.shape)}.")
        if start.numel() and not bool(self.support.check(start).all()):
            raise ValueError("start holds values that the units cannot have, NaN perhaps; give whole events.")
        try:
            shape = broadcast_shapes(start.shape[:-1], batch)
        except RuntimeError as error:
            raise ValueError(
                f"start must have one event for each row of the machine's batch shape {batch}, or one for all, after "
                f"any number of starts, (..., {', '.join(map(str, (*batch, units)))}); got shape {tuple(start.shape)}."
            ) from error
        return self._event(*ascended(energy, self._side(start.expand(*shape, units), ODD), max_sweeps))

    @property
    def mode(self) -> Tensor:
        r"""The most probable event by enumeration of the smaller side: batch shape + (all units,).

        .. math:: \arg\max_x p(x) = \arg\min_x E(x)

        Of several such events it is one. It carries no gradient.

        Raises:
            ValueError: If the smaller side has more than 2^20 states; `find_mode` searches then.
        """
        return self._event(*enumerated_mode(self.base_energy))

    def condition(self, given: Mapping[str, Tensor]) -> "BoltzmannMachine":
        r"""The machine with some units held at values: the law of the others given them.

        .. math:: \log p(x_{\text{given}}) = \log Z(x_{\text{given}}) - \log Z

        Every method works on it as on any machine: `gibbs` simulates the free units, `exact_log_partition` and
        annealing give log Z of each row of the values. Events keep all units; the held ones stand at their values.

        Args:
            given: Values by layer name, (units,) or (rows, units); NaN marks a unit that is free. Units that were held
                before and are not given now stay held.

        Raises:
            TypeError: If `given` is no mapping from names to tensors.
            ValueError: If a layer is unknown, a shape does not fit, a value is none that the units can have, or a group
                of units that are one variable is held in part.

        Example:
            >>> import torch
            >>> from ppgen import testing
            >>> machine = testing.boltzmann_machine((3, 2))
            >>> half = machine.condition({"layer0": torch.tensor([1.0, float("nan"), 0.0], dtype=torch.float64)})
            >>> half.gibbs(torch.zeros(4, 3, dtype=torch.float64), side="layer0")[:, ::2].unique(dim=0)
            tensor([[1., 0.]], dtype=torch.float64)
        """
        layers = dict(self.base_energy.layers)
        if not isinstance(given, Mapping):
            raise TypeError(
                f"given must map names of layers to values, such as {{{self.names[0]!r}: values}}; got "
                f"{type(given).__name__}."
            )
        for name, value in given.items():
            layers[name] = clamped(layers[self.names[self._layer(name)]], value, name)
        shapes = {name: tuple(units.batch_shape) for name, units in layers.items() if units.batch_shape}
        try:
            broadcast_shapes(*shapes.values())
        except RuntimeError as error:
            raise ValueError(f"Layers must be given equally many rows, or one row for all; got {shapes}.") from error
        return BoltzmannMachine(layers, self.base_energy.couplings, validate_args=self._validate_args)

    def exact_log_partition(self, max_states: int = 2**20) -> Tensor:
        """log Z in nats by enumeration of the smaller side: float64, a scalar or one for each row of a batch shape.

        Raises:
            ValueError: If the smaller side has more than `max_states` states.
        """
        return exact_log_partition(self.base_energy, max_states)

    def _event(self, even: Tensor, odd: Tensor) -> Tensor:
        layers = {**self.base_energy.split(even, EVEN), **self.base_energy.split(odd, ODD)}
        return torch.cat([layers[index] for index in range(len(self.names))], -1)

    def _side(self, value: Tensor, side: int) -> Tensor:
        pieces = self._own(value).split([units.size for units in self.base_energy.units], -1)
        return torch.cat([pieces[layer] for layer in self.base_energy.sides[side]], -1)

    def _layer(self, name: str) -> int:
        if name not in self.names:
            raise ValueError(f"Unknown layer {name!r}. Layers: {', '.join(self.names)}.")
        return self.names.index(name)

    def _parity(self, names: Sequence[str]) -> int:
        parities = {self._layer(name) % 2 for name in names}
        if len(parities) != 1:
            raise ValueError(f"Layers {list(names)} do not belong to one side: even and odd layers are mixed.")
        return parities.pop()

    def __repr__(self) -> str:
        layers = ", ".join(f"{name}={units.size}" for name, units in self.base_energy.layers.items())
        return f"{type(self).__name__}({layers})"


class BoltzmannMarginal(UndirectedDistribution):
    r"""Law of one side of a Boltzmann machine, the other summed out.

    .. math:: p(x) = \exp(-F(x)) / Z, \quad F(x) = -\log \sum_{y} \exp(-E(x, y))

    Made by `BoltzmannMachine.marginal`. An event is the layers of the side, concatenated.
    """

    def __init__(self, energy: LayeredEnergy, side: int, attached: Any, sampler: Any, validate_args: Any) -> None:
        self.side = side
        super().__init__(energy, energy.size(side), attached=attached, sampler=sampler, validate_args=validate_args)

    def other_side(self) -> "BoltzmannMarginal":
        """Law of the other side, with this one summed out and the same log Z."""
        return BoltzmannMarginal(self.base_energy, 1 - self.side, self.attached, self.sampler, self._validate_args)

    def unnormalised(self, value: Tensor) -> Tensor:
        """log p(x) + log Z, minus the free energy of the side, in nats: (..., units of the side) -> (...,)."""
        return -self.base_energy.free_energy(self._own(value), self.side)

    def even_side(self, value: Tensor) -> Tensor:
        """Values of the even side that a chain can start from: the event itself, or a draw given the odd side."""
        value = self._own(value)
        return value if self.side == EVEN else self.base_energy.sample_opposite(value, ODD)

    def side_means(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """Values of the even and of the odd side: the value of one, and the mean of the other given it."""
        value = self._own(value)
        other = self.base_energy.mean_opposite(value, self.side)
        return (value, other) if self.side == EVEN else (other, value)

    @property
    def mode(self) -> Tensor:
        r"""The most probable values of the side, with the other summed out: batch shape of the energy + (units,).

        .. math:: \arg\max_x p(x) = \arg\min_x F(x)

        By enumeration of the side; it need not be what stands there in the machine's mode. It carries no gradient.

        Raises:
            ValueError: If the side has more than 2^20 states, as real units have.

        Example:
            >>> from ppgen import testing
            >>> testing.boltzmann_machine((3, 2)).marginal("layer0").mode.shape
            torch.Size([3])
        """
        return enumerated_side_mode(self.base_energy, self.side)

    @property
    def from_odd_side(self) -> bool:
        """Whether an event is the odd side alone."""
        return self.side == ODD

    @property
    def holds_one_side(self) -> bool:
        """Whether an event is one side alone, the other summed out: always."""
        return True

    def _layers(self) -> Sequence[int]:
        return self.base_energy.sides[self.side]

    def _event(self, even: Tensor, odd: Tensor) -> Tensor:
        return even if self.side == EVEN else odd

    def __repr__(self) -> str:
        names = [self.base_energy.names[layer] for layer in self.base_energy.sides[self.side]]
        return f"{type(self).__name__}({', '.join(names)}: {self.event_shape[0]} units)"
