"""Tests of numbers that come from sampling: a deviation is measured in standard errors."""

import math

import torch
from torch import Tensor


def fail(message: str) -> None:
    """Raise AssertionError, also under `python -O`."""
    raise AssertionError(message)


def check_close(found: Tensor, expected: Tensor, what: str, *, atol: float = 1e-10, rtol: float = 1e-8) -> None:
    """Raise unless two tensors have one shape and agree number by number.

    Example:
        >>> from ppgen.testing import check_close
        >>> import torch
        >>> check_close(torch.ones(2), torch.ones(2), "the numbers")
    """
    if found.shape != expected.shape:
        fail(f"{what}: shape {tuple(found.shape)}, expected {tuple(expected.shape)}.")
    difference = (found - expected).abs()
    if not bool((difference <= atol + rtol * expected.abs()).all()):
        worst = int(difference.nan_to_num(math.inf).argmax())
        fail(f"{what}: found {found.flatten()[worst]:.10g}, expected {expected.flatten()[worst]:.10g}.")


def check_mean(draws: Tensor, expected: Tensor, what: str, *, sigmas: float = 4.0, atol: float = 1e-9) -> None:
    """Raise unless the mean of independent draws lies within some standard errors of its expectation.

    Args:
        draws: Independent draws: (draws, ...).
        expected: Expectation: (...).
        what: Name of the quantity, for the message.
        sigmas: Standard errors allowed.
        atol: Absolute deviation allowed besides, for quantities without noise.

    Example:
        >>> from ppgen.testing import check_mean
        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> check_mean(torch.randn(1000), torch.tensor(0.0), "mean of N(0, 1)")
    """
    error = draws.std(0) / math.sqrt(len(draws))
    deviation = (draws.mean(0) - expected).abs()
    if not bool((deviation <= sigmas * error + atol).all()):
        score = (deviation / (error + atol)).nan_to_num(math.inf)
        worst = int(score.argmax())
        fail(
            f"{what}: mean {draws.mean(0).flatten()[worst]:.6g} of {len(draws)} draws, expected "
            f"{expected.flatten()[worst]:.6g}, {score.flatten()[worst]:.1f} standard errors away."
        )


def check_frequencies(
    index: Tensor, probabilities: Tensor, what: str, *, sigmas: float = 4.0, min_expected: float = 5.0
) -> None:
    """Raise unless states were drawn with given probabilities (chi-square test; rare states are pooled).

    Args:
        index: Index of the state of each independent draw: (draws,).
        probabilities: Probability of each state: (states,).
        what: Name of the law, for the message.
        sigmas: Standard deviations allowed, of the Normal law that the statistic follows (Wilson and
            Hilferty).
        min_expected: Expected count under which states are pooled.

    Example:
        >>> from ppgen.testing import check_frequencies
        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> check_frequencies(torch.randint(4, (1000,)), torch.full((4,), 0.25), "four equal states")
    """
    counts = torch.bincount(index.flatten().cpu(), minlength=len(probabilities)).double()
    expected = probabilities.detach().double().cpu() * counts.sum()
    if bool((counts[expected == 0] > 0).any()):
        fail(f"{what}: a state of probability 0 was drawn.")
    rare = expected < min_expected
    counts = torch.cat([counts[~rare], counts[rare].sum().reshape(1)])
    expected = torch.cat([expected[~rare], expected[rare].sum().reshape(1)])
    counts, expected = counts[expected > 0], expected[expected > 0]
    statistic, freedom = float(((counts - expected) ** 2 / expected).sum()), len(counts) - 1
    spread = 2 / (9 * freedom)
    score = ((statistic / freedom) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)
    if score > sigmas:
        fail(f"{what}: chi-square {statistic:.1f} with {freedom} degrees of freedom, {score:.1f} sigma off.")
