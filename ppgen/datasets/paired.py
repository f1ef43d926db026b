"""Data sets of pairs: rows with their labels, or some features of a row with the others."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ppgen.checks.arguments import check_count
from ppgen.checks.seeding import check_seed
from ppgen.datasets.attributes import ATTRIBUTES, attributes_of
from ppgen.datasets.binarization import permutation

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
        batch = torch.broadcast_shapes(given.shape[:-1], rest.shape[:-1])
        both = torch.cat([given.expand(*batch, -1), rest.expand(*batch, -1)], -1)
        return both[..., torch.cat(self._parts).argsort().to(both.device)]

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


def with_labels(data: "Dataset", keep: int | None, seed: int) -> PairedDataset:
    """Rows and their labels; see `Dataset.with_labels`."""
    seed = check_seed(seed)
    _check_labelled(data, "with_labels")
    held = data.labels or {}
    train = held["train"]
    labels = {
        split: held.get(split, torch.full((len(data.split(split)),), UNLABELLED, device=train.device))
        for split in SPLITS
    }
    if keep is None:
        return PairedDataset(data, labels, None, "with labels", {"with_labels": "all"})
    kept = _balanced(data, keep, seed).to(train.device)
    labels["train"] = torch.full_like(train, UNLABELLED).index_copy(0, kept, train[kept])
    told = f"with labels of {keep} training rows, seed {seed}"
    return PairedDataset(data, labels, None, told, {"with_labels": int(keep), "labels_seed": seed})


def _check_labelled(data: "Dataset", method: str) -> None:
    """Raise unless the training rows have labels."""
    if data.labels is None or "train" not in data.labels:
        others = " (only " + ", ".join(data.labels) + " rows have)" if data.labels else ""
        raise ValueError(
            f"{method} needs labels, and the training rows of data set {data.name!r} have none{others}. Give them "
            "beside the rows: datasets.load({'train': rows, 'train_labels': labels})."
        )


def given_labels(data: "Dataset") -> PairedDataset:
    """One-hot labels and rows; see `Dataset.given_labels`."""
    _check_labelled(data, "given_labels")
    paired = with_labels(data, None, 0)
    for split, values in (paired.labels or {}).items():
        if bool((values == UNLABELLED).any()):
            raise ValueError(
                f"given_labels needs the label of every row, and the {split} rows of data set {data.name!r} have none."
            )
    classes = 1 + max(int(values.max()) for values in (paired.labels or {}).values() if len(values))
    told = f"given labels of {classes} classes"
    return replace(paired, pairing=told, options={"given_labels": classes}, classes=classes)


def split_features(data: "Dataset", k: int) -> PairedDataset:
    """The first features and the others; see `Dataset.split_features`."""
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)):
        raise TypeError(f"k must be a whole number of features, got {k!r}.")
    if not 0 < k < data.num_features:
        raise ValueError(
            f"k must be from 1 to {data.num_features - 1}, so that both parts of the {data.num_features} features of "
            f"data set {data.name!r} have some; got {k}."
        )
    return PairedDataset(data, None, int(k), f"features split after {k}", {"split_features": int(k)})


def split_quadrants(data: "Dataset", given: int) -> PairedDataset:
    """Some quadrants of images and the others; see `Dataset.split_quadrants`."""
    if isinstance(given, bool) or not isinstance(given, (int, np.integer)):
        raise TypeError(f"given must be a whole number of quadrants, 1, 2 or 3; got {given!r}.")
    if not 1 <= given <= 3:
        raise ValueError(f"given must be 1, 2 or 3 of the four quadrants, got {given}.")
    height, width = _plane(data, "split_quadrants")
    if min(height, width) < 2:
        raise ValueError(f"split_quadrants needs images of two rows and columns or more, got {height} x {width}.")
    lower = (torch.arange(height) >= height // 2)[:, None].expand(height, width)
    left = (torch.arange(width) < width // 2).expand(height, width)
    chosen = lower & left
    if given > 1:
        chosen = chosen | left
    if given > 2:
        chosen = chosen | lower
    positions = chosen.flatten().nonzero().flatten()
    count = f"{given} quadrant{'s' if given > 1 else ''}"
    options = {"split_quadrants": int(given)}
    return PairedDataset(data, None, len(positions), f"{count} given", options, given=positions)


def given_attributes(data: "Dataset") -> PairedDataset:
    """Attributes of images and the images; see `Dataset.given_attributes`."""
    shape = _plane(data, "given_attributes")
    found = {
        split: attributes_of(
            data.train_probabilities
            if split == "train" and data.train_probabilities is not None
            else data.split(split),
            shape,
        ).to(data.device)
        for split in SPLITS
    }
    told = f"given {', '.join(ATTRIBUTES)}"
    return PairedDataset(data, found, None, told, {"given_attributes": True}, attributes=ATTRIBUTES)


def _plane(data: "Dataset", method: str) -> tuple[int, int]:
    """Height and width of the images of a data set."""
    shape = data.image_shape
    if shape is None or len(shape) != 2 or data.integers is not None:
        raise ValueError(
            f"{method} needs images (height, width) of grey levels or bits, and data set {data.name!r} has image_shape "
            f"{shape}. Say it where the data are loaded: datasets.load(rows, image_shape=(28, 28))."
        )
    return shape[0], shape[1]


def _balanced(data: "Dataset", keep: int, seed: int) -> Tensor:
    """Positions of training rows of which as many as possible are of each class, sorted.

    Each class gives its first row in a random order, then each its second, and so on: a larger `keep` keeps the same
    rows, and more.
    """
    labels = data.labels or {}
    train = labels["train"].cpu().numpy()
    classes, index = np.unique(train, return_inverse=True)
    if isinstance(keep, bool) or not isinstance(keep, (int, np.integer)):
        raise TypeError(f"keep must be a whole number of training rows, or None for all; got {keep!r}.")
    if keep > len(train):
        raise ValueError(f"keep={keep} is more than the {len(train)} training rows of data set {data.name!r}.")
    if keep < len(classes):
        raise ValueError(
            f"keep={keep} leaves classes without a row: data set {data.name!r} has {len(classes)}. Give keep="
            f"{len(classes)} or more, or None for all labels."
        )
    for split, values in labels.items():
        absent = np.setdiff1d(values.cpu().numpy(), classes)
        if len(absent):
            raise ValueError(
                f"Labels cannot be balanced: class {absent[0]} of the {split} labels of data set {data.name!r} has no "
                "training row. Leave its rows out, or give keep=None."
            )
    shuffled = permutation(len(train), seed)
    of_class = index[shuffled]
    order = np.argsort(of_class, kind="stable")
    counts = np.bincount(of_class)
    rank = np.empty(len(train), dtype=np.int64)
    rank[order] = np.arange(len(train)) - np.repeat(np.cumsum(counts) - counts, counts)
    turn = np.argsort(permutation(len(classes), seed))  # which class comes first where keep is no multiple
    chosen = shuffled[np.lexsort((turn[of_class], rank))[:keep]]
    return torch.from_numpy(np.sort(chosen))
