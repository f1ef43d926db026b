"""Data of a call, block by block, with a pair that is ready to run."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ppgen.batch import parts_of
from ppgen.checks.arguments import check_count
from ppgen.checks.likelihood import check_has_likelihood
from ppgen.coders import Coder
from ppgen.evaluation.rows import CheckedRows
from ppgen.inference.structure.layout import Layout, find_layout
from ppgen.pair import GenerativeModel, as_pair
from ppgen.undisturbed import evaluating

ROWS_AT_ONCE = 1000


@contextmanager
def blocks(pair: Any, data: Any, batch_size: int) -> Iterator[tuple[Any, Layout | None, Iterator[Any]]]:
    """Context with the pair in evaluation mode, its structure (None of a `Coder`), and batches of all rows in order.

    Args:
        pair: A model of the zoo, a `ppgen.Pair` or a run.
        data: Rows.
        batch_size: Rows at once.

    Raises:
        ValueError: If an argument is wrong, or a pair without codes of its own is implicit or lacks a data plate.
        TypeError: If `pair` or `data` is none.
    """
    check_count("batch_size", batch_size, wanted="a positive integer", room=False)
    pair = as_pair(pair)
    rows, layout = CheckedRows(_table(data, pair) if isinstance(pair, Coder) else data, pair), None
    _check_width(pair, rows)
    if not isinstance(pair, Coder):
        check_has_likelihood(pair, "Means of a guide")
        with evaluating(pair):
            pair.prepare(rows(0, min(2, len(rows))))
            rows = CheckedRows(rows.parts, pair)  # parameters made just now decide the type
            layout = find_layout(pair, rows(0, min(2, len(rows))))
        _ = layout.row_dim  # raises without a data plate
    starts = range(0, len(rows), batch_size)
    with evaluating(pair), pair.running():
        yield pair, layout, (rows(start, min(start + batch_size, len(rows))) for start in starts)


def _table(data: Any, pair: Any) -> Any:
    """The one argument that data for a model with a code hold, also in a tuple or a mapping of one."""
    parts = parts_of(data)
    if len(parts) != 1:
        raise ValueError(f"data must be one table (rows, features) for {type(pair).__name__}, got {len(parts)}.")
    return parts[0]


def _check_width(pair: Any, rows: CheckedRows) -> None:
    """Raise where one table of data has another number of features than a model of the zoo."""
    wanted, parts = getattr(pair, "num_features", None), rows.tensors()
    if isinstance(pair, GenerativeModel) and isinstance(wanted, int) and len(parts) == 1:
        found = parts[0][:1].numel()
        if found != wanted:
            raise ValueError(f"data must have the {wanted} features of {type(pair).__name__}, got {found}.")
