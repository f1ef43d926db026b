"""Data of a call, block by block, with a pair that is ready to run."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ppgen.checks.arguments import check_count
from ppgen.checks.likelihood import check_has_likelihood
from ppgen.coders import Coder
from ppgen.evaluation.rows import CheckedRows
from ppgen.inference.structure.layout import Layout, find_layout
from ppgen.pair import as_pair
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
    rows, layout = CheckedRows(data, pair), None
    if not isinstance(pair, Coder):
        check_has_likelihood(pair, "Means of a guide")
        with evaluating(pair):
            pair.prepare(rows(0, min(2, len(rows))))
        rows = CheckedRows(rows.parts, pair)
    starts = range(0, len(rows), batch_size)
    with evaluating(pair), pair.running():
        if not isinstance(pair, Coder):
            layout = find_layout(pair, rows(0, min(2, len(rows))))
            _ = layout.row_dim  # raises without a data plate
        yield pair, layout, (rows(start, min(start + batch_size, len(rows))) for start in starts)
