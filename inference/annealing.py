"""Annealed importance sampling of a layered machine: importance weights whose mean is a ratio of partition functions."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ppgen.distributions.layered_energy import EVEN, ODD, LayeredEnergy
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
        betas: A number of equal steps; `"salakhutdinov-2008"` (steps of 1e-3 up to 0.5, 1e-4 up to 0.9, 1e-5 up to 1:
            14,500 steps); or increasing numbers in [0, 1] that end at 1 (a 0 in front is added if missing).

    Raises:
        ValueError: If the ladder is empty, does not increase, leaves [0, 1] or does not end at 1; or an unknown name.
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
            f"betas must increase strictly within [0, 1] and end at 1, got {len(ladder)} numbers from {ladder[0]:g} "
            f"to {ladder[-1]:g}; torch.linspace(0, 1, n) is the equal ladder."
        )
    return levels


@torch.no_grad()
def anneal(
    energy: LayeredEnergy,
    betas: Sequence[float],
    num_chains: int,
    generator: torch.Generator,
    *,
    data_mean: Tensor | None = None,
    advance: Callable[[int], None] | None = None,
) -> AnnealedWeights:
    r"""Annealed importance sampling along the base-rate path, with the odd side summed out.

    .. math::
        \log f_\beta(x) = -(1 - \beta) E_A(x) - \beta E_{even}(x) + \log \sum_y e^{-\beta (E_{odd}(y) + E_{joint}(x, y))},
        \quad \log w = \sum_k \log f_{\beta_k}(x_{k-1}) - \log f_{\beta_{k-1}}(x_{k-1})

    The denominator is always the density that x was drawn from, so each x is weighed *before* it moves; then
    E[w] = Z / Z_A for any ladder. The product of x with the weights serves the weight and the move alike.

    Args:
        energy: The machine; its even side (with the visible layer) is kept.
        betas: Ladder from 0 to 1, as `make_betas` gives it.
        num_chains: Number of independent runs.
        generator: Source of all randomness, on the device of the energy.
        data_mean: Mean of the visible layer, whose logit is the bias of the base model; the layer's own bias if None.
        advance: Called now and then with the number of levels done.

    Returns:
        Log-weights in float64, whatever the dtype of the energy.

    References:
        Neal (2001), Annealed importance sampling, arXiv:physics/9803008.
        Salakhutdinov and Murray (2008), On the quantitative analysis of deep belief networks, ICML.

    Example:
        >>> from ppgen.distributions.couplings import Dense
        >>> from ppgen.distributions.units import Bernoulli
        >>> layers = {"visible": Bernoulli(torch.zeros(3)), "hidden": Bernoulli(torch.zeros(2))}
        >>> machine = LayeredEnergy(layers, [Dense(torch.zeros(3, 2))])
        >>> runs = anneal(machine, make_betas(10), 4, torch.Generator().manual_seed(0))
        >>> runs.log_weights.exp().tolist()
        [1.0, 1.0, 1.0, 1.0]
    """
    even = [energy.units[layer] for layer in energy.sides[EVEN]]
    odd = energy.opposite(EVEN)
    base = [units.base_rate(data_mean if index == 0 else None) for index, units in enumerate(even)]
    odd_double = [units.to(torch.float64) for units in odd]
    kind = {"dtype": energy.parameters()[0].dtype, "device": energy.parameters()[0].device}
    uniforms = torch.empty(num_chains, energy.size(EVEN), **kind), torch.empty(num_chains, energy.size(ODD), **kind)

    values = _draw(base, [torch.zeros(num_chains, units.size, **kind) for units in base], uniforms[EVEN], generator)
    log_weights = torch.zeros(num_chains, dtype=torch.float64, device=kind["device"])
    for level in range(1, len(betas)):
        cold, hot = betas[level], betas[level - 1]
        inputs = energy.inputs(values, EVEN)
        pieces = energy.split(values, EVEN).values()
        for piece, units, start in zip(pieces, even, base, strict=True):
            log_weights += (cold - hot) * (start.energy(piece) - units.energy(piece)).double()
        for input, units in zip(inputs, odd_double, strict=True):
            input = input.double()
            log_weights += units.scaled(cold).log_partition(cold * input)
            log_weights -= units.scaled(hot).log_partition(hot * input)
        if level < len(betas) - 1:
            hidden = [units.scaled(cold) for units in odd]
            drawn = _draw(hidden, [cold * input for input in inputs], uniforms[ODD], generator)
            kept = [units.interpolated(start, cold) for units, start in zip(even, base, strict=True)]
            values = _draw(kept, [cold * input for input in energy.inputs(drawn, ODD)], uniforms[EVEN], generator)
        if advance is not None and (level % 100 == 0 or level == len(betas) - 1):
            advance(level)
    return AnnealedWeights(log_weights, _log_partition_at_zero(base, odd_double), values)


def _draw(units: list[Units], inputs: list[Tensor], uniforms: Tensor, generator: torch.Generator) -> Tensor:
    """Values of one side given its inputs; the uniforms are written anew into their buffer."""
    uniforms.uniform_(generator=generator)
    pieces = uniforms.split([layer.size for layer in units], -1)
    drawn = [layer.sample(*given) for layer, *given in zip(units, inputs, pieces, strict=True)]
    return drawn[0] if len(drawn) == 1 else torch.cat(drawn, -1)


def _log_partition_at_zero(base: list[Units], odd: list[Units]) -> Tensor:
    """log Z_A of independent units: the base model of the even side, no energy at all on the odd side."""
    layers = [units.to(torch.float64) for units in base] + [units.scaled(0.0) for units in odd]
    device = layers[0].parameters()[0].device
    zeros = [torch.zeros(units.size, dtype=torch.float64, device=device) for units in layers]
    return torch.stack([units.log_partition(zero) for units, zero in zip(layers, zeros, strict=True)]).sum()
