"""Units of a Boltzmann machine of which some are held at given values."""

import math
from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import constraints

from ppgen.checks.arguments import check_kind, check_tensors
from ppgen.checks.shapes import broadcast_shapes
from ppgen.distributions.units.multinomial import Multinomial
from ppgen.distributions.units.units import Units


class Clamped(Units):
    r"""Any units, some of them held at values: what a machine is given in conditional simulation.

    A clamped unit is no variable any more: whatever value it is asked about, it stands at its own, whose energy and
    coupling to its neighbours stay in the energy of the machine. So free energies, log Z and annealing of a clamped
    machine are those of the law of the rest, and

    .. math:: \log p(x_{\text{given}}) = \log Z(x_{\text{given}}) - \log Z

    References:
        | A Learning Algorithm for Boltzmann Machines (Ackley, Hinton and Sejnowski, 1985)

    Args:
        units: The units, each a term by itself (no `Multinomial`).
        value: Values at which they are held, (..., size); what stands at free units does not count.
        held: Which units are held, (size,) or (..., size); all by default. Groups of `Categorical` units are held
            together.

    Raises:
        ValueError: If a shape does not fit.

    Example:
        >>> import torch
        >>> from ppgen.distributions import Bernoulli
        >>> from ppgen.distributions import Clamped
        >>> units = Clamped(Bernoulli(torch.zeros(3)), torch.ones(3), torch.tensor([True, False, False]))
        >>> units.mean(torch.zeros(3)), units.num_states
        (tensor([1.0000, 0.5000, 0.5000]), 4)
    """

    def __init__(self, units: Units, value: Tensor, held: Tensor | None = None) -> None:
        check_kind("units", units, Units, "units of a layer, such as distributions.Bernoulli(bias)")
        check_tensors(value=value, **({} if held is None else {"held": held}))
        if value.shape[-1:] != (units.size,) or (held is not None and held.shape[-1:] != (units.size,)):
            shown = tuple(value.shape) if held is None else (tuple(value.shape), tuple(held.shape))
            raise ValueError(
                f"Values and held units must have {units.size} entries in the last dimension, got {shown}."
            )
        self.units = units
        self.held = torch.ones(units.size, dtype=torch.bool, device=value.device) if held is None else held
        self.value = torch.where(self.held, value, torch.zeros((), dtype=value.dtype, device=value.device))
        terms = units.energy_terms(self.value).shape[-1]
        if units.size % terms:
            raise ValueError(f"{type(units).__name__} units cannot be clamped in part.")
        self._width = units.size // terms  # variables of a term

    @property
    def support(self) -> constraints.Constraint:  # type: ignore[override]
        """Values that a unit can have: those of the free units."""
        return self.units.support

    @property
    def size(self) -> int:
        """Number of variables, held ones among them."""
        return self.units.size

    @property
    def batch_shape(self) -> Size:
        """Shape of the data whose values are held."""
        return broadcast_shapes(self.value.shape[:-1], self.held.shape[:-1], self.units.batch_shape)

    def conditions(self) -> list[Tensor]:
        """The values that are held, which they are, and the conditions of the units."""
        found = [self.value, self.held, *self.units.conditions()]
        return [each.expand(*self.batch_shape, -1) for each in found]

    def rows(self, index: Tensor) -> "Clamped":
        """The units held at the values of the data of given index."""
        if not self.batch_shape:
            return self
        value, held = (each.expand(*self.batch_shape, -1)[index] for each in (self.value, self.held))
        return Clamped(self.units.rows(index), value, held)

    @property
    def num_states(self) -> float:
        """Joint states of the free units.

        Raises:
            ValueError: If other units are free in one datum than in another.
        """
        free = len(self._free_terms())
        return self._states_of_a_term**free if free else 1

    @property
    def _states_of_a_term(self) -> float:
        each = 2 ** (math.log2(self.units.num_states) / (self.size // self._width))
        return each if math.isinf(each) else round(each)

    @property
    def num_uniforms(self) -> int:
        """Uniforms that one draw of the layer takes: as many as without held values."""
        return self.units.num_uniforms

    def parameters(self) -> list[Tensor]:
        """Tensors that the energy of the free units depends on, their biases first."""
        return self.units.parameters()

    def _set(self, value: Tensor) -> Tensor:
        return torch.where(self.held, self.value.to(value), value)

    def _held_terms(self) -> Tensor:
        return self.held[..., :: self._width]

    def statistic(self, value: Tensor) -> Tensor:
        """Statistics with the held values in their place: (..., size)."""
        return self.units.statistic(self._set(value))

    def energy_terms(self, value: Tensor) -> Tensor:
        """Energy with the held values in their place: (..., terms), nats."""
        return self.units.energy_terms(self._set(value))

    def log_partition_terms(self, input: Tensor) -> Tensor:
        """Log-partition of free units; of held ones minus their energy in the input: (..., terms), nats."""
        return torch.where(self._held_terms(), self._fixed(input), self.units.log_partition_terms(input))

    def _fixed(self, input: Tensor) -> Tensor:
        value = self.value.to(input)
        joined = (self.units.statistic(value) * input).unflatten(-1, (self.size // self._width, self._width)).sum(-1)
        return joined - self.units.energy_terms(value)

    def log_partition_ratio_terms(self, input: Tensor, before: Tensor, after: Tensor) -> Tensor:
        """Growth of each term of the log-partition; linear at held units."""
        free = self.units.log_partition_ratio_terms(input, before, after)
        # What stays in the energy at inverse temperature 0, as the precision of real units, does not grow.
        grown = self._fixed(input) + self.units.scaled(0.0).energy_terms(self.value.to(input))
        return torch.where(self._held_terms(), ((after - before) * grown).to(free.dtype), free)

    def mean(self, input: Tensor) -> Tensor:
        """Means of free units, values of held ones: (..., size)."""
        return self._set(self.units.mean(input))

    def mode(self, input: Tensor) -> Tensor:
        """The most probable values of free units, values of held ones: (..., size)."""
        return self._set(self.units.mode(input))

    def variance(self, input: Tensor) -> Tensor:
        """Variances of free units, 0 of held ones: (..., size)."""
        return torch.where(self.held, 0.0, self.units.variance(input))

    def sample(self, input: Tensor, uniform: Tensor) -> Tensor:
        """Draws of free units beside the values of held ones."""
        return self._set(self.units.sample(input, uniform))

    def states(self, index: Tensor) -> Tensor:
        """States of the free units, those of held ones being their values: (n,) -> (n, ..., size)."""
        terms = self._free_terms()
        if not terms:
            return self.value.expand(len(index), *self.batch_shape, -1)
        each = int(self._states_of_a_term)
        whole = torch.zeros_like(index)
        # The digit of a free unit, at the place that the unit has among all of them.
        for place, term in enumerate(reversed(terms)):
            whole = whole + (index // each**place) % each * each ** (self.size // self._width - 1 - term)
        states = self.units.states(whole)
        return self._set(states.reshape(len(index), *(1,) * len(self.batch_shape), self.size))

    def _free_terms(self) -> list[int]:
        held = self._held_terms().reshape(-1, self.size // self._width)
        if not bool((held == held[:1]).all()):
            raise ValueError(
                "Other units are given in one row than in another, so their states cannot be enumerated together. Give "
                "rows with the same missing units, let evaluation.log_partition take them in turn, or use annealing."
            )
        # Of no rows, none has a free unit.
        return [term for term, fixed in enumerate(held[0].tolist()) if not fixed] if len(held) else []

    def base_rate(self, mean: Tensor | None) -> "Clamped":
        """Base rates of the free units."""
        return Clamped(self.units.base_rate(mean), self.value, self.held)

    def scaled(self, factor: float | Tensor) -> "Clamped":
        """The units with their own energy multiplied by a factor, held at the same values."""
        return Clamped(self.units.scaled(factor), self.value, self.held)

    def dispersed(self) -> "Clamped":
        """Units of a wider law, held at the same values."""
        return Clamped(self.units.dispersed(), self.value, self.held)

    def interpolated(self, base: "Clamped", beta: float | Tensor) -> "Clamped":
        """Units between those of `base` and these, held at the same values."""
        return Clamped(self.units.interpolated(base.units, beta), self.value, self.held)

    def to(self, *args: Any) -> "Clamped":
        """The units with their tensors on another device or in another dtype; which are held stays a mask."""
        devices = [each for each in args if not isinstance(each, torch.dtype)]
        held = self.held.to(*devices) if devices else self.held
        return Clamped(self.units.to(*args), self.value.to(*args), held)


def clamped(units: Units, value: Any, layer: str) -> Clamped:
    """Units held at values as a caller gives them, NaN where they are free; those that were held before stay held.

    Args:
        units: The units of a layer; if some are held already, they stand at the new values where both are given.
        value: (..., size).
        layer: Name of the layer, for errors.

    Raises:
        TypeError: If the value is no tensor.
        ValueError: If a shape does not fit, a value is none that the units can have, or a group is held in part.
    """
    if not isinstance(value, Tensor):
        raise TypeError(
            f"given[{layer!r}] must be a tensor of {units.size} values, (units,) or (rows, units), NaN at units that "
            f"are free; got {type(value).__name__}."
        )
    if value.shape[-1:] != (units.size,):
        raise ValueError(f"Layer {layer!r} has {units.size} units; got values of shape {tuple(value.shape)}.")
    own = units.units if isinstance(units, Clamped) else units
    kind, held = type(own).__name__, ~value.isnan()
    known = torch.where(held, value, torch.zeros_like(value)).to(own.parameters()[0])
    fits = (own.support.check(known) & known.isfinite()) | ~held
    if not bool(fits.all()):
        raise ValueError(
            f"given[{layer!r}] holds {float(known[~fits][0]):g}, which is no value of {kind} units; NaN marks units "
            "that are free."
        )
    found = Clamped(own, known, held)
    groups = held.unflatten(-1, (own.size // found._width, found._width))
    if not bool((groups == groups[..., :1]).all()):
        raise ValueError(
            f"given[{layer!r}] holds a part of a group of {found._width} {kind} units, which are one variable: give "
            "all values of a group, or NaN for all of them."
        )
    # Free units at any value that they may have: what is left to be wrong is what is held.
    whole = torch.where(held, known, own.mode(torch.zeros_like(known)))
    if whole.numel() and not bool(own.event_support.check(whole).all()):
        raise ValueError(f"given[{layer!r}] holds values that {kind} units cannot have: {own.event_support} is wanted.")
    if isinstance(own, Multinomial) and not bool((~held | (known.sum(-1) == own.total).unsqueeze(-1)).all()):
        raise ValueError(
            f"given[{layer!r}] holds documents of other lengths than the machine is for. Take the machine of these "
            "documents: model.machine(x)."
        )
    if isinstance(units, Clamped):
        return Clamped(own, torch.where(held, known, units.value.to(known)), held | units.held)
    return found
