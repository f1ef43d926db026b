"""Monotone splines of rational quadratics, with their inverse in closed form."""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad, softmax, softplus

# Bins are at least a tenth of an even share wide and high, and slopes of knots a hundredth: with less, numbers of
# single precision do not find back from where a spline is flat.
_LEAST_SHARE, _LEAST_SLOPE = 0.1, 0.01


def rational_quadratic(entries: Tensor, parameters: Tensor, bound: float, inverse: bool) -> tuple[Tensor, Tensor]:
    """Numbers moved by a spline on [-bound, bound], or moved back, and the logarithm of the spline's slope there.

    Outside of the interval the spline is the identity. Parameters that are all 0 make it the identity inside too.

    Args:
        entries: Numbers, shape (...).
        parameters: Logits of K widths and K heights of bins, then K - 1 slopes between them, shape (..., 3 K - 1).
        bound: Half the length of the interval.
        inverse: Whether numbers are moved back.

    Returns:
        Moved numbers, and log of dy / dx of the spline in either direction; of the shape of the entries.
    """
    bins = (parameters.shape[-1] + 1) // 3
    widths, heights, slopes = parameters.split([bins, bins, bins - 1], -1)
    left, width = _bins(widths, bound)
    low, height = _bins(heights, bound)
    slope = pad(_LEAST_SLOPE + softplus(slopes + math.log(math.expm1(1 - _LEAST_SLOPE))), (1, 1), value=1.0)
    inside = entries.abs() < bound
    held = torch.where(inside, entries, torch.zeros_like(entries))
    at = (held.unsqueeze(-1) >= (low if inverse else left)[..., 1:]).sum(-1, keepdim=True)
    left, width, low, height, first, last = (
        table.expand(*entries.shape, table.shape[-1]).gather(-1, at).squeeze(-1)
        for table in (left, width, low, height, slope[..., :-1], slope[..., 1:])
    )
    chord = height / width
    bend = first + last - 2 * chord
    if inverse:
        rise = held - low
        quadratic = height * (chord - first) + rise * bend
        linear = height * first - rise * bend
        # The root without cancellation.
        root = (linear.square() + 4 * quadratic * chord * rise).clamp(min=torch.finfo(held.dtype).tiny).sqrt()
        part = 2 * chord * rise / (linear + root)
        moved = left + part * width
    else:
        part = (held - left) / width
        moved = low + height * part * (chord * part + first * (1 - part)) / (chord + bend * part * (1 - part))
    mixed = part * (1 - part)
    steepness = last * part.square() + 2 * chord * mixed + first * (1 - part).square()
    log_slope = 2 * chord.log() + steepness.log() - 2 * (chord + bend * mixed).log()
    return torch.where(inside, moved, entries), torch.where(inside, log_slope, torch.zeros_like(log_slope))


def _bins(logits: Tensor, bound: float) -> tuple[Tensor, Tensor]:
    """Where bins begin, and how long they are."""
    lengths = 2 * bound * (_LEAST_SHARE / logits.shape[-1] + (1 - _LEAST_SHARE) * softmax(logits, -1))
    return pad(lengths[..., :-1].cumsum(-1), (1, 0)) - bound, lengths
