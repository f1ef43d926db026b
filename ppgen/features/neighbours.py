"""Which rows of others are nearest to each row, and how far they are."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ppgen.checks.arguments import as_numbers, check_count

SPARE = 8  # rows beyond those asked for that are compared exactly


class Neighbours(NamedTuple):
    """Nearest rows of others.

    Attributes:
        distances: Squared distance of each row to its nearest ones, nearest first, (rows, k).
        indices: Which rows those are, (rows, k).
    """

    distances: Tensor
    indices: Tensor


@torch.no_grad()
def nearest_rows(rows: Any, among: Any, k: int = 1, *, batch_size: int = 500) -> Neighbours:
    r"""The `k` nearest of other rows to each row, by squared distance.

    .. math:: d(x, y) = \sum_i (x_i - y_i)^2

    Draws of a model that lie nearer to training rows than held-out rows do are copies: compare the distances of both.
    In pixels an image that is shifted by one pixel lies far from itself; distances of features, those of a classifier
    (`training.ImageClassifier.features`) or codes of a model (`features.encode`), both of `rows` and of `among`, see
    further. Products of all rows with all others find candidates, whose distances are then taken from differences, so
    that equal rows have distance 0. Every other row is looked at, `batch_size` rows at once, on the device of `among`.

    Args:
        rows: (rows, features).
        among: The others, (others, features).
        k: How many nearest ones.
        batch_size: Rows at once.

    Returns:
        Distances and indices, (rows, k) each.

    Raises:
        ValueError: If these are no tables of equally many features, there are fewer others than `k`, or numbers are not
            finite.
        TypeError: If `rows` or `among` is no array of numbers.

    Example:
        >>> import torch
        >>> from ppgen import features
        >>> found = features.nearest_rows(torch.tensor([[0.0, 1.0]]), torch.tensor([[3.0, 1.0], [0.0, 2.0]]))
        >>> found.distances.tolist(), found.indices.tolist()
        ([[1.0]], [[1]])
    """
    check_count("k", k)
    check_count("batch_size", batch_size, wanted="a positive integer", room=False)
    others = _table("among", among)
    given = _table("rows", rows).to(others.device)
    if given.shape[1] != others.shape[1]:
        raise ValueError(f"rows must have the {others.shape[1]} features of among, got {given.shape[1]}.")
    if k > len(others):
        raise ValueError(f"k must be at most the {len(others)} rows of among, got {k}.")
    dtype = torch.promote_types(given.dtype, others.dtype)
    given, others = given.to(dtype), others.to(dtype)
    middle = others.mean(0)  # products of centred rows lose less to rounding
    centred = others - middle
    squares = centred.square().sum(1)
    found = []
    for part in given.split(batch_size):
        near = (squares - 2 * (part - middle) @ centred.mT).topk(min(k + SPARE, len(others)), largest=False)[1]
        distances = torch.stack([(part - others[column]).square().sum(1) for column in near.mT], 1)
        order = distances.argsort(stable=True, dim=1)[:, :k]
        found.append((distances.gather(1, order), near.gather(1, order)))
    return Neighbours(torch.cat([each[0] for each in found]), torch.cat([each[1] for each in found]))


def _table(name: str, values: Any) -> Tensor:
    """A table of floating-point numbers, in at least single precision."""
    table = as_numbers(name, values)
    if table.dim() != 2 or not table.numel() or table.is_complex():
        raise ValueError(f"{name} must be a table of real numbers, (rows, features), got shape {tuple(table.shape)}.")
    table = table.to(torch.promote_types(table.dtype, torch.float32))
    if not bool(table.isfinite().all()):
        raise ValueError(f"{name} must be finite.")
    return table
