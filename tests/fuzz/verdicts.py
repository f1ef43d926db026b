"""What may become of a case: a right number, or a refusal in words."""

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

SIGMAS = 5.0
FEW = 10  # draws that count; below it a standard error is no error
REFUSALS = (ValueError, TypeError)


@dataclass
class Tally:
    """How many cases were tried, and which of them went wrong in which way.

    Args:
        name: Name of the corpus.
        tried: Cases that were run.
        lost: Cases after which work that was on the disk could not be read or gone on with.
        tracebacks: Cases that ended in an error of another type than the stated ones.
        silent: Cases that gave other numbers than they should, without a word.
        failures: One line for each case that went wrong: how to run it again, and what it did.
    """

    name: str
    tried: int = 0
    lost: int = 0
    tracebacks: int = 0
    silent: int = 0
    failures: list[str] = field(default_factory=list)


class Silent(AssertionError):
    """A number that is wrong, without a word."""


class Traceback(AssertionError):
    """An error of another type than the stated ones, or without a message."""


def attempt(what: str, call: Callable[[], Any], seen: list[str] | None = None) -> Any:
    """Result of a call, or None if it was refused.

    Args:
        what: Name of the case.
        call: What is tried.
        seen: Where warnings that were given are put, by their text.

    Raises:
        Traceback: If it ended in any other error, or in a refusal without words.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = call()
        except REFUSALS as error:
            if len(str(error)) < 15:
                raise Traceback(f"{what}: {type(error).__name__} without a message: {error}") from error
            return None
        except Exception as error:
            raise Traceback(f"{what}: {type(error).__name__}: {str(error).partition(chr(10))[0][:200]}") from error
    if seen is not None:
        seen += [str(each.message) for each in caught]
    return result


def check_estimate(
    what: str,
    estimate: Any,
    truth: np.ndarray,
    tolerance: float,
    doubted: bool = False,
    known: np.ndarray | None = None,
) -> None:
    """Raise unless an estimate is right within what it claims.

    Args:
        what: Name of the case.
        estimate: The estimate.
        truth: What it should be for each datum, or one number.
        tolerance: Rounding, in nats.
        doubted: Whether draws cannot tell what they miss, so that the error need not cover it; few that count must be
            told all the same.
        known: Relative error of the mean weight of each row by quadrature, where there is one: what the draws say of
            it falls short where the weights have a tail that they have not met.

    Raises:
        Silent: If it is off by more than five standard errors and says nothing, or a bound is on the wrong side.
    """
    error = estimate.value - float(np.mean(truth))
    if not math.isfinite(estimate.value):
        raise Silent(f"{what}: {estimate.value} for {np.mean(truth):.4f}")
    claimed = SIGMAS * (estimate.se if math.isfinite(estimate.se) else math.inf) + tolerance
    if estimate.kind == "lower bound" and error > claimed or estimate.kind == "upper bound" and -error > claimed:
        raise Silent(f"{what}: {estimate!r} is no {estimate.kind} of {np.mean(truth):.4f}")
    if bounds_only(estimate) or estimate.warning:
        return
    few = (estimate.per_datum or {}).get("ess", np.array([np.inf])).min()
    if estimate.num_draws and estimate.num_draws >= 100 and few < FEW:
        raise Silent(f"{what}: {estimate!r} says nothing of a row with an ESS of {few:.1f}")
    if doubted:
        return
    rows = (estimate.per_datum or {}).get("log_likelihood")
    if known is not None and rows is not None:
        off = np.abs(np.expm1(rows - truth)) / SIGMAS
        if (off > np.maximum(known, np.nan_to_num(estimate.per_datum["se"], nan=np.inf)) + tolerance).any():
            raise Silent(f"{what}: {estimate!r}, a row is off by {SIGMAS * off.max():.2g} of its probability")
    elif abs(error) > claimed:
        raise Silent(f"{what}: {estimate!r}, truth {np.mean(truth):.4f}, {error:+.4f}")
    if rows is not None and estimate.kind == "exact" and np.abs(rows - truth).max() > 10 * tolerance:
        raise Silent(f"{what}: a row is off by {np.abs(rows - truth).max():.2g} nats")


def bounds_only(estimate: Any) -> bool:
    """Whether the error is that of a bound, which may be far below the truth: the ELBO, the mean field, RAISE."""
    return estimate.method.removeprefix("auto: ").startswith(("ELBO", "mean field", "reverse AIS from each datum"))


def check_agreement(what: str, first: Any, second: Any, tolerance: float) -> None:
    """Raise unless two estimates of one number, of which neither is doubtful, agree within their errors."""
    if first.warning or second.warning:
        return
    allowed = SIGMAS * math.hypot(first.se, second.se) + tolerance
    if not math.isnan(allowed) and abs(first.value - second.value) > allowed:
        raise Silent(f"{what}: {first!r} and {second!r}")


@contextmanager
def counted(tally: Any, case: str) -> Iterator[None]:
    """Context of one case: what goes wrong in it is counted and written down."""
    tally.tried += 1
    try:
        yield
    except Silent as error:
        tally.silent += 1
        tally.failures.append(f"{case}: {error}")
    except Traceback as error:
        tally.tracebacks += 1
        tally.failures.append(f"{case}: {error}")
