"""A data set that is ready to be modelled: three splits, one binarisation, one checksum."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ppgen.datasets.integers import KINDS, decoded
from ppgen.datasets.paired import SPLITS, PairedDataset
from ppgen.datasets.pairings import (
    given_attributes,
    given_labels,
    split_features,
    split_quadrants,
    with_labels,
)
from ppgen.datasets.rows import Rows


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Training, validation and test rows with all that a reported likelihood must name.

    `train`, `valid` and `test` are float32 tensors (rows x features), of whole numbers int64, which a model may be
    evaluated on as they stand; for a file mapped from disk they are `Rows`, which read what is indexed and give float32
    tensors too.

    Args:
        name: Registered name, or the stem of the file, or `"array"`.
        train: (N, F). Under `"dynamic"` one fixed draw; `batch` redraws from `train_probabilities`.
        valid: (N_valid, F); may have no rows.
        test: (N_test, F); may have no rows.
        labels: Class of each row by split, int64, or None.
        image_shape: Shape of a row as an image, or None.
        mean: (F,) mean of the training rows; of the probabilities under `"dynamic"`.
        checksum: sha256 of the stored rows of the three splits, before binarisation.
        binarization: `"threshold"`, `"fixed"`, `"dynamic"`; without one, what the values are: `"binary"` (0
            and 1 as given), `"grey"` (within [0, 1]) or `"real"`; and of whole numbers that stay so `"tokens"`,
            `"counts"` or `"levels"`.
        seed: Seed of the fixed draw, or of the evaluation draw under `"dynamic"`; None otherwise.
        train_probabilities: (N, F) grey levels that training batches are drawn from under `"dynamic"`; else
            None.
        options: Options with which a registered data set was loaded; part of the checksum.
        vocabulary: Tokens or levels by number, or the word that each feature counts, where the data say so.
        num_values: How many values tokens or levels have, from 0 on; None for other data.

    Example:
        >>> from ppgen import datasets
        >>> datasets.load("digits", binarize="threshold")
        Dataset(digits (threshold binarisation): 1297 train, 200 valid, 300 test rows x 64 features,
        images 8x8)
    """

    name: str
    train: Tensor | Rows
    valid: Tensor | Rows
    test: Tensor | Rows
    labels: dict[str, Tensor] | None
    image_shape: tuple[int, ...] | None
    mean: Tensor
    checksum: str
    binarization: str
    seed: int | None = None
    train_probabilities: Tensor | Rows | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    vocabulary: tuple[str, ...] | None = None
    num_values: int | None = None

    @property
    def num_features(self) -> int:
        return self.train.shape[1]

    @property
    def num_train(self) -> int:
        return len(self.train)

    @property
    def is_binary(self) -> bool:
        """Whether every value of every split is 0 or 1."""
        return self.binarization not in ("grey", "real", *KINDS)

    @property
    def integers(self) -> str | None:
        """What whole numbers mean that stay int64: `"tokens"`, `"counts"` or `"levels"`; None for float32 data."""
        return self.binarization if self.binarization in KINDS else None

    @property
    def channels(self) -> int | None:
        """Channels of an image (channels, height, width), 1 of (height, width); None where rows are no such images."""
        shape = self.image_shape
        if shape is None or len(shape) not in (2, 3):
            return None
        last = len(shape) == 3 and shape[0] not in (1, 3) and shape[2] in (1, 3)  # as figures read it
        return 1 if len(shape) == 2 else shape[2] if last else shape[0]

    @property
    def device(self) -> torch.device:
        return self.mean.device

    def split(self, name: str) -> Tensor | Rows:
        """Rows of the split of that name.

        Raises:
            ValueError: If `name` is none of `"train"`, `"valid"`, `"test"`.
        """
        if name not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(map(repr, SPLITS))}, got {name!r}.")
        return getattr(self, name)

    def batch(self, split: str, index: Any, generator: torch.Generator | None = None) -> Tensor:
        """Rows of a split as a float32 tensor, or int64 where they are whole numbers, on the data set's device.

        Under `"dynamic"` the training rows are drawn anew at each call, x = [u < p] with u uniform.

        Args:
            split: `"train"`, `"valid"` or `"test"`.
            index: Integers (B,), a mask, or a slice.
            generator: Source of the uniforms; torch's global random state without it.

        Returns:
            (B, F) float32, or int64.

        Example:
            >>> import torch
            >>> from ppgen import datasets
            >>> digits = datasets.load("digits", binarize="dynamic")
            >>> digits.batch("train", torch.arange(5), torch.Generator().manual_seed(0)).shape
            torch.Size([5, 64])
        """
        rows = self.split(split)
        if split != "train" or self.train_probabilities is None:
            return rows[index]
        return drawn(self.train_probabilities[index], generator)

    def with_labels(self, keep: int | None = None, seed: int = 0) -> PairedDataset:
        """The data set of pairs (rows, labels), whose labels outside of `keep` are -1.

        Args:
            keep: Training rows that keep their label, chosen by `seed`: as many of each class, or one more, as far as
                a class has rows. A larger number keeps the same labels and more. None keeps all. Validation and test
                rows always keep theirs.
            seed: Seed of the choice.

        Returns:
            Data set whose `train`, `valid`, `test` are (rows (N, F), labels (N,) int64).

        Raises:
            ValueError: If the training rows have no labels, `keep` is larger than their number or leaves a class
                without a row, or a class of the other splits has no training row.
            TypeError: If `keep` is no whole number.

        Example:
            >>> import torch
            >>> from ppgen import datasets
            >>> few = datasets.load("digits").with_labels(keep=50)
            >>> x, y = few.train
            >>> x.shape, torch.bincount(y[y >= 0])
            (torch.Size([1297, 64]), tensor([5, 5, 5, 5, 5, 5, 5, 5, 5, 5]))
        """
        return with_labels(self, keep, seed)

    def given_labels(self) -> PairedDataset:
        """The data set of pairs (labels, rows), of which a model may give the rows the labels.

        Returns:
            Data set whose `train`, `valid`, `test` are (labels, one-hot (N, classes), rows (N, F)).

        Raises:
            ValueError: If rows have no labels.

        Example:
            >>> from ppgen import datasets
            >>> labels, rows = datasets.load("digits", binarize="threshold").given_labels().test
            >>> labels.shape, rows.shape
            (torch.Size([300, 10]), torch.Size([300, 64]))
        """
        return given_labels(self)

    def split_features(self, k: int) -> PairedDataset:
        """The data set of pairs (first `k` features, the others), of which a model may give the second the first.

        Args:
            k: Features of the first part, from 1 to F - 1.

        Returns:
            Data set whose `train`, `valid`, `test` are (given (N, k), rest (N, F - k)). Both parts of a row come from
            one draw of its bits.

        Raises:
            ValueError: If one of the parts would have no features.
            TypeError: If `k` is no whole number.

        Example:
            >>> from ppgen import datasets
            >>> halves = datasets.load("digits", binarize="threshold").split_features(32)
            >>> given, rest = halves.test
            >>> given.shape, rest.shape
            (torch.Size([300, 32]), torch.Size([300, 32]))
        """
        return split_features(self, k)

    def split_quadrants(self, given: int) -> PairedDataset:
        """The data set of pairs (1, 2 or 3 quadrants of images, the others), of which a model may give the second.

        The first quadrant is the lower left one; with two of them the left half is given, with three all but the upper
        right one. The upper and left halves are the smaller ones where a size is odd.

        Args:
            given: Quadrants of the first part.

        Returns:
            Data set whose `train`, `valid`, `test` are (given, rest); its `whole(given, rest)` joins them.

        Raises:
            ValueError: If `given` is none of 1, 2, 3, or the rows are no images (height, width).
            TypeError: If it is no whole number.

        Example:
            >>> from ppgen import datasets
            >>> given, rest = datasets.load("digits", binarize="threshold").split_quadrants(1).test
            >>> given.shape, rest.shape
            (torch.Size([300, 16]), torch.Size([300, 48]))
        """
        return split_quadrants(self, given)

    def given_attributes(self) -> PairedDataset:
        """The data set of pairs (ink, slant and width of images, the images), by `datasets.image_attributes`.

        Attributes are standardised: less their mean over training rows, in standard deviations, so that covariates of
        (1, 0, 0) ask for images of much ink. `attributes_of(rows)` of the pairs measures other images so. Where
        training bits are drawn anew they are those of the grey levels.

        Returns:
            Data set whose `train`, `valid`, `test` are (attributes (N, 3), rows (N, F)).

        Raises:
            ValueError: If the rows are no images (height, width) of levels of at least 0.

        Example:
            >>> from ppgen import datasets
            >>> attributes, rows = datasets.load("digits", binarize="threshold").given_attributes().test
            >>> attributes.shape, rows.shape
            (torch.Size([300, 3]), torch.Size([300, 64]))
        """
        return given_attributes(self)

    def to(self, device: torch.device | str) -> "Dataset":
        """Data set with its tensors on `device`; mapped rows stay on disk, batches are moved."""
        labels = self.labels and {split: values.to(device) for split, values in self.labels.items()}
        probabilities = self.train_probabilities
        return replace(
            self,
            train=self.train.to(device),
            valid=self.valid.to(device),
            test=self.test.to(device),
            labels=labels,
            mean=self.mean.to(device),
            train_probabilities=None if probabilities is None else probabilities.to(device),
        )

    def decode(self, rows: Any) -> list[Any]:
        """What rows of whole numbers stand for, by the vocabulary.

        Args:
            rows: Whole numbers (B, F), or one row (F,): of this data set, or drawn from a model of it.

        Returns:
            For each row: of tokens a text (without blanks where all are single characters); of counts the words that
            occur, with their numbers; of levels the list of their names.

        Raises:
            ValueError: If there is no vocabulary, or rows hold something else.

        Example:
            >>> import torch
            >>> from ppgen import datasets
            >>> texts = {"train": torch.tensor([[2, 0, 1], [0, 1, 1]]), "vocabulary": ["a", "b", "c"]}
            >>> data = datasets.load(texts, integers="tokens", valid_size=0, test_size=0)
            >>> data.train.dtype, data.decode(data.train)
            (torch.int64, ['cab', 'abb'])
        """
        if self.integers is None or self.vocabulary is None:
            raise ValueError(
                f"decode needs a vocabulary, and data set {self.name!r} has none: give it beside the rows, as in "
                "datasets.load({'train': rows, 'vocabulary': words}, integers=\"tokens\")."
            )
        return decoded(rows, self.integers, self.vocabulary, self.num_features)

    def describe(self) -> str:
        """Name and binarisation in the words that stand beside a reported likelihood.

        Example:
            >>> from ppgen import datasets
            >>> datasets.load("digits", binarize="dynamic", seed=3).describe()
            'digits (dynamic binarisation, evaluation draw of seed 3)'
        """
        wording = {
            "binary": "binary as given",
            "grey": "grey levels, not binarised",
            "real": "real values",
            **{kind: kind for kind in KINDS},
            "threshold": "threshold binarisation",
            "fixed": f"fixed binarisation, seed {self.seed}",
            "dynamic": f"dynamic binarisation, evaluation draw of seed {self.seed}",
        }
        told = "".join(f", {name} {value}" for name, value in self.options.items())
        return f"{self.name} ({wording[self.binarization]}{told})"

    def __repr__(self) -> str:
        sizes = ", ".join(f"{len(self.split(split))} {split}" for split in SPLITS)
        images = f", images {'x'.join(map(str, self.image_shape))}" if self.image_shape else ""
        return f"Dataset({self.describe()}: {sizes} rows x {self.num_features} features{images})"


def drawn(probabilities: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Bits of grey levels, x = [u < p], on the device of the grey levels.

    Args:
        probabilities: (B, F) in [0, 1].
        generator: Source of the uniforms; torch's global random state without it.

    Returns:
        (B, F) of the same type.

    Example:
        >>> drawn(torch.tensor([[0.0, 1.0]]))
        tensor([[0., 1.]])
    """
    # A generator draws on its own device only: CPU uniforms of a seed serve a data set on any device.
    where = probabilities.device if generator is None else generator.device
    u = torch.rand(probabilities.shape, dtype=probabilities.dtype, device=where, generator=generator)
    return (u.to(probabilities.device) < probabilities).to(probabilities.dtype)
