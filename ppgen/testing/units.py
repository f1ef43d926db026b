"""Contract of units: everything that a layer says of itself against the sum over its states, or quadrature."""

import math

import torch
from torch import Tensor

from ppgen.distributions import Multinomial, Units
from ppgen.testing.quadrature import quadrature
from ppgen.testing.statistics import check_close, check_frequencies, check_mean, fail

_DRAWS = 20_000
_FAR, _PANELS = 40.0, 2_000  # of the quadrature


def check_units(units: Units, *, max_states: int = 2**12) -> None:
    """Raise unless a layer of units is the exponential family that its energy says it is.

    Log-partition function, mean, mode, variance, law, samples, tempering and base rates are compared with the sum over
    every state; of continuous units, with quadrature.

    Args:
        units: A small layer in float64 without a batch shape.
        max_states: Largest number of states to enumerate.

    Raises:
        ValueError: If there are more states.

    Example:
        >>> import torch
        >>> from ppgen.distributions import Bernoulli
        >>> from ppgen.testing import check_units
        >>> check_units(Bernoulli(torch.tensor([0.5, -1.0], dtype=torch.float64)))
    """
    like = units.parameters()[0]
    input = torch.linspace(-1.2, 0.9, units.size, dtype=like.dtype, device=like.device).requires_grad_()
    name = type(units).__name__
    if math.isinf(units.num_states):
        points, log_weights = quadrature(units.support, _FAR, _PANELS, like)
        values, log_weights = points.unsqueeze(-1).expand(-1, units.size), log_weights.unsqueeze(-1)
        check_close(units.energy(values[:3]), units.energy_terms(values[:3]).sum(-1), f"terms of {name}.energy")
        _check_continuous(units, input, values, log_weights)
        _check_heated(units, input.detach(), values, log_weights)
        return
    if units.num_states > max_states:
        raise ValueError(f"units must have at most {max_states} states to be enumerated, got {units.num_states}.")
    every = units.states(torch.arange(int(units.num_states), device=like.device))
    # Documents are states as ordered words, several of which have the same counts.
    states, counts = torch.unique(every, dim=0, return_counts=True)
    if every.shape[1:] != (units.size,):
        fail(f"{name}.states must give every state once, as (states, size).")
    if not isinstance(units, Multinomial) and len(states) != units.num_states:
        fail(f"{name}.states must give every state once, as (states, size).")
    single = -units.energy(states) + units.statistic(states) @ input
    logits = single + counts.to(single).log()
    log_partition, law = torch.logsumexp(logits, 0), torch.softmax(logits, 0)
    mean = law @ states

    check_close(units.energy(states), units.energy_terms(states).sum(-1), f"terms of {name}.energy")
    check_close(units.log_partition(input), log_partition, f"{name}.log_partition")
    check_close(
        units.log_partition(input.expand(2, 3, -1)),
        log_partition.expand(2, 3),
        f"{name}.log_partition, batch",
    )
    (slope,) = torch.autograd.grad(units.log_partition(input), input)
    check_close(slope, (law @ units.statistic(states)).detach(), f"gradient of {name}.log_partition in the input")
    check_close(units.mean(input), mean, f"{name}.mean")
    check_close(units.variance(input), law @ (states - mean).square(), f"{name}.variance")
    _check_mode(units, input.detach(), states, single.detach())
    check_close(units.distribution(input).log_prob(states), single - log_partition, f"{name}.distribution.log_prob")
    _check_draws(units, input.detach(), law.detach(), states)
    _check_tempering(units, input.detach(), states, counts)


def _check_continuous(units: Units, input: Tensor, values: Tensor, log_weights: Tensor) -> None:
    name = type(units).__name__
    terms = -units.energy_terms(values) + units.statistic(values) * input
    log_partition = (terms + log_weights).logsumexp(0)
    law = (terms + log_weights - log_partition).exp()
    mean = (law * values).sum(0)
    check_close(units.log_partition_terms(input), log_partition, f"{name}.log_partition_terms", atol=1e-8)
    check_close(units.mean(input), mean, f"{name}.mean", atol=1e-8)
    variance = (law * (values - mean).square()).sum(0)
    check_close(units.variance(input), variance, f"{name}.variance", atol=1e-8)
    mode = units.mode(input)
    if not bool((-units.energy_terms(mode) + units.statistic(mode) * input >= terms.amax(0)).all()):
        fail(f"{name}.mode: the density is larger elsewhere.")
    some = slice(None, None, len(values) // 10)
    density = units.distribution(input).log_prob(values[some])
    check_close(density, (terms[some] - log_partition).sum(-1), f"{name}.distribution.log_prob", atol=1e-6)
    inputs = input.detach().expand(_DRAWS, -1)
    for drawn in (units.sample(inputs, torch.rand_like(inputs)), units.distribution(inputs).sample()):
        if not bool(units.support.check(drawn).all()):
            fail(f"{name}.sample gives values outside of the support, {units.support}.")
        check_mean(drawn, mean.detach(), f"mean of {name}.sample")
        check_mean((drawn - mean.detach()).square(), variance.detach(), f"variance of {name}.sample")
    wanted = torch.linspace(0.2, 0.7, units.size).to(input)
    base = units.base_rate(wanted)
    check_close(base.mean(torch.zeros_like(input)), wanted, f"mean of {name}.base_rate", atol=1e-6)
    mixed = 0.6 * base.energy(values) + 0.4 * units.energy(values)
    between = units.interpolated(base, 0.4)
    check_close(between.energy(values), mixed, f"energy of {name}.interpolated")
    shifted = -between.energy_terms(values) + between.statistic(values) * input
    expected = (shifted + log_weights).logsumexp(0)
    check_close(between.log_partition_terms(input), expected, f"log_partition of {name}.interpolated", atol=1e-8)


def _check_heated(units: Units, input: Tensor, values: Tensor, log_weights: Tensor) -> None:
    """Inverse temperatures lead from a law that there is to the units themselves, by log-partitions that fit them."""
    name = type(units).__name__
    try:
        units.scaled(0.0)
    except ValueError:
        return  # units without a law at temperature infinity say so, and stand on the side of the base rates
    check_close(units.scaled(1.0).energy(values), units.energy(values), f"energy of {name}.scaled(1)")
    joined = units.statistic(values) * input
    betas = [input.new_tensor(beta, dtype=torch.float64) for beta in (0.0, 0.3, 0.3001, 0.9)]
    heated = []
    for beta in betas:
        energies = units.scaled(beta.to(input)).energy_terms(values)
        heated.append((beta.to(input) * joined - energies + log_weights).logsumexp(0))
        found = units.scaled(beta.to(input)).log_partition_terms(beta.to(input) * input)
        check_close(found, heated[-1], f"log_partition_terms of {name}.scaled", atol=1e-8)
    for first, second in ((0, 1), (1, 2), (1, 3)):
        grown = units.log_partition_ratio_terms(input, betas[first], betas[second])
        check_close(grown, heated[second] - heated[first], f"{name}.log_partition_ratio_terms", atol=1e-8)


def _check_mode(units: Units, input: Tensor, states: Tensor, single: Tensor) -> None:
    """The mode is a state, of the largest density, for each row of a batch."""
    name = type(units).__name__
    for sign in (1.0, -1.0):
        found = units.mode(sign * input.expand(2, 3, -1))
        matches = (found.unsqueeze(-2) == states).all(-1)
        if found.dtype != input.dtype or not bool(matches.any(-1).all()):
            fail(f"{name}.mode must be a state of the layer in the dtype of the input, got {found[0, 0].tolist()}.")
        terms = single + (sign - 1) * (units.statistic(states) @ input)
        check_close(terms[matches.long().argmax(-1)], terms.max().expand(2, 3), f"density at {name}.mode")


def _check_draws(units: Units, input: Tensor, law: Tensor, states: Tensor) -> None:
    name = type(units).__name__
    inputs = input.expand(_DRAWS, -1)
    drawn = units.sample(inputs, torch.rand(_DRAWS, units.num_uniforms).to(inputs))
    if drawn.dtype != input.dtype or drawn.device != input.device:
        fail(f"{name}.sample must keep the input's dtype and device, got {drawn.dtype}, {drawn.device}.")
    for source, values in (("sample", drawn), ("distribution.sample", units.distribution(inputs).sample())):
        matches = (values.unsqueeze(1) == states).all(-1)
        if not bool(matches.any(1).all()):
            fail(f"{name}.{source} gives values that are no states of the layer.")
        check_frequencies(matches.long().argmax(1), law, f"{name}.{source}")


def _check_tempering(units: Units, input: Tensor, states: Tensor, counts: Tensor) -> None:
    name = type(units).__name__
    many, joined = counts.to(input).log(), units.statistic(states) @ input
    check_close(units.scaled(0.3).energy(states), 0.3 * units.energy(states), f"energy of {name}.scaled")
    heated = [torch.logsumexp(many + beta * (joined - units.energy(states)), 0) for beta in (0.3, 0.3001, 0.9)]
    check_close(units.scaled(0.3).log_partition(0.3 * input), heated[0], f"log_partition of {name}.scaled")
    betas = [input.new_tensor(beta) for beta in (0.3, 0.3001, 0.9)]
    for end in (1, 2):
        grown = units.log_partition_ratio(input, betas[0], betas[end])
        check_close(grown, heated[end] - heated[0], f"{name}.log_partition_ratio")
    mean = units.mean(0.5 * input + 0.3).detach()  # one that the units can have
    base = units.base_rate(mean)
    mixed = 0.6 * base.energy(states) + 0.4 * units.energy(states)
    check_close(units.interpolated(base, 0.4).energy(states), mixed, f"energy of {name}.interpolated")
    check_close(base.mean(torch.zeros_like(input)), mean, f"mean of {name}.base_rate", atol=1e-6)
    own = units.base_rate(None).energy(states)
    check_close(own, units.energy(states).detach(), f"energy of {name}.base_rate(None)")
    converted = units.to(torch.float32).parameters()[0].dtype
    if converted != torch.float32:
        fail(f"{name}.to(torch.float32) must convert the parameters, got {converted}.")
