"""Annealed importance sampling: weights whose mean is a ratio of partition functions."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ppgen.checks.room import check_room
from ppgen.distributions.machines.base_rate_path import BaseRatePath
from ppgen.distributions.machines.layered_energy import EVEN, ODD, LayeredEnergy
from ppgen.distributions.units.units import draw_layers
from ppgen.graphs.compiler import compiled_or_none
from ppgen.graphs.threefry import make_key

WORTH_COMPILING = 3e11  # multiply-adds of a run, some ten seconds on two cores, from which on it is compiled
SALAKHUTDINOV_2008 = "salakhutdinov-2008"


class AnnealedWeights(NamedTuple):
    """Outcome of annealing runs.

    Attributes:
        log_weights: log w of every chain, E[w] = Z / Z_A, or Z_A / Z downwards: (chains,), float64, nats.
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
        check_room("betas", betas, 8)
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
    start: Tensor | None = None,
    chunk: int | None = None,
    compile: bool | Literal["auto"] = "auto",
    step: Callable[..., tuple[Tensor, Tensor]] | None = None,
    advance: Callable[[int], None] | None = None,
) -> AnnealedWeights:
    r"""Annealed importance sampling along a path of tempered laws of the even side, the odd side summed out.

    .. math:: \log w = \sum_k \log f_{\beta_k}(x_{k-1}) - \log f_{\beta_{k-1}}(x_{k-1}), \quad
        x_k \sim T_k(\cdot \mid x_{k-1}), \quad E[w] = Z / Z_A

    The denominator is always the density that x was drawn from, so each x is weighed *before* it moves; then
    the mean of w is unbiased for any ladder. The product of x with the weights serves the weight and the
    move alike. With `start`, draws from the machine itself, the ladder is gone down instead: E[w] = Z_A / Z then, and
    log Z_A - log mean(w) is an upper bound of log Z in expectation. A sweep is reversible, so that it is its own way
    back.

    Args:
        path: Tempered laws between independent units and the machine.
        betas: Ladder from 0 to 1, as `make_betas` gives it.
        num_chains: Number of independent runs.
        generator: Source of all randomness, on the device of the machine.
        start: Even side of draws from the machine, (num_chains, even units), from which the ladder is gone down.
        chunk: Runs that go down the ladder together, which bounds the memory; None for all at once.
        compile: Whether the level that is repeated is compiled; `"auto"` does it for long runs of large machines,
            by their size and not by the clock. Compiled levels compute uniforms of their own from keys that the
            generator gives, so the two ways agree up to Monte Carlo error.
        step: The level for this path, generator and number of chains, if `repeated_level` made it before.
        advance: Called now and then with the number of levels done.

    Returns:
        Log-weights in float64, whatever the dtype of the machine.

    References:
        Neal (2001), Annealed importance sampling, arXiv:physics/9803008.
        Salakhutdinov and Murray (2008), On the quantitative analysis of deep belief networks, ICML.
        Burda, Grosse and Salakhutdinov (2015), Accurate and conservative estimates of MRF log-likelihood using reverse
        annealing, arXiv:1412.8566.

    Example:
        >>> from ppgen.distributions import Bernoulli, BoltzmannMachine, Dense
        >>> layers = {"visible": Bernoulli(torch.zeros(3)), "hidden": Bernoulli(torch.zeros(2))}
        >>> machine = BoltzmannMachine(layers, [Dense(torch.zeros(3, 2))])
        >>> path = BaseRatePath(machine.base_energy)
        >>> anneal(path, make_betas(10), 4, torch.Generator().manual_seed(0)).log_weights.exp().tolist()
        [1.0, 1.0, 1.0, 1.0]
    """
    energy = path.energy
    like = energy.parameters()[0]
    if start is not None:
        betas = betas[::-1]
    by_program, move = Level(path, generator), step
    size = num_chains if chunk is None else min(chunk, num_chains)
    sizes = [min(size, num_chains - first) for first in range(0, num_chains, size)]
    found = []
    for block, count in enumerate(sizes):
        first = block * size
        values = path.sample_base(count, generator) if start is None else start[first : first + count]
        log_weights = torch.zeros(values.shape[:-1], dtype=torch.float64, device=like.device)
        if move is None:
            move = repeated_level(path, generator, values, len(betas) * num_chains, compile)
        run = move if count == size else by_program  # machine code is for one shape
        for level in range(1, len(betas)):
            following, log_weights = run(values, log_weights, _pair(betas[level - 1], betas[level], like))
            if level < len(betas) - 1:  # the last weight needs no move after it
                values = following
            if advance is not None and (level % 100 == 0 or level == len(betas) - 1):
                advance((block * (len(betas) - 1) + level) // len(sizes))
        found.append((log_weights, values))
    log_weights, values = (torch.cat(parts) for parts in zip(*found, strict=True))
    return AnnealedWeights(log_weights, path.log_base_partition(), values)


class Level:
    """One level of annealing: weigh the values between two inverse temperatures, then move them at the second.

    Args:
        path: Tempered laws between independent units and the machine.
        generator: Source of uniforms, unless a key is given.
    """

    def __init__(self, path: BaseRatePath, generator: torch.Generator) -> None:
        self.path, self.generator = path, generator

    def __call__(
        self, values: Tensor, log_weights: Tensor, betas: Tensor, key: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Values after the move and log-weights before it.

        Args:
            values: Even side of every chain, (chains, even units).
            log_weights: Log-weights so far, (chains,), float64.
            betas: The two inverse temperatures, (2,), float64.
            key: Key of the uniforms, (2,) int32; they come from the generator without it.
        """
        path, energy = self.path, self.path.energy
        before, beta = betas[0], betas[1]
        inputs = energy.inputs(values, EVEN)
        pieces = energy.split(values, EVEN).values()
        for piece, units, start in zip(pieces, path.even, path.base, strict=True):
            log_weights = log_weights + (beta - before) * (start.energy(piece) - units.energy(piece)).double()
        for input, units in zip(inputs, path.odd, strict=True):
            log_weights = log_weights + units.log_partition_ratio(input, before, beta).double()
        scale = beta.to(values.dtype)
        tempered = [units.scaled(scale) for units in path.odd]
        odd = draw_layers(tempered, [scale * input for input in inputs], generator=self.generator, key=key, stream=ODD)
        kept = [units.interpolated(start, scale) for units, start in zip(path.even, path.base, strict=True)]
        inputs = [scale * input for input in energy.inputs(odd, ODD)]
        return draw_layers(kept, inputs, generator=self.generator, key=key, stream=EVEN), log_weights


def repeated_level(
    path: BaseRatePath,
    generator: torch.Generator,
    values: Tensor,
    count: int,
    compile: bool | Literal["auto"] = "auto",
) -> Callable[..., tuple[Tensor, Tensor]]:
    """The level that annealing repeats, as machine code for chains of this shape if asked for, or if that pays.

    Args:
        path: Tempered laws between independent units and the machine.
        generator: Source of uniforms.
        values: Even side of the chains, (chains, even units).
        count: Levels times chains for which it serves.
        compile: As `anneal` takes it.
    """
    level = Level(path, generator)
    if compile is True or (compile == "auto" and count * _products(path.energy) >= WORTH_COMPILING):
        log_weights = torch.zeros(values.shape[:-1], dtype=torch.float64, device=values.device)
        return compiled_level(level, values, log_weights)
    return level


def compiled_level(level: Level, values: Tensor, log_weights: Tensor) -> Callable[..., tuple[Tensor, Tensor]]:
    """The level as machine code for these shapes; the level itself, with a warning, where there is no compiler.

    Uniforms are computed where they are used, from one key a level, which comes from the level's generator.
    """
    device = values.device
    key = torch.zeros(2, dtype=torch.int32, device=device)
    inputs = [values, log_weights, torch.tensor([0.0, 0.5], dtype=torch.float64, device=device), key]
    told = "Annealing could not be compiled, so it runs uncompiled"
    machine_code = compiled_or_none(level, inputs, told, stacklevel=3)
    if machine_code is None:
        return level

    def run(values: Tensor, log_weights: Tensor, betas: Tensor) -> tuple[Tensor, Tensor]:
        moved, weights = machine_code(values, log_weights, betas, make_key(device, level.generator))
        return moved, weights

    return run


def _products(energy: LayeredEnergy) -> int:
    return energy.size(EVEN) * energy.size(ODD)


def _pair(before: float, beta: float, like: Tensor) -> Tensor:
    return torch.tensor([before, beta], dtype=torch.float64, device=like.device)
