"""Data of the benchmarks of autoregressive models."""

from typing import Any

import torch

from benchmarks.jobs import Job
from benchmarks.undirected.measure import data_file
from ppgen import datasets

FIXED_BITS = "mnist_fixed_binarized.npz"
FEW = {"train": 128, "valid": 32, "test": 32}
"""Rows of a trial."""


def fixed_bits(job: Job, valid_size: int) -> datasets.Dataset:
    """MNIST whose bits were drawn once from its grey levels; in a trial small digits, cut at a threshold.

    It is one fixed draw of its own, and neither the bits nor the split of Larochelle and Murray (2011).
    """
    if job.quick:
        return few(datasets.load("digits", binarize="threshold"))
    path = data_file(FIXED_BITS, job.data_dir)
    return datasets.load(path, packed=True, num_features=784, image_shape=(28, 28), valid_size=valid_size)


def half_size(images: datasets.Dataset) -> datasets.Dataset:
    """Bits of images of half of the rows and columns: whether the mean of four pixels is above a half."""
    rows, columns = images.image_shape or (0, 0)
    parts: dict[str, Any] = {
        split: torch.as_tensor(images.split(split)[:])
        .reshape(-1, rows // 2, 2, columns // 2, 2)
        .mean((2, 4))
        .gt(0.5)
        .float()
        for split in FEW
    }
    return datasets.load(parts)


def few(data: datasets.Dataset) -> datasets.Dataset:
    """A small part of a data set, of the same image shape and labels, for a trial."""
    parts: dict[str, Any] = {split: data.split(split)[:count] for split, count in FEW.items()}
    if data.labels is not None:
        parts |= {f"{split}_labels": data.labels[split][:count] for split, count in FEW.items()}
    kind: Any = data.integers
    return datasets.load(parts, image_shape=data.image_shape, integers=kind)
