"""Data sets of pairs: rows with their labels, or some features of a row with the others."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ppgen.checks.arguments import check_count
from ppgen.checks.shapes import broadcast_shapes
from ppgen.datasets.attributes import image_attributes

if TYPE_CHECKING:
    from ppgen.datasets.dataset import Dataset

SPLITS = ("train", "valid", "test")
UNLABELLED = -1
"""Label of a row whose class is not told."""


@dataclass(frozen=True, eq=False, repr=False)
class PairedDataset:
    """A `Dataset` whose `train`, `valid` and `test` are tuples of tensors, which programs take as two arguments.

    `Dataset.with_labels`, `Dataset.given_labels`, `Dataset.given_attributes`, `Dataset.split_features` and
    `Dataset.split_quadrants` make them. Validation rows, binarisation (under `"dynamic"` bits are drawn anew for each
    training batch), checksum and configuration are those of a `Dataset`.

    Args:
        rows: The data set as it was; what models learn about the data before training, they learn from it.
        labels: Label of each row by split, int64 (N,), -1 where there is none, or its attributes, (N, attributes); None
            where features are split.
        num_given: Features that come first in a pair; None where rows have labels.
        pairing: The pairs in a few words.
        options: How they are made: `with_labels` and `labels_seed`, `given_labels`, `given_attributes`,
            `split_features` or `split_quadrants`.
        classes: Number of classes where labels come first, one-hot, and the rows are what is modelled given them.
        labelled_in_batch: Labelled rows of each training batch; None where batches are drawn from all rows alike.
        attributes: Names of the attributes where those come first, and the rows are what is modelled given them.
        given: Positions of the features that come first, int64, the others in their order; None for the first ones.
        moments: Mean and standard deviation of the attributes of training rows, by which they are standardised.
    """

    rows: "Dataset"
    labels: dict[str, Tensor] | None
    num_given: int | None
    pairing: str
    options: Mapping[str, Any] = field(default_factory=dict)
    classes: int | None = None
    labelled_in_batch: int | None = None
    attributes: tuple[str, ...] | None = None
    given: Tensor | None = None
    moments: tuple[Tensor, Tensor] | None = None

    @property
    def train(self) -> tuple[Any, ...]:
        return self.split("train")

    @property
    def valid(self) -> tuple[Any, ...]:
        return self.split("valid")

    @property
    def test(self) -> tuple[Any, ...]:
        return self.split("test")

    @property
    def name(self) -> str:
        return self.rows.name

    @property
    def num_features(self) -> int:
        """Features of a whole row."""
        return self.rows.num_features

    @property
    def num_train(self) -> int:
        return self.rows.num_train

    @property
    def image_shape(self) -> tuple[int, ...] | None:
        return self.rows.image_shape

    @property
    def binarization(self) -> str:
        return self.rows.binarization

    @property
    def seed(self) -> int | None:
        return self.rows.seed

    @property
    def device(self) -> torch.device:
        return self.rows.device

    @property
    def checksum(self) -> str:
        """sha256 of the checksum of the rows and of how they are paired, with the labels."""
        digest = hashlib.sha256(f"{self.rows.checksum}{self.pairing}".encode())
        for split in SPLITS if self.labels is not None else ():
            digest.update(self.beside(split)[0].cpu().numpy().tobytes())
        return digest.hexdigest()

    def num_rows(self, split: str) -> int:
        """Pairs of a split."""
        return len(self.rows.split(split))

    def split(self, name: str) -> tuple[Any, ...]:
        """Pairs of the split of that name: tensors, or `Rows` where the file is mapped from disk.

        Raises:
            ValueError: If `name` is none of `"train"`, `"valid"`, `"test"`.
        """
        rows = self.rows.split(name)
        if isinstance(rows, Tensor):
            return self.assembled([rows, *self.beside(name)])
        if self.num_given is None:
            return self.assembled([rows, *self.beside(name)])
        first, second = self._parts
        return rows.chosen(first.numpy()), rows.chosen(second.numpy())

    def beside(self, split: str) -> list[Tensor]:
        """What stands beside the rows of a split, one entry a row: their labels, or nothing."""
        return [] if self.labels is None else [self.labels[split]]

    def assembled(self, leaves: Sequence[Any]) -> tuple[Any, ...]:
        """Pairs of whole rows, (B, F), and of what stands beside them."""
        if self.classes is not None:
            return torch.eye(self.classes, device=leaves[1].device)[leaves[1]], leaves[0]
        if self.attributes is not None:
            return leaves[1], leaves[0]
        if self.num_given is None:
            return tuple(leaves)
        if self.given is not None:
            first, second = (part.to(leaves[0].device) for part in self._parts)
            return leaves[0][:, first], leaves[0][:, second]
        given, rest = leaves[0].split([self.num_given, leaves[0].shape[1] - self.num_given], dim=1)
        return given.contiguous(), rest.contiguous()

    @cached_property
    def _parts(self) -> tuple[Tensor, Tensor]:
        """Positions of the features that come first, and of the others."""
        given = torch.arange(self.num_given or 0) if self.given is None else self.given
        rest = torch.ones(self.num_features, dtype=torch.bool).index_fill(0, given, False)
        return given, rest.nonzero().flatten()

    def whole(self, given: Tensor, rest: Tensor) -> Tensor:
        """Whole rows (..., F) of the two parts of their features, (..., k) and (..., F - k), as `split` gave them.

        Raises:
            ValueError: If no features are split, or a part has another number of them.

        Example:
            >>> import torch
            >>> from ppgen import datasets
            >>> pairs = datasets.load("digits", binarize="threshold").split_quadrants(1)
            >>> torch.equal(pairs.whole(*pairs.test), pairs.rows.test)
            True
        """
        sizes = [len(part) for part in self._parts]
        if self.num_given is None or [given.shape[-1], rest.shape[-1]] != sizes:
            wanted = "of split features" if self.num_given is None else f"of {sizes[0]} and {sizes[1]} features"
            raise ValueError(f"Parts must be {wanted}, got {given.shape[-1]} and {rest.shape[-1]} ({self.pairing}).")
        batch = broadcast_shapes(given.shape[:-1], rest.shape[:-1])
        both = torch.cat([given.expand(*batch, -1), rest.expand(*batch, -1)], -1)
        return both[..., torch.cat(self._parts).argsort().to(both.device)]

    def attributes_of(self, rows: Tensor) -> Tensor:
        """Attributes of images, (B, F), as those of these pairs are standardised: (B, attributes).

        Raises:
            TypeError: If the rows are no tensor.
            ValueError: If the pairs have no attributes, or the rows are no images of their size.

        Example:
            >>> from ppgen import datasets
            >>> pairs = datasets.load("digits", binarize="threshold").given_attributes()
            >>> attributes, rows = pairs.test
            >>> bool((pairs.attributes_of(rows) - attributes).abs().max() < 1e-4)
            True
        """
        if self.moments is None or self.image_shape is None:
            raise ValueError(f"attributes_of is for pairs of data.given_attributes(), not {self.describe()}.")
        found = image_attributes(rows, self.image_shape)
        mean, scale = (each.to(found.device) for each in self.moments)
        return (found - mean) / scale

    def batch(self, split: str, index: Any, generator: torch.Generator | None = None) -> tuple[Tensor, ...]:
        """Pairs of a split as tensors; arguments and draws are those of `Dataset.batch`."""
        return self.assembled([self.rows.batch(split, index, generator), *(each[index] for each in self.beside(split))])

    def to(self, device: torch.device | str) -> "PairedDataset":
        """Data set of pairs with its tensors on `device`."""
        return self.over(self.rows.to(device))

    def over(self, rows: "Dataset") -> "PairedDataset":
        """Data set of these pairs over rows that were moved, with the labels moved to them."""
        labels = self.labels and {split: values.to(rows.device) for split, values in self.labels.items()}
        return replace(self, rows=rows, labels=labels)

    def stratified(self, labelled: int) -> "PairedDataset":
        """Pairs of which each training batch holds a given number of labelled rows.

        Labelled rows come first in a batch and are drawn again and again, as there are few; means over rows weigh both
        kinds so that they stay those over the data, outside of any logarithm.

        Args:
            labelled: Labelled rows of a batch, fewer than `batch_size`; of a smaller last one in proportion.

        Raises:
            TypeError: If `labelled` is no whole number.
            ValueError: If it is less than 1, the pairs are no rows with labels, or all or none of the rows have one.

        Example:
            >>> from ppgen import datasets
            >>> datasets.load("digits").with_labels(keep=50).stratified(20).labelled_in_batch
            20
        """
        check_count("labelled", labelled)
        if self.labels is None or self.classes is not None or self.attributes is not None:
            raise ValueError(
                "stratified batches hold rows with a label and rows without, data.with_labels(keep=...); these are "
                f"others ({self.describe()})."
            )
        train = self.labels["train"]
        if not 0 < (told := int((train != UNLABELLED).sum())) < len(train):
            raise ValueError(
                f"stratified batches hold rows with a label and rows without, and {told} of {len(train)} training rows "
                "have one. Keep the labels of some: data.with_labels(keep=...)."
            )
        pairing = f"{self.pairing}, {labelled} in each batch"
        options = {**self.options, "labelled_in_batch": int(labelled)}
        return replace(self, pairing=pairing, options=options, labelled_in_batch=int(labelled))

    def describe(self) -> str:
        """Name, binarisation and pairing, as they stand beside a reported value."""
        return f"{self.rows.describe()}, {self.pairing}"

    def __repr__(self) -> str:
        return f"Paired{self.rows!r}".removesuffix(")") + f"; {self.pairing})"
