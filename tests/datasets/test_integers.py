"""Tests of rows of whole numbers: their type, their vocabulary, and what is refused."""

import re
from typing import Any

import numpy as np
import pytest
import torch

from ppgen import datasets

KINDS = ("tokens", "counts", "levels")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_whole_numbers_stay_whole_numbers(kind: str, dtype: Any, tmp_path) -> None:
    """Catches rows that become float32, in memory or from a mapped file, and kinds that share a checksum."""
    rows = np.random.default_rng(0).integers(0, 7, (50, 4)).astype(dtype)
    np.save(tmp_path / "x.npy", rows)
    held = datasets.load(tmp_path / "x.npy", integers=kind)
    mapped = datasets.load(tmp_path / "x.npy", integers=kind, memory_map=True)
    for split in ("train", "valid", "test"):
        assert held.split(split).dtype == mapped.split(split).dtype == torch.int64
        assert held.split(split).equal(mapped.split(split)[:])
        assert mapped.batch(split, torch.tensor([0])).dtype == torch.int64
    assert held.integers == held.binarization == kind and not held.is_binary
    assert held.num_values == (None if kind == "counts" else 7)
    assert held.mean.allclose(held.train.float().mean(0))
    others = [datasets.load(tmp_path / "x.npy", integers=other).checksum for other in (*KINDS, None)]
    assert held.checksum == mapped.checksum and len(set(others)) == 4
    assert held.to("cpu").num_values == held.num_values


def test_numbers_beyond_what_float32_holds_are_kept() -> None:
    """Catches a way through float32, which makes 2^24 + 1 another number."""
    large = torch.tensor([[2**24 + 1, 2**53 + 1]])
    data = datasets.as_dataset(large, integers="counts")
    assert data.train.equal(large) and data.batch("train", slice(None)).equal(large)


def test_grey_levels_of_a_registered_data_set_are_whole_numbers_as_stored() -> None:
    """Catches levels that are divided by the scale, which leaves 0 and 1."""
    digits, levels = datasets.load("digits"), datasets.load("digits", integers="levels")
    assert levels.train.equal((16 * digits.train).long()) and levels.num_values == 17
    assert levels.labels["test"].equal(digits.labels["test"]) and levels.image_shape == (8, 8)


def test_a_vocabulary_tells_what_rows_stand_for(tmp_path) -> None:
    """Catches a vocabulary that is lost, words of the wrong number, and one that a checksum does not know."""
    rows = np.array([[2, 0, 1], [0, 1, 1]])
    letters = datasets.load(
        {"train": rows, "vocabulary": ["a", "b", "c", "d"]}, integers="tokens", valid_size=0, test_size=0
    )
    assert letters.decode(letters.train) == ["cab", "abb"] and letters.decode(torch.tensor([3, 3])) == ["dd"]
    assert letters.num_values == 4
    np.savez(tmp_path / "x.npz", train=rows, vocabulary=np.array(["up", "down", "no"]))
    for mapped in (False, True):
        words = datasets.load(tmp_path / "x.npz", integers="tokens", valid_size=0, test_size=0, memory_map=mapped)
        assert words.decode(words.train[:1]) == ["no up down"] and words.checksum != letters.checksum
    counts = datasets.load(tmp_path / "x.npz", integers="counts", valid_size=0, test_size=0)
    assert counts.decode(counts.train) == [{"up": 2, "no": 1}, {"down": 1, "no": 1}]
    levels = datasets.load(tmp_path / "x.npz", integers="levels", valid_size=0, test_size=0)
    assert levels.decode(rows[:1]) == [["no", "up", "down"]]


@pytest.mark.parametrize(
    ("data", "options", "error", "message"),
    [
        (np.eye(4), {"integers": "tokens"}, ValueError, "has dtype float64; give .astype('int64')"),
        (-np.eye(4, dtype=int), {"integers": "counts"}, ValueError, "rows of data set 'array' hold -1"),
        (np.eye(4, dtype=int), {"integers": "words"}, ValueError, "integers must be None or one of 'tokens'"),
        (np.eye(4, dtype=int), {"integers": "levels", "binarize": "fixed"}, ValueError, "binarize='fixed' makes bits"),
        (np.eye(4, dtype=np.uint8), {"integers": "levels", "packed": True}, ValueError, "packed=True holds bits"),
        ({"train": np.eye(4, dtype=int), "vocabulary": ["a"]}, {"integers": "tokens"}, ValueError, "hold 1, and its"),
        ({"train": np.eye(4, dtype=int), "vocabulary": ["a"]}, {"integers": "counts"}, ValueError, "counts 4 words"),
        ({"train": np.eye(4, dtype=int), "vocabulary": ["a", "a"]}, {"integers": "tokens"}, ValueError, "'a' twice"),
        ({"train": np.eye(4, dtype=int), "vocabulary": [1, 2]}, {"integers": "tokens"}, TypeError, "a list of texts"),
        ({"train": np.eye(4, dtype=int), "vocabulary": ["a", "b"]}, {}, ValueError, "say what its numbers are"),
    ],
)
def test_what_is_no_row_of_whole_numbers_is_refused(data: Any, options: Any, error: type, message: str) -> None:
    """Catches numbers that are silently rounded, and words that stand for nothing."""
    with pytest.raises(error, match=re.escape(message)):
        datasets.load(data, valid_size=0, test_size=0, **options)


def test_decoding_what_the_vocabulary_does_not_hold_is_refused() -> None:
    """Catches Python's negative places, which would read the vocabulary from its end."""
    rows = {"train": np.array([[1, 0]]), "vocabulary": ["a", "b"]}
    data = datasets.load(rows, integers="tokens", valid_size=0, test_size=0)
    for wrong in (torch.tensor([[2]]), torch.tensor([[-1]]), torch.tensor([[0.5]]), torch.zeros(1, 1, 1).long()):
        with pytest.raises(ValueError, match="rows must"):
            data.decode(wrong)
    with pytest.raises(ValueError, match="decode needs a vocabulary"):
        datasets.as_dataset(np.eye(3)).decode(np.eye(3))


@pytest.mark.parametrize(
    ("shape", "channels"),
    [((3, 4, 5), 3), ((1, 4, 15), 1), ((4, 5, 3), 3), ((12, 1, 5), 12), ((12, 5), 1), (None, None)],
)
def test_images_have_channels(shape: tuple[int, ...] | None, channels: int | None) -> None:
    """Catches colours that are lost between the array and the model."""
    rows = np.zeros((6, *(shape or (60,))))
    data = datasets.as_dataset(rows)
    assert (data.image_shape, data.channels) == (shape, channels)
    if shape:
        assert datasets.as_dataset(rows.reshape(6, -1), image_shape=shape).channels == channels
