"""Bias, variance and signal-to-noise ratio of a random vector, with Monte Carlo errors from batches of its draws."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

MAX_BATCHES = 50
_ROUNDING = 100  # machine epsilons, relative to the length of the gradient, that are no bias


@dataclass(frozen=True)
class GradientDraws:
    """Draws of a gradient in batches.

    Attributes:
        means: By block, means of the batches: (batches, elements); of an exact gradient (1, elements).
        variances: By block, unbiased variances within each batch, summed over elements: (batches,), float64.
        num_draws: Draws in all; 0 if the gradient is exact.
    """

    means: dict[str, Tensor]
    variances: dict[str, Tensor]
    num_draws: int


def draw_in_batches(
    draw: Callable[[], Mapping[str, Tensor]], blocks: Mapping[str, Sequence[str]], num_draws: int, num_batches: int
) -> GradientDraws:
    """Draws of a gradient, of which the means of batches and the variance within them are kept.

    Args:
        draw: One gradient, by name of the parameter.
        blocks: Names of the parameters in each block.
        num_draws: Draws; rounded up to full batches of two or more.
        num_batches: Batches.
    """
    size = max(2, -(-num_draws // num_batches))
    means: dict[str, list[Tensor]] = {block: [] for block in blocks}
    variances: dict[str, list[Tensor]] = {block: [] for block in blocks}
    for _ in range(num_batches):
        first: dict[str, Tensor] = {}
        sums: dict[str, Tensor] = {}
        squares = dict.fromkeys(blocks, torch.zeros((), dtype=torch.float64))
        for _ in range(size):
            gradient = draw()
            for block, names in blocks.items():
                flat = torch.cat([gradient[name].reshape(-1) for name in names])
                if block not in first:
                    first[block], sums[block] = flat, torch.zeros_like(flat, dtype=torch.float64)
                change = (flat - first[block]).double()  # from the first draw, so that squares do not cancel
                sums[block] += change
                squares[block] = squares[block] + change.square().sum().cpu()
        for block in blocks:
            mean = sums[block] / size
            means[block].append(first[block] + mean.to(first[block]))
            variances[block].append((squares[block] - size * mean.square().sum().cpu()).clamp(min=0) / (size - 1))
    return GradientDraws(
        {block: torch.stack(each).cpu() for block, each in means.items()},
        {block: torch.stack(each) for block, each in variances.items()},
        size * num_batches,
    )


def statistics(means: Tensor, variances: Tensor, reference: Tensor) -> dict[str, float]:
    r"""Statistics of one block.

    .. math:: \text{bias} = |E[g] - r|, \quad \text{variance} = E|g - E[g]|^2, \quad
              \text{snr} = \frac{|E[g]|}{\sqrt{E|g - E[g]|^2}}

    Squared lengths are estimated without the bias that the noise of a mean would give them, by products of different
    batches. The p-value is that of the hypothesis that there is no bias: `|mean|^2` is held against the law c chi^2
    with its mean and variance under it.

    Args:
        means: Means of the batches, (batches, elements).
        variances: Variances within them, (batches,).
        reference: Means of the reference, (batches, elements), or the exact gradient, (1, elements).

    References:
        | Estimations for Some Functions of Covariance Matrix in High Dimension under Non-Normality and Its Applications
          (Himeno and Yamada, 2014)

    Example:
        >>> means = torch.tensor([[1.0], [3.0], [1.0], [3.0], [2.0]])
        >>> found = statistics(means, torch.full((5,), 4.0), torch.tensor([[2.0]]))
        >>> found["variance"], found["bias"], found["bias_p"]
        (4.0, 0.0, 1.0)
    """
    epsilon = torch.finfo(means.dtype).eps
    means, reference, variances = means.double(), reference.double(), variances.double()
    count = len(means)
    variance = float(variances.mean())
    bias = _length(means - reference)
    bias["p"] = 1.0 if bias["mean"] <= _ROUNDING * epsilon * float(reference.mean(0).norm()) else bias["p"]
    signal, signal_se = _signal_to_noise(means @ means.T, variances)
    return {
        "bias": bias["length"],
        "bias_se": bias["se"],
        "bias_p": bias["p"],
        "variance": variance,
        "variance_se": float(variances.std(correction=1)) / math.sqrt(count),
        "snr": signal,
        "snr_se": signal_se,
        "reference_norm": _length(reference)["length"] if len(reference) > 1 else float(reference.norm()),
    }


def _length(rows: Tensor) -> dict[str, float]:
    """Length of the mean of independent rows, its error, and the p-value of the hypothesis that it is zero."""
    count, elements = rows.shape
    gram = rows @ rows.T
    diagonal = gram.diagonal()
    others = (gram.sum(1) - diagonal) / (count - 1)
    square = float(others.mean())
    centred = gram - gram.mean(0) - gram.mean(1, keepdim=True) + gram.mean()
    spread = float(centred.trace()) / (count - 1)  # trace of the covariance of a row
    squared = _trace_of_square(centred, spread, elements)  # and of its square
    noise = 2 * squared / (count * (count - 1))
    error = math.sqrt(max(4 * float(others.var(correction=1)) / count - noise, noise))
    mean = math.sqrt(max(float(gram.mean()), 0.0))
    found = {"length": math.sqrt(max(square, 0.0)), "mean": mean, "p": 0.0 if mean > 0 else 1.0}
    found["se"] = min(error / (2 * found["length"]), math.sqrt(error)) if found["length"] > 0 else math.sqrt(error)
    if spread > 0:
        degrees = torch.tensor(spread**2 / squared, dtype=torch.float64)
        statistic = count * mean**2 / spread * degrees
        found["p"] = float(torch.special.gammaincc(degrees / 2, statistic / 2))
    return found


def _trace_of_square(centred: Tensor, spread: float, elements: int) -> float:
    """Unbiased estimate of the trace of the squared covariance, from the centred Gram matrix of independent rows."""
    count = len(centred)
    quartic = float(centred.diagonal().square().sum()) / (count - 1)
    whole = float(centred.square().sum()) / (count - 1) ** 2
    scale = (count - 1) / (count * (count - 2) * (count - 3))
    estimate = scale * ((count - 1) * (count - 2) * whole + spread**2 - count * quartic)
    return min(max(estimate, spread**2 / elements), spread**2)


def _signal_to_noise(gram: Tensor, variances: Tensor) -> tuple[float, float]:
    """Signal-to-noise ratio and its jackknife error over the batches."""
    count, diagonal, rows = len(gram), gram.diagonal(), gram.sum(1)
    total, trace = gram.sum(), diagonal.sum()
    whole = _ratio((total - trace) / (count * (count - 1)), variances.mean())
    left = total - 2 * rows + diagonal - (trace - diagonal)  # products of different batches without one
    without = _ratio(left / ((count - 1) * (count - 2)), (variances.sum() - variances) / (count - 1))
    error = ((count - 1) / count * (without - without.mean()).square().sum()).sqrt()
    return float(whole), float(error)


def _ratio(square: Tensor, variance: Tensor) -> Tensor:
    return (square.clamp(min=0) / variance).sqrt()
