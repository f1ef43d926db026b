"""Modes that draws reach: how many are of each class, by a classifier that can say "none"."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ppgen.checks.arguments import check_count, check_number
from ppgen.evaluation.samples.drawn_rows import as_table

_AT_ONCE = 1_000


@dataclass(frozen=True)
class Modes:
    """Shares of draws by class.

    Attributes:
        shares: Share of the draws that each class has.
        none: Share of draws that are of no class.
        least: Share above which a mode counts as found.
        num_samples: Draws.
    """

    shares: tuple[float, ...]
    none: float
    least: float
    num_samples: int

    @property
    def found(self) -> int:
        """Number of classes with more than the least share."""
        return sum(share > self.least for share in self.shares)

    @property
    def missing(self) -> tuple[int, ...]:
        """Classes with no more than the least share."""
        return tuple(index for index, share in enumerate(self.shares) if share <= self.least)

    @property
    def collapsed(self) -> bool:
        """Whether a class is missing."""
        return bool(self.missing)

    def __repr__(self) -> str:
        shown = f", missing {', '.join(map(str, self.missing))}: collapsed" if self.collapsed else ""
        return (
            f"{self.found} of {len(self.shares)} modes above {100 * self.least:g} %{shown}; none "
            f"{100 * self.none:.1f} %; smallest share {100 * min(self.shares):.1f} %, largest "
            f"{100 * max(self.shares):.1f} %; {self.num_samples:,} draws"
        )


@torch.no_grad()
def modes_found(samples: Any, predict: Callable[[Tensor], Tensor], num_classes: int, *, least: float = 0.02) -> Modes:
    """Share of draws that each class has, and which classes are missing.

    A classifier that never saw anything but data gives a class to noise, too: it must know a class "none".

    Args:
        samples: Draws, (draws, features), such as `ppgen.sample(run, 2000)`.
        predict: A function of a table of draws to whole numbers, (n,): the class, or `num_classes` for none, such as
            the method `predict` of a trained classifier.
        num_classes: Classes without "none".
        least: Share that a class must exceed to be found.

    Raises:
        TypeError: If draws are no array, or `predict` no function.
        ValueError: If the share is not in [0, 1), or a prediction is no class.

    Example:
        >>> import torch
        >>> from ppgen import evaluation
        >>> x = torch.tensor([[0.1], [0.9], [1.2], [7.0]])
        >>> evaluation.modes_found(x, lambda rows: rows[:, 0].round().clamp(max=3).long(), num_classes=3).missing
        (2,)
    """
    check_count("num_classes", num_classes)
    check_number("least", least, "lie in [0, 1)", lambda number: 0 <= number < 1)
    if not callable(predict):
        raise TypeError(f"predict must be a function of draws, such as classifier.predict, got {predict!r}.")
    table = as_table("samples", samples)
    classes = torch.cat([torch.as_tensor(predict(part)) for part in table.split(_AT_ONCE)])
    if classes.shape != (len(table),) or classes.is_floating_point():
        raise ValueError(
            f"predict must give one whole number for each draw, ({len(table)},), got {classes.dtype} of shape "
            f"{tuple(classes.shape)}."
        )
    if not bool(((classes >= 0) & (classes <= num_classes)).all()):
        raise ValueError(f"predict must give classes 0 to {num_classes}, of which the last is none.")
    counts = torch.bincount(classes, minlength=num_classes + 1).double() / len(table)
    return Modes(tuple(counts[:-1].tolist()), float(counts[-1]), float(least), len(table))
