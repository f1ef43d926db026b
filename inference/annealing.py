"""Annealed importance sampling: weights whose mean is a ratio of partition functions."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ppgen.distributions.layered_energy import EVEN, ODD
from ppgen.distributions.tempering import BaseRatePath
from ppgen.distributions.units import Units

SALAKHUTDINOV_2008 = "salakhutdinov-2008"


class AnnealedWeights(NamedTuple):
    """Outcome of annealing runs.

    Attributes:
        log_weights: log w of every chain, E[w] = Z / Z_A: (chains,), float64, nats.
        log_base_partition: log Z_A of the base model, float64, nats.
        values: Even side of every chain where it was weighed last: (chains, even units).
    """

    log_weights: Tensor
    log_base_partition: Tensor
    values: Tensor


def make_betas(betas: int | str | Sequence[float] | Tensor) -> list[float]:
    """Ladder of inverse temperatures from 0 to 1, both ends included.

    Args:
        betas: A number of equal steps; `"salakhutdinov-2008"` (steps of 1e-3 up to 0.5, 1e-4 up to 0.9, 1e-5
            up to 1: 14,500 steps); or increasing numbers in [0, 1] that end at 1 (a 0 in front is added if
            missing).

    Raises:
        ValueError: If the ladder is empty, does not increase, leaves [0, 1] or does not end at 1; or an
            unknown name.
        TypeError: If it is none of these.

    References:
        Salakhutdinov and Murray (2008), On the quantitative analysis of deep belief networks, ICML.

    Example:
        >>> make_betas(4)
        [0.0, 0.25, 0.5, 0.75, 1.0]
        >>> len(make_betas("salakhutdinov-2008")) - 1
        14500
    """
    if isinstance(betas, str):
        if betas != SALAKHUTDINOV_2008:
            raise ValueError(f"betas must be a number, numbers or {SALAKHUTDINOV_2008!r}, got {betas!r}.")
        steps = [*range(0, 50_000, 100), *range(50_000, 90_000, 10), *range(90_000, 100_001)]
        return [step / 100_000 for step in steps]
    if isinstance(betas, bool):
        raise TypeError("betas must be a number of steps, numbers in [0, 1] or a name, got a bool.")
    if isinstance(betas, int):
        if betas < 1:
            raise ValueError(f"betas must be at least 1 step, got {betas}.")
        return [step / betas for step in range(betas + 1)]
    try:
        ladder = torch.as_tensor(betas, dtype=torch.float64).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"betas must be a number of steps, numbers in [0, 1] or a name, got {betas!r}.") from error
    if ladder.dim() != 1 or len(ladder) == 0:
        raise ValueError(
            f"betas must be one-dimensional and not empty, got shape {tuple(ladder.shape)}; "
            "a number of equal steps is given as an int."
        )
    levels: list[float] = ladder.tolist()
    levels = levels if levels[0] == 0 else [0.0, *levels]
    if not all(low < high for low, high in zip(levels, levels[1:], strict=False)) or levels[-1] != 1:
        raise ValueError(
            f"betas must increase strictly within [0, 1] and end at 1, got {len(ladder)} numbers from "
            f"{ladder[0]:g} to {ladder[-1]:g}; torch.linspace(0, 1, n) is the equal ladder."
        )
    return levels


@torch.no_grad()
def anneal(
    path: BaseRatePath,
    betas: Sequence[float],
    num_chains: int,
    generator: torch.Generator,
    *,
    advance: Callable[[int], None] | None = None,
) -> AnnealedWeights:
    r"""Annealed importance sampling along a path of tempered laws of the even side, the odd side summed out.

    .. math:: \log w = \sum_k \log f_{\beta_k}(x_{k-1}) - \log f_{\beta_{k-1}}(x_{k-1}), \quad
        x_k \sim T_k(\cdot \mid x_{k-1}), \quad E[w] = Z / Z_A

    The denominator is always the density that x was drawn from, so each x is weighed *before* it moves; then
    the mean of w is unbiased for any ladder. The product of x with the weights serves the weight and the
    move alike.

    Args:
        path: Tempered laws between independent units and the machine.
        betas: Ladder from 0 to 1, as `make_betas` gives it.
        num_chains: Number of independent runs.
        generator: Source of all randomness, on the device of the machine.
        advance: Called now and then with the number of levels done.

    Returns:
        Log-weights in float64, whatever the dtype of the machine.

    References:
        Neal (2001), Annealed importance sampling, arXiv:physics/9803008.
        Salakhutdinov and Murray (2008), On the quantitative analysis of deep belief networks, ICML.

    Example:
        >>> from ppgen.distributions import Bernoulli, BoltzmannMachine, Dense
        >>> layers = {"visible": Bernoulli(torch.zeros(3)), "hidden": Bernoulli(torch.zeros(2))}
        >>> machine = BoltzmannMachine(layers, [Dense(torch.zeros(3, 2))])
        >>> path = BaseRatePath(machine.base_energy)
        >>> anneal(path, make_betas(10), 4, torch.Generator().manual_seed(0)).log_weights.exp().tolist()
        [1.0, 1.0, 1.0, 1.0]
    """
    energy, even, odd, base = path.energy, path.even, path.odd, path.base
    odd_double = [units.to(torch.float64) for units in odd]
    like = energy.parameters()[0]
    uniforms = tuple(like.new_empty(num_chains, energy.size(side)) for side in (EVEN, ODD))

    values = path.sample_base(num_chains, generator)
    log_weights = torch.zeros(num_chains, dtype=torch.float64, device=like.device)
    for level in range(1, len(betas)):
        before, beta = betas[level - 1], betas[level]
        inputs = energy.inputs(values, EVEN)
        pieces = energy.split(values, EVEN).values()
        for piece, units, start in zip(pieces, even, base, strict=True):
            log_weights += (beta - before) * (start.energy(piece) - units.energy(piece)).double()
        for input, units in zip([input.double() for input in inputs], odd_double, strict=True):
            log_weights += units.scaled(beta).log_partition(beta * input)
            log_weights -= units.scaled(before).log_partition(before * input)
        if level < len(betas) - 1:  # the last weight needs no move after it
            tempered = [units.scaled(beta) for units in odd]
            drawn = _draw(tempered, [beta * input for input in inputs], uniforms[ODD], generator)
            kept = [units.interpolated(start, beta) for units, start in zip(even, base, strict=True)]
            values = _draw(kept, [beta * input for input in energy.inputs(drawn, ODD)], uniforms[EVEN], generator)
        if advance is not None and (level % 100 == 0 or level == len(betas) - 1):
            advance(level)
    return AnnealedWeights(log_weights, path.log_base_partition(), values)


def _draw(units: list[Units], inputs: list[Tensor], uniforms: Tensor, generator: torch.Generator) -> Tensor:
    """Values of one side given its inputs; the uniforms are written anew into their buffer."""
    uniforms.uniform_(generator=generator)
    pieces = uniforms.split([layer.size for layer in units], -1)
    drawn = [layer.sample(input, uniform) for layer, input, uniform in zip(units, inputs, pieces, strict=True)]
    return drawn[0] if len(drawn) == 1 else torch.cat(drawn, -1)
