"""Ways to pair a data set: rows with labels or attributes, or some features of a row with the others."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ppgen.checks.seeding import check_seed
from ppgen.datasets.attributes import ATTRIBUTES, attributes_of
from ppgen.datasets.binarization import permutation
from ppgen.datasets.paired import SPLITS, UNLABELLED, PairedDataset

if TYPE_CHECKING:
    from ppgen.datasets.dataset import Dataset


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
    mean, scale = found["train"].mean(0), found["train"].std(0, correction=0)
    scale = scale.where(scale > 1e-6, torch.ones_like(scale))  # of images that are all alike
    found = {split: (values - mean) / scale for split, values in found.items()}
    told = f"given standardised {', '.join(ATTRIBUTES)}"
    options, moments = {"given_attributes": True}, (mean.cpu(), scale.cpu())
    return PairedDataset(data, found, None, told, options, attributes=ATTRIBUTES, moments=moments)


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
