"""Tests of data sets of pairs: rows with labels, and features that are split."""

import re

import numpy as np
import pytest
import torch

from ppgen import datasets

SEEDS = range(4)


def labelled(counts: dict[int, int], seed: int = 0) -> datasets.Dataset:
    """Rows that name themselves, with so many of each class, in random order."""
    values = np.repeat(list(counts), list(counts.values()))
    order = np.random.default_rng(seed).permutation(len(values))
    rows = np.arange(len(values), dtype=np.float32)[:, None].repeat(3, axis=1)
    return datasets.load({"train": rows, "train_labels": values[order]}, valid_size=0, test_size=0)


@pytest.mark.parametrize("keep", [None, 50])
def test_labels_stand_beside_their_rows_in_every_split(keep: int | None) -> None:
    """Catches rows out of step with their labels, splits without labels, and labels that are no int64."""
    digits = datasets.load("digits")
    data = digits.with_labels(keep=keep)
    for split in ("train", "valid", "test"):
        x, y = getattr(data, split)
        assert x.equal(digits.split(split)) and y.dtype == torch.int64
        known = y >= 0
        assert y[known].equal(digits.labels[split][known])
        assert known.sum() == (keep if keep and split == "train" else len(x))
        assert (y[~known] == -1).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_kept_labels_are_as_balanced_as_they_can_be(seed: int) -> None:
    """Catches a choice that forgets a class or gives one more than its turn, and one that has no seed."""
    counts = {0: 40, 3: 2, 7: 30, 9: 9}
    data = labelled(counts, seed)
    previous: set[int] = set()
    for keep in (4, 7, 10, 33, 60, 81):
        y = data.with_labels(keep=keep, seed=seed).train[1]
        found = {label: int((y == label).sum()) for label in counts}
        assert sum(found.values()) == keep
        most = max(found.values())
        assert all(found[label] >= min(counts[label], most - 1) for label in counts), found
        kept = set((y >= 0).nonzero().flatten().tolist())
        assert previous <= kept  # more labels are the same ones and others
        previous = kept
    again, other = data.with_labels(keep=20, seed=seed), data.with_labels(keep=20, seed=seed + 1)
    assert again.train[1].equal(data.with_labels(keep=20, seed=seed).train[1])
    assert not again.train[1].equal(other.train[1]) and again.checksum != other.checksum


def test_labels_that_cannot_be_kept_are_refused_by_name() -> None:
    """Catches numbers of labels that silently leave a class, or the request, unfulfilled."""
    data = labelled({0: 5, 1: 3, 4: 2})
    refused = [
        (ValueError, "keep=11 is more than the 10 training rows", {"keep": 11}),
        (ValueError, "keep=2 leaves classes without a row", {"keep": 2}),
        (ValueError, "keep=0 leaves classes without a row", {"keep": 0}),
        (TypeError, "keep must be a whole number", {"keep": 5.0}),
        (TypeError, "keep must be a whole number", {"keep": True}),
        (ValueError, "seed must be", {"keep": 5, "seed": -1}),
    ]
    for error, message, options in refused:
        with pytest.raises(error, match=re.escape(message)):
            data.with_labels(**options)
    rows = np.eye(4)
    with pytest.raises(ValueError, match="training rows of data set 'array' have none"):
        datasets.as_dataset(rows).with_labels()
    tested = datasets.load({"train": rows, "test": rows, "test_labels": np.arange(4)}, valid_size=0)
    with pytest.raises(ValueError, match=r"have none \(only test rows have\)"):
        tested.with_labels(keep=2)
    absent = datasets.load(
        {"train": rows, "train_labels": [0, 1, 0, 1] @ np.eye(4, dtype=int), "test": rows, "test_labels": np.arange(4)},
        valid_size=0,
    )
    with pytest.raises(ValueError, match="class 2 of the test labels .* has no training row"):
        absent.with_labels(keep=2)
    assert absent.with_labels().test[1].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("k", [1, 32, 63])
@pytest.mark.parametrize("method", [None, "threshold", "fixed", "dynamic"])
def test_features_that_are_split_are_those_of_one_row(k: int, method: str | None) -> None:
    """Catches halves of different draws or rows, and a part that is lost."""
    digits = datasets.load("digits", binarize=method)
    halves = digits.split_features(k)
    for split in ("train", "valid", "test"):
        given, rest = halves.split(split)
        assert given.shape[1] == k and torch.cat([given, rest], 1).equal(digits.split(split))
    index = torch.tensor([3, 1, 700])
    first, again = (torch.Generator().manual_seed(1) for _ in range(2))
    assert torch.cat(halves.batch("train", index, first), 1).equal(digits.batch("train", index, again))
    assert halves.test[0][:3].equal(digits.test[:3, :k])


@pytest.mark.parametrize("k", [0, -1, 64, 65])
def test_a_split_without_features_on_one_side_is_refused(k: int) -> None:
    """Catches a conditional model of nothing, or given nothing."""
    with pytest.raises(ValueError, match=rf"k must be from 1 to 63.* got {k}"):
        datasets.load("digits").split_features(k)
    with pytest.raises(TypeError, match="whole number"):
        datasets.load("digits").split_features(3.0)


@pytest.mark.parametrize("method", [None, "fixed", "dynamic"])
def test_pairs_of_a_mapped_file_are_those_of_one_in_memory(method: str | None, tmp_path) -> None:
    """Catches a mapped file that is read whole, or drawn by the features that are given instead of whole rows."""
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((40, 6), dtype=np.float32))
    held, mapped = (
        datasets.load(tmp_path / "x.npy", binarize=method, memory_map=on).split_features(2) for on in (False, True)
    )
    assert held.checksum == mapped.checksum
    for split in ("train", "valid", "test"):
        for one, other in zip(held.split(split), mapped.split(split), strict=True):
            assert isinstance(other, datasets.Rows) and one.shape == other.shape and other[:].equal(one)


def test_pairs_say_what_they_are() -> None:
    """Catches two pairings of one data set that a checkpoint could not tell apart."""
    digits = datasets.load("digits", binarize="threshold")
    made = [digits.split_features(32), digits.split_features(31), digits.with_labels(), digits.with_labels(keep=50)]
    assert len({each.checksum for each in made} | {digits.checksum}) == 5
    assert made[0].describe() == "digits (threshold binarisation), features split after 32"
    assert made[3].describe() == "digits (threshold binarisation), with labels of 50 training rows, seed 0"
    assert (made[0].num_train, made[0].num_features, made[0].image_shape) == (1297, 64, (8, 8))
    with pytest.raises(TypeError, match=r"give their \.rows"):
        datasets.as_dataset(made[0])
