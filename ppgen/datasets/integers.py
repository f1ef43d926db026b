"""Rows of whole numbers: what they may be, and what they stand for."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ppgen.datasets.source import Source

KINDS = ("tokens", "counts", "levels")


def check_integers(integers: str | None, binarize: str | None = None) -> None:
    """Raise ValueError unless `integers` is None or one of `KINDS`, and nothing binarises them."""
    if integers is None:
        return
    if integers not in KINDS:
        raise ValueError(f"integers must be None or one of {', '.join(map(repr, KINDS))}, got {integers!r}.")
    if binarize is not None:
        raise ValueError(
            f"integers={integers!r} keeps whole numbers as they are; binarize={binarize!r} makes bits of them."
        )


def check_source(source: Source, num_features: int) -> tuple[str, ...] | None:
    """The vocabulary of a source, after a look at what it says of whole numbers.

    Raises:
        ValueError: If the arrays are no whole numbers, or the vocabulary does not fit what the numbers are.
    """
    name, words = source.name, source.vocabulary
    if source.integers is None:
        if words is not None:
            raise ValueError(
                f"Data set {name!r} has a vocabulary: say what its numbers are by integers={_kinds()} (tokens: each "
                "number a word; counts: each feature a word)."
            )
        return None
    check_integers(source.integers)
    if source.packed:
        raise ValueError(f"packed=True holds bits, and integers={source.integers!r} whole numbers: give one of them.")
    for split, array in source.arrays.items():
        if array.dtype.kind not in "bui":
            raise ValueError(
                f"integers={source.integers!r} needs whole numbers, but the {split} array of data set {name!r} has "
                f"dtype {array.dtype}; give .astype('int64') if its values are whole."
            )
    if words is None:
        return None
    vocabulary = tuple(map(str, words))
    if not vocabulary or len(set(vocabulary)) < len(vocabulary):
        twice = next((word for word, count in Counter(vocabulary).items() if count > 1), None)
        told = "is empty" if twice is None else f"holds {twice!r} twice"
        raise ValueError(f"The vocabulary of data set {name!r} {told}: each of its words must stand for one number.")
    if source.integers == "counts" and len(vocabulary) != num_features:
        raise ValueError(
            f"Data set {name!r} counts {num_features} words a row, and its vocabulary has {len(vocabulary)}."
        )
    return vocabulary


def check_range(source: Source, split: str, low: int, high: int, vocabulary: Sequence[str] | None) -> None:
    """Raise ValueError for numbers below 0, or that the vocabulary has no word for."""
    if low < 0:
        raise ValueError(
            f"integers={source.integers!r} needs whole numbers from 0 on (below 2^63), but {split} rows of data set "
            f"{source.name!r} hold {low}."
        )
    if vocabulary is not None and source.integers != "counts" and high >= len(vocabulary):
        raise ValueError(
            f"{split} rows of data set {source.name!r} hold {high}, and its vocabulary of {len(vocabulary)} words ends "
            f"with {len(vocabulary) - 1}."
        )


def decoded(rows: Any, kind: str, vocabulary: Sequence[str], num_features: int) -> list[Any]:
    """What rows stand for; see `Dataset.decode`."""
    numbers = torch.as_tensor(rows)
    if numbers.is_floating_point() or numbers.dtype == torch.bool or numbers.dim() not in (1, 2):
        raise ValueError(
            f"rows must be whole numbers, (rows, features) or one row, got {numbers.dtype} of shape "
            f"{tuple(numbers.shape)}."
        )
    table = numbers.reshape(-1, numbers.shape[-1]).cpu().numpy()
    if kind == "counts":
        if table.shape[1] != num_features:
            raise ValueError(f"rows must hold {num_features} counts, one for each word; got {table.shape[1]}.")
        return [{vocabulary[word]: int(row[word]) for word in np.flatnonzero(row).tolist()} for row in table]
    if table.size and not 0 <= table.min() <= table.max() < len(vocabulary):
        raise ValueError(
            f"rows must hold numbers from 0 to {len(vocabulary) - 1}, of which the vocabulary has words; they range "
            f"from {table.min()} to {table.max()}."
        )
    words = [[vocabulary[number] for number in row] for row in table]
    if kind == "levels":
        return words
    between = "" if all(len(word) == 1 for word in vocabulary) else " "
    return [between.join(row) for row in words]


def _kinds() -> str:
    return " or ".join(f'"{kind}"' for kind in KINDS)
