"""What a loader returns: arrays as stored; and their division into training, validation and test rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ppgen.datasets.binarization import permutation

# The split of a user's array is part of what his numbers mean: it never depends on the seed of a
# binarisation.
SPLIT_SEED = 0
DEFAULT_FRACTION = 0.1

Size = int | float | None


@dataclass(frozen=True, eq=False)
class Source:
    """Arrays of a data set before they are divided, checked and binarised.

    A loader in the registry is a function `(root, **options) -> Source`; its options, with plain values, become those
    of `ppgen.datasets.load` and of the command line.

    Args:
        name: Name of the data set.
        arrays: Rows by split, each (N, F) or (N, height, width); `"train"` is there always.
        labels: Integer classes (N,) by split; may be empty.
        scale: Stored values are divided by it.
        packed: Eight bits a byte, as `numpy.packbits(x, axis=1)` stores them.
        shuffle: Whether the rows are put in random order before validation and test rows are cut off their
            end.
        valid_size: Validation rows cut off the training rows if no array holds them and the caller does not
            say.
        test_size: Test rows cut off the training rows if no array holds them and the caller does not say.
        integers: What whole numbers mean that stay whole numbers: `"tokens"` (places in a vocabulary), `"counts"` or
            `"levels"`; None for values that are made float32. The scale does not divide them.
        vocabulary: Tokens or levels by number, or the word that each feature counts.

    Raises:
        TypeError: If `arrays` is no mapping with the key `"train"`.
    """

    name: str
    arrays: Mapping[str, np.ndarray]
    labels: Mapping[str, np.ndarray] = field(default_factory=dict)
    scale: float = 1.0
    packed: bool = False
    shuffle: bool = False
    valid_size: int | float = DEFAULT_FRACTION
    test_size: int | float = DEFAULT_FRACTION
    integers: str | None = None
    vocabulary: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.arrays, Mapping) or "train" not in self.arrays:
            raise TypeError(f'arrays must be a mapping with the key "train", got {type(self.arrays).__name__}.')


def divide(source: Source, valid_size: Size = None, test_size: Size = None) -> dict[str, tuple[str, np.ndarray]]:
    """Array and row positions of each split.

    Rows of `"train"` become test rows (the last ones), validation rows (the last of the rest) and training
    rows, after a permutation of fixed seed where the source asks for one (rows that are not cut stay in their
    order). Splits with an array of their own stay whole.

    Args:
        source: Arrays as stored.
        valid_size: Number of rows, or fraction of the training array in (0, 1); None for the source's own.
        test_size: Number of test rows, or fraction of the training array; None for the source's own.

    Returns:
        For each split the key of its array in `source.arrays`, and its positions there, (N,) int64.

    Raises:
        ValueError: If a size is given for a split that has its own array, or no training row would be left.
    """
    total = len(source.arrays["train"])
    counts: dict[str, int] = {}
    for split, given, default in (
        ("test", test_size, source.test_size),
        ("valid", valid_size, source.valid_size),
    ):
        if split not in source.arrays:
            counts[split] = _count(f"{split}_size", default if given is None else given, total)
        elif given is not None:
            raise ValueError(
                f"{split}_size={given!r} cannot be asked for: data set {source.name!r} has its own {split} rows."
            )
    if sum(counts.values()) >= total:
        taken = " and ".join(f"{split}_size takes {count}" for split, count in counts.items())
        raise ValueError(
            f"{taken} of {total} rows of data set {source.name!r}, which leaves none to train on. Give "
            "smaller sizes, such as valid_size=0 and test_size=0."
        )
    order = np.arange(total)
    if source.shuffle and any(counts.values()):
        order = permutation(total, SPLIT_SEED)
    divided = {split: (split, np.arange(len(source.arrays[split]))) for split in source.arrays}
    for split, count in counts.items():
        divided[split] = ("train", order[len(order) - count :])
        order = order[: len(order) - count]
    divided["train"] = ("train", order)
    return divided


def _count(argument: str, size: int | float, total: int) -> int:
    if isinstance(size, (int, np.integer)) and not isinstance(size, bool) and size >= 0:
        return int(size)
    if isinstance(size, float) and 0.0 < size < 1.0:
        return max(1, int(size * total))
    raise ValueError(
        f"{argument} must be a number of rows (an int, 0 or more) or a fraction between 0 and 1, got {size!r}."
    )
