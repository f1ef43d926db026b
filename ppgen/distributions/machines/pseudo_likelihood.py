"""Pseudo-likelihood of Boltzmann machines: each unit given all others, without log Z."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import softplus
from torch.utils.checkpoint import checkpoint

from ppgen.checks.arguments import check_tensors
from ppgen.checks.shapes import broadcast_shapes
from ppgen.distributions.couplings.dense import matrix_of
from ppgen.distributions.couplings.ordinal import Ordinal
from ppgen.distributions.machines.layered_energy import EVEN, ODD, LayeredEnergy
from ppgen.distributions.machines.undirected import UndirectedDistribution
from ppgen.distributions.units.bernoulli import Bernoulli
from ppgen.distributions.units.categorical import Categorical
from ppgen.distributions.units.gaussian import Gaussian
from ppgen.distributions.units.units import Units

_AT_ONCE = 2**22  # numbers of changed inputs that are held together: 16 MiB in float32


def pseudo_log_likelihood(law: UndirectedDistribution, value: Tensor) -> Tensor:
    r"""Sum over the units of an event of their log-probability given all others; log Z is in none of them.

    .. math:: \mathrm{PL}(x) = \sum_i \log p(x_i \mid x_{-i})
              = -\sum_i \log \sum_k \exp\big(F(x) - F(x_1, \dots, x_i = k, \dots, x_n)\big)

    Of the law of one side the other side is summed out of each term, exactly. Groups of `Categorical` units are one
    variable; those that are missing have no term.

    References:
        | Statistical Analysis of Non-Lattice Data (Besag, 1975)

    Args:
        law: A machine, or one side of it.
        value: Values, (..., event).

    Returns:
        (...,), in nats.

    Raises:
        TypeError: If `law` is none of a machine.
        ValueError: If the units of the event are of a kind whose conditional law is not known, or values do not fit.

    Example:
        >>> import torch
        >>> from ppgen import testing
        >>> from ppgen.distributions import pseudo_log_likelihood
        >>> law = testing.boltzmann_machine((3, 2)).marginal("layer0")
        >>> pseudo_log_likelihood(law, torch.ones(5, 3, dtype=torch.float64)).shape
        torch.Size([5])
    """
    if not isinstance(law, UndirectedDistribution):
        raise TypeError(
            f"law must be a BoltzmannMachine or a marginal of one, got {type(law).__name__}; a model of the zoo has "
            "model.machine().marginal('visible')."
        )
    check_tensors(value=value)
    check_conditionals(law)
    if value.shape[-1:] != law.event_shape:
        raise ValueError(
            f"value must have {law.event_shape[0]} units in the last dimension, as {law!r} has, got shape "
            f"{tuple(value.shape)}."
        )
    if not law.holds_one_side:
        return _joint(law, value)
    # Once for each datum of the energy, which would otherwise be taken for the changes of a single value.
    rows = broadcast_shapes(value.shape[:-1], law.base_energy.batch_shape)
    value = value.expand(*rows, -1)
    side = ODD if law.from_odd_side else EVEN
    energy, total = law.base_energy, value.new_zeros(())
    for layer in energy.sides[side]:
        units, rise = energy.units[layer], log_rises(energy, value, layer)
        if isinstance(units, Categorical):
            total = total - units.kept(rise.logsumexp(-1)).sum(-1)
        else:
            total = total - softplus(rise).sum(-1)
    return total


def check_conditionals(law: UndirectedDistribution) -> None:
    """Raise unless the law of each unit of an event given all others is known.

    Raises:
        ValueError: Names the layer and says what to train with instead.
    """
    energy = law.base_energy
    known: tuple[type[Units], ...] = (Bernoulli, Categorical)
    if not law.holds_one_side:
        known = (*known, Gaussian)
    for name in law.layer_names:
        units = energy.layers[name]
        if not isinstance(units, known):
            kinds = " or ".join(each.__name__ for each in known)
            raise ValueError(
                f"The pseudo-likelihood needs {kinds} units, whose law given all others is a sum over their values; "
                f"those of layer {name!r} are {type(units).__name__}. Use inference.CD(), or inference.PCD() where the "
                "energy is the same for all rows."
            )


def log_rises(energy: LayeredEnergy, value: Tensor, layer: int) -> Tensor:
    r"""What log p of one side gains if a unit is changed, for each unit of a layer, in nats.

    .. math:: \log p(x_1, \dots, x_i = k, \dots, x_n) - \log p(x)

    Args:
        energy: Energy of a machine.
        value: Values of the side that holds the layer, (..., units); the other side is summed out.
        layer: Index of a layer, of `Bernoulli` or of `Categorical` units.

    Returns:
        Of each bit if it is flipped, (..., units); of each group for every value that it may take, (..., groups, K).
        A group that is missing is thought of as one more that is there.
    """
    side = layer % 2
    own, units = energy.split(value, side)[layer], energy.units[layer]
    inputs = dict(zip(energy.sides[1 - side], energy.inputs(value, side), strict=True))
    neighbours = [other for other in (layer - 1, layer + 1) if other in inputs]
    if isinstance(units, Categorical):
        chosen = units.statistic(own).unflatten(-1, units.bias.shape)
        rise = units.bias - (chosen * units.bias).sum(-1, keepdim=True)
    else:
        chosen = 1 - 2 * own
        rise = chosen * units.bias  # type: ignore[attr-defined]
    for other in neighbours:
        beside, coupling = energy.units[other], energy.couplings[min(layer, other)]
        if isinstance(coupling, Ordinal) and other > layer and beside.curvature is not None:
            rise = rise + _of_scores(beside, beside.curvature, inputs[other], coupling, chosen)
        elif isinstance(units, Categorical):
            rise = rise + _of_choices(beside, inputs[other], _moves(energy, layer, other), chosen)
        else:
            rise = rise + _of_flips(beside, inputs[other], _moves(energy, layer, other), chosen)
    return rise


def _moves(energy: LayeredEnergy, layer: int, other: int) -> Tensor:
    """What each unit of a layer that is on adds to the input of a layer beside it: (units, units of the other)."""
    lower = min(layer, other)
    matrix = matrix_of(energy.couplings[lower], energy.units[lower].size)
    return matrix if layer == lower else matrix.mT


def _of_flips(units: Units, input: Tensor, moves: Tensor, sign: Tensor) -> Tensor:
    """Growth of a layer's log-partition where the input is moved by each of n vectors times a sign: (..., n).

    Args:
        units: The layer, beside the one whose units are changed.
        input: Its input, (..., size).
        moves: (n, size).
        sign: (..., n).
    """
    if units.curvature is not None:
        slope = units.statistic(units.mean(input))
        return sign * (slope @ moves.mT) + units.curvature @ moves.square().mT / 2
    ones, present = (1,) * (input.dim() - 1), units.log_partition_terms(input)

    def growth(sign: Tensor, moves: Tensor) -> Tensor:
        moved = torch.addcmul(input, sign.unsqueeze(-1), moves.reshape(len(moves), *ones, -1))
        # Term by term: the sums of all terms may be so large that what they differ by is lost.
        return (units.log_partition_terms(moved) - present).sum(-1)

    return _few_at_once(growth, sign.movedim(-1, 0), moves, input.numel()).movedim(0, -1)


def _of_choices(units: Units, input: Tensor, moves: Tensor, chosen: Tensor) -> Tensor:
    """Growth of a layer's log-partition where another value of each group is chosen: (..., groups, K).

    Args:
        units: The layer, beside the one whose groups are changed.
        input: Its input, (..., size), in which the present values are.
        moves: What each value adds to it, (groups x K, size).
        chosen: The present values, (..., groups, K), zeros at missing groups.
    """
    shape = chosen.shape[-2:]
    groups = moves.unflatten(0, shape)
    if units.curvature is not None:
        slope = (units.statistic(units.mean(input)) @ moves.mT).unflatten(-1, shape)
        # Squares of what changes from one value (the last but one dimension) to another, or from none.
        between = (groups.unsqueeze(1) - groups.unsqueeze(2)).square()
        bends = (units.curvature @ between.flatten(0, 2).mT).unflatten(-1, between.shape[:3])
        first = (units.curvature @ moves.square().mT).unflatten(-1, shape)
        missing = 1 - chosen.sum(-1, keepdim=True)
        bend = (chosen.unsqueeze(-1) * bends).sum(-2) + missing * first
        return slope - (slope * chosen).sum(-1, keepdim=True) + bend / 2
    ones, terms = (1,) * (input.dim() - 1), units.log_partition_terms(input)

    def growth(chosen: Tensor, groups: Tensor) -> Tensor:
        present = torch.einsum("g...k,gkh->g...h", chosen, groups)
        moved = (input - present).unsqueeze(1) + groups.reshape(len(groups), shape[1], *ones, -1)
        return (units.log_partition_terms(moved) - terms).sum(-1)

    grown = _few_at_once(growth, chosen.movedim(-2, 0), groups, shape[1] * input.numel())
    return grown.movedim((0, 1), (-2, -1))


def _few_at_once(
    growth: Callable[[Tensor, Tensor], Tensor], values: Tensor, moves: Tensor, numbers_of_one: int
) -> Tensor:
    """`growth` of n changes, (n, ...), so few of them together that memory is bounded, and again for the gradient.

    Args:
        growth: From the present values and the moves of some changes.
        values: (n, ...).
        moves: (n, ...).
        numbers_of_one: Numbers that one change takes.
    """
    count = max(1, _AT_ONCE // max(1, numbers_of_one))
    if len(moves) <= count:
        return growth(values, moves)
    parts = zip(values.split(count), moves.split(count), strict=True)
    return torch.cat([checkpoint(growth, *part, use_reentrant=False, preserve_rng_state=False) for part in parts])


def _of_scores(units: Units, curvature: Tensor, input: Tensor, coupling: Ordinal, chosen: Tensor) -> Tensor:
    """`_of_choices` of ordered values above which stand real units: a parabola of the score, (..., groups, K)."""
    slope, missing = units.statistic(units.mean(input)), 1 - chosen.sum(-1)
    step = coupling.scores - (chosen * coupling.scores).sum(-1, keepdim=True)
    pull = slope @ coupling.loading.mT + missing * (curvature @ (coupling.loading * coupling.offset).mT)
    bend = curvature @ coupling.loading.square().mT
    level = missing * (slope @ coupling.offset.mT + curvature @ coupling.offset.square().mT / 2)
    return level.unsqueeze(-1) + step * pull.unsqueeze(-1) + step.square() * bend.unsqueeze(-1) / 2


def _joint(law: UndirectedDistribution, value: Tensor) -> Tensor:
    """Pseudo-log-likelihood of all units together, whose conditional laws are exponential families."""
    energy, total = law.base_energy, value.new_zeros(())
    values = value.split([units.size for units in energy.units], -1)
    statistics = [units.statistic(part) for units, part in zip(energy.units, values, strict=True)]
    for layer, units in enumerate(energy.units):
        beside = [other for other in (layer - 1, layer + 1) if 0 <= other < len(values)]
        inputs = [energy.sent(other, layer, statistics[other]) for other in beside]
        input = inputs[0] if len(inputs) == 1 else inputs[0] + inputs[1]
        total = total + (statistics[layer] * input).sum(-1) - units.energy(values[layer]) - units.log_partition(input)
    return total
