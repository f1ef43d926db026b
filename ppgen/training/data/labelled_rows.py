"""Rows that tell their class beside rows that do not: what an inference must know of them, and stratified batches."""

from typing import Any

import torch
from torch import Tensor

from ppgen.datasets.paired import UNLABELLED
from ppgen.inference.particles.row_weights import Strata
from ppgen.training.data.batch_source import BatchSource


def inspect_labels(pair: Any, source: BatchSource) -> None:
    """Let a pair that learns classes look at the labels of its data, which raises if they do not do."""
    inspect = getattr(pair, "inspect_labels", None)
    if inspect is not None:
        inspect(source.labels)


def strata_of(source: BatchSource, batch_size: int) -> Strata | None:
    """How batches of labelled and unlabelled rows are made up; None where they are drawn from all rows alike.

    Raises:
        ValueError: If a batch, or the smaller one at the end of an epoch, would hold one kind of rows only.
    """
    count = None if source.pairs is None else source.pairs.labelled_in_batch
    if count is None:
        return None
    return Strata(_num_labelled(source), source.num_train, min(batch_size, source.num_train), count)


def label_scale(source: BatchSource) -> float | None:
    """Rows of the data for each labelled one, N / N_l; None where none is known to have a label."""
    count = _num_labelled(source)
    return source.num_train / count if count else None


def stratified_order(strata: Strata, labels: Tensor, generator: torch.Generator) -> Tensor:
    """Order of training rows in which each batch begins with as many labelled rows as it should: (rows,).

    Both kinds are gone through in a random order, and again in another one when it ends: labelled rows, as a rule,
    many times in an epoch. At each place every row of its kind is as likely as any other.

    Args:
        strata: What a batch is made of.
        labels: Label of each training row, (rows,), -1 where there is none.
        generator: Source of the orders.

    Example:
        >>> labels = torch.tensor([-1, 1, -1, -1, 0, -1])
        >>> order = stratified_order(Strata(2, 6, 3, 1), labels, torch.Generator().manual_seed(0))
        >>> labels[order] >= 0
        tensor([ True, False, False,  True, False, False])
    """
    told = (labels != UNLABELLED).cpu()
    sizes = [min(strata.batch_size, strata.num_rows - at) for at in range(0, strata.num_rows, strata.batch_size)]
    counts = [strata.in_batch(size) for size in sizes]
    first = _again_and_again(told.nonzero().squeeze(1), sum(counts), generator)
    rest = _again_and_again((~told).nonzero().squeeze(1), strata.num_rows - sum(counts), generator)
    own = first.split(counts)
    others = rest.split([size - count for size, count in zip(sizes, counts, strict=True)])
    return torch.cat([part for both in zip(own, others, strict=True) for part in both])


def _again_and_again(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    passes = [rows[torch.randperm(len(rows), generator=generator)] for _ in range(-(-count // len(rows)))]
    return torch.cat(passes)[:count]


def _num_labelled(source: BatchSource) -> int:
    labels = source.labels
    return 0 if labels is None else int((labels["train"] != UNLABELLED).sum())
