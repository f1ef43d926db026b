"""From stored arrays to a `Dataset`: divided, checked and binarised in one pass of bounded memory."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppgen.datasets.binarization import binarized, stream_seed
from ppgen.datasets.dataset import SPLITS, Dataset
from ppgen.datasets.integers import check_integers, check_range, check_source
from ppgen.datasets.loader_options import digested
from ppgen.datasets.rows import Rows, is_mapped
from ppgen.datasets.source import Size, Source, divide


def build(
    source: Source,
    *,
    options: Mapping[str, Any] | None = None,
    binarize: str | None = None,
    seed: int = 0,
    valid_size: Size = None,
    test_size: Size = None,
    num_features: int | None = None,
    image_shape: tuple[int, ...] | None = None,
) -> Dataset:
    """Data set of a source's rows; `options` are those of its loader, the other arguments those of `load`."""
    features = _num_features(source, num_features)
    shape = _image_shape(source, image_shape, features)
    divided = divide(source, valid_size, test_size)
    vocabulary = check_source(source, features)
    check_integers(source.integers, binarize)
    method = "fixed" if binarize == "dynamic" else binarize
    rows = {
        split: Rows(
            source.arrays[divided[split][0]],
            divided[split][1],
            scale=source.scale,
            num_bits=features if source.packed else None,
            method=method,
            stream=stream_seed(seed, split),
            integers=source.integers is not None,
        )
        for split in SPLITS
    }
    survey = Survey(source, binarize, vocabulary)
    splits: dict[str, Tensor | Rows] = {
        split: survey.read(split, rows[split], _array(source, divided[split][0])) for split in SPLITS
    }
    probabilities: Tensor | Rows | None = None
    if binarize == "dynamic":
        grey = replace(rows["train"], method=None)
        probabilities = grey if is_mapped(grey.array) else grey[:]
    survey.digest.update(digested(options or {}))
    if source.integers is not None:
        survey.digest.update(repr((source.integers, vocabulary)).encode())
    return Dataset(
        name=source.name,
        train=splits["train"],
        valid=splits["valid"],
        test=splits["test"],
        labels=_labels(source, divided),
        image_shape=shape,
        mean=survey.mean,
        checksum=survey.digest.hexdigest(),
        binarization=binarize or survey.kind,
        seed=seed if binarize in ("fixed", "dynamic") else None,
        train_probabilities=probabilities,
        options=dict(options or {}),
        vocabulary=vocabulary,
        num_values=survey.num_values,
    )


class Survey:
    """One pass over the rows of all splits: checks their values, digests them, adds up the training mean.

    Args:
        source: The data set.
        binarize: Binarisation asked for; with one, values must be in [0, 1].
        vocabulary: Words of whole numbers, if there are any.
    """

    def __init__(self, source: Source, binarize: str | None, vocabulary: tuple[str, ...] | None) -> None:
        self.source, self.binarize, self.vocabulary = source, binarize, vocabulary
        self.name = source.name
        self.digest = hashlib.sha256()
        self.low, self.high, self.bits = math.inf, -math.inf, True
        self.mean = torch.empty(0)

    @property
    def kind(self) -> str:
        """What the values are, when nothing binarises them."""
        if self.source.integers is not None:
            return self.source.integers
        if self.bits:
            return "binary"
        return "grey" if self.low >= 0.0 and self.high <= 1.0 else "real"

    @property
    def num_values(self) -> int | None:
        """How many values tokens or levels have: from 0 on, of the vocabulary or of the rows."""
        if self.source.integers not in ("tokens", "levels"):
            return None
        return int(self.high) + 1 if self.vocabulary is None else len(self.vocabulary)

    def read(self, split: str, rows: Rows, array: str) -> Tensor | Rows:
        """The rows as a float32 or int64 tensor, or the same `Rows` if they are mapped from disk.

        Args:
            split: Split that they are of.
            rows: What to read.
            array: What messages call the array that holds them.

        Raises:
            ValueError: If a value is not finite, or outside [0, 1] although a binarisation is asked for.
        """
        values = None if is_mapped(rows.array) else torch.empty(rows.shape, dtype=rows.dtype)
        total = np.zeros(rows.num_features)
        self.digest.update(f"{split}:{rows.array.dtype.str}:{len(rows)}x{rows.num_features}".encode())
        for positions in rows.chunks():
            stored = rows.stored(positions)
            self.digest.update(np.ascontiguousarray(stored).data)
            grey = rows.grey(stored)
            if rows.integers:
                check_range(self.source, split, int(grey.min()), int(grey.max()), self.vocabulary)
                self.high = max(self.high, int(grey.max()))
            else:
                self._check(array, rows, grey, positions)
            bits = binarized(grey, rows.method, rows.stream, positions)
            if split == "train":
                # Under "dynamic" the mean of what batches are drawn from, not of one draw.
                total += (grey if self.binarize == "dynamic" else bits).sum(axis=0, dtype=np.float64)
            if values is not None:
                values[positions[0] : positions[-1] + 1] = torch.from_numpy(bits)
        if split == "train":
            self.mean = torch.from_numpy((total / len(rows)).astype(np.float32))
        return rows if values is None else values

    def _check(self, array: str, rows: Rows, grey: np.ndarray, positions: np.ndarray) -> None:
        low, high = float(grey.min()), float(grey.max())  # a NaN goes through both
        if not (math.isfinite(low) and math.isfinite(high)):
            row, feature = (int(first) for first in np.argwhere(~np.isfinite(grey))[0])
            raise ValueError(
                f"Data set {self.name!r} holds {grey[row, feature]} at row {rows.index[positions[row]]}, "
                f"feature {feature} of {array}. All values must be finite float32 numbers: remove or impute "
                "such rows."
            )
        if self.binarize is not None and (low < 0.0 or high > 1.0):
            low, high = float(rows.array.min()), float(rows.array.max())
            pixels = 0.0 <= low and 16.0 < high <= 255.0  # or a scale of its own: 255 would make it almost black
            remedy = "Divide it by 255" if pixels else "Rescale it to [0, 1]"
            raise ValueError(
                f"binarize={self.binarize!r} needs values in [0, 1], but those of data set {self.name!r} "
                f"span [{low:g}, {high:g}]. {remedy} first."
            )
        self.low, self.high = min(self.low, low), max(self.high, high)
        self.bits = self.bits and bool(np.all((grey == 0.0) | (grey == 1.0)))


def _array(source: Source, key: str) -> str:
    """The array of a source by its key, if there are several: the rows of one may be those of several splits."""
    return f"the {key} array" if len(source.arrays) > 1 else "the array"


def _num_features(source: Source, expected: int | None) -> int:
    found: dict[str, int] = {}
    for split, array in source.arrays.items():
        what = f"The {split} array of data set {source.name!r}"
        if not 2 <= array.ndim <= 4:
            raise ValueError(
                f"{what} has shape {tuple(array.shape)}; expected rows x features, or rows x height x width."
            )
        if array.size == 0:
            raise ValueError(f"{what} is empty: its shape is {tuple(array.shape)}.")
        found[split] = math.prod(array.shape[1:])
    if len(set(found.values())) > 1:
        sizes = ", ".join(f"{split} {size}" for split, size in found.items())
        raise ValueError(f"The splits of data set {source.name!r} differ in their number of features: {sizes}.")
    stored = next(iter(found.values()))
    if source.packed:
        wrong = [split for split, array in source.arrays.items() if array.dtype != np.uint8 or array.ndim != 2]
        if wrong:
            raise ValueError(
                f"packed=True needs uint8 rows x bytes, but the {wrong[0]} array of data set {source.name!r} "
                f"has dtype {source.arrays[wrong[0]].dtype} and shape {tuple(source.arrays[wrong[0]].shape)}."
            )
        if expected is not None and not 8 * (stored - 1) < expected <= 8 * stored:
            raise ValueError(
                f"num_features={expected} does not fit data set {source.name!r}: {stored} bytes a row hold "
                f"{8 * stored - 7} to {8 * stored} packed bits."
            )
        return 8 * stored if expected is None else expected
    if expected is not None and stored != expected:
        packed = stored == -(-expected // 8) and all(array.dtype == np.uint8 for array in source.arrays.values())
        hint = " If its bytes hold eight bits each, give packed=True." if packed else ""
        raise ValueError(f"Data set {source.name!r} has {stored} features a row, expected {expected}.{hint}")
    return stored


def _image_shape(source: Source, given: tuple[int, ...] | None, num_features: int) -> tuple[int, ...] | None:
    if given is not None:
        if not all(isinstance(size, (int, np.integer)) and not isinstance(size, bool) and size > 0 for size in given):
            raise ValueError(f"image_shape must hold positive whole numbers, such as (28, 28), got {tuple(given)}.")
        if math.prod(given) != num_features:
            raise ValueError(
                f"image_shape={tuple(given)} has {math.prod(given)} pixels, a row {num_features} features."
            )
        return tuple(int(size) for size in given)
    shape = source.arrays["train"].shape[1:]
    return tuple(int(size) for size in shape) if len(shape) > 1 else None


def _labels(source: Source, divided: dict[str, tuple[str, np.ndarray]]) -> dict[str, Tensor] | None:
    labels = {}
    for split in SPLITS:
        key, positions = divided[split]
        if key not in source.labels:
            continue
        values = source.labels[key]
        if values.shape != (len(source.arrays[key]),):
            raise ValueError(
                f"The {key} labels of data set {source.name!r} have shape {tuple(values.shape)}, expected "
                f"one for each of its {len(source.arrays[key])} rows."
            )
        if values.dtype.kind not in "bui":
            raise ValueError(f"The {key} labels of data set {source.name!r} must be integers, got {values.dtype}.")
        if values.dtype.kind == "i" and values.size and values.min() < 0:
            row = int((values < 0).argmax())
            raise ValueError(
                f"The {key} labels of data set {source.name!r} must be classes from 0 on, got {values[row]} at row "
                f"{row}. Leave rows without a class out of the labelled array."
            )
        labels[split] = torch.from_numpy(values[positions].astype(np.int64))
    return labels or None
