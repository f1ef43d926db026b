"""Paired measurements on a machine that is never quiet: ours, peer, ours, peer, each pair between two probes."""

from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

TOLERANCE = 0.15  # change of the matrix-product rate beyond which a pair does not count
TRIES = 3  # pairs measured at most, as a multiple of those wanted

Timer = Callable[[], float]


def measure_pairs(
    ours: Timer,
    peer: Timer,
    rate: Timer,
    repeats: int,
    tolerance: float = TOLERANCE,
    max_pairs: int | None = None,
) -> dict[str, Any]:
    """Time two contenders in turns until `repeats` pairs were undisturbed.

    A pair counts as disturbed if the rate of matrix products, measured before and after it, moved by more than
    `tolerance`; it is measured again. When `max_pairs` are used up, the least disturbed of all are taken and the
    outcome says how many of them were.

    Args:
        ours: Milliseconds of one step of ours.
        peer: Milliseconds of one step of the peer.
        rate: The machine's rate of matrix products now.
        repeats: Pairs wanted.
        tolerance: Relative change of the rate that is still quiet.
        max_pairs: Pairs measured at most; `TRIES` times `repeats` by default.

    Returns:
        Every pair, those that count, and their summary.
    """
    limit = max_pairs if max_pairs is not None else TRIES * repeats
    pairs: list[dict[str, Any]] = []
    before = rate()
    while len(pairs) < limit and sum(pair["moved"] <= tolerance for pair in pairs) < repeats:
        turns = (ours, peer) if len(pairs) % 2 == 0 else (peer, ours)  # neither always runs on the warmer machine
        times = {turn: turn() for turn in turns}
        after = rate()
        pairs.append(
            {
                "ours_ms": times[ours],
                "peer_ms": times[peer],
                "ratio": times[ours] / times[peer],
                "rate_before": before,
                "rate_after": after,
                "moved": abs(after / before - 1),
            }
        )
        before = after
    return summarise(pairs, repeats, tolerance)


def summarise(pairs: list[dict[str, Any]], repeats: int, tolerance: float = TOLERANCE) -> dict[str, Any]:
    """Median of the paired ratios with its spread, over the undisturbed pairs or else the least disturbed ones."""
    quiet = [pair for pair in pairs if pair["moved"] <= tolerance]
    counted = quiet[:repeats] if len(quiet) >= repeats else sorted(pairs, key=lambda pair: pair["moved"])[:repeats]
    ratios = [pair["ratio"] for pair in counted]
    return {
        "ratio": median(ratios),
        "low": min(ratios),
        "high": max(ratios),
        "ours_ms": median(pair["ours_ms"] for pair in counted),
        "peer_ms": median(pair["peer_ms"] for pair in counted),
        "repeats": len(counted),
        "repeated": len(pairs) - len(counted),
        "disturbed": sum(pair["moved"] > tolerance for pair in counted),
        "pairs": pairs,
    }


def reached(comparison: Mapping[str, Any]) -> bool | None:
    """Whether the target is met: the median of ratios against it; None without a target or a measurement."""
    if comparison.get("target") is None or "ratio" not in comparison:
        return None
    return bool(comparison["ratio"] <= comparison["target"])
