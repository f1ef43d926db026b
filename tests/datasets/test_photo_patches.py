"""Patches of photographs: no pixel in two splits, white as the training patches say, and a way back."""

import numpy as np
import pytest

from ppgen import datasets
from ppgen.datasets import photo_patches


def test_no_pixel_of_a_test_patch_is_in_a_training_patch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches patches that are cut first and split afterwards, which share most of their pixels."""
    numbers = np.arange(2 * 427 * 640, dtype=np.float64).reshape(2, 427, 640)
    monkeypatch.setattr(photo_patches, "photographs", lambda: list(numbers))
    tiles = photo_patches._tiles()
    assert {split: len(each) for split, each in tiles.items()} == {"train": 100, "valid": 20, "test": 20}
    sets = {split: set(each.ravel().tolist()) for split, each in tiles.items()}
    assert sum(map(len, sets.values())) == numbers.size == len(set().union(*sets.values()))
    number, row, column = np.unravel_index(tiles["train"].astype(int), numbers.shape)
    assert (np.diff(row, axis=1) == 1).all() and (np.diff(column, axis=2) == 1).all()
    assert (number == number[:, :1, :1]).all()


def test_splits_are_of_like_contrast() -> None:
    """Catches tiles that are dealt at random, where one split has the sky and another the temple."""
    tiles = photo_patches._tiles()
    contrast = {split: each.std((1, 2)).mean() for split, each in tiles.items()}
    assert max(contrast.values()) < 1.1 * min(contrast.values())


def test_patches_are_white_and_lead_back_to_pixels() -> None:
    """Catches a whitening of all splits, means left in, and an inverse without its scale or mean."""
    data = datasets.load("photo_patches", size=5, num_patches=3000)
    assert data.image_shape == (5, 5) and (len(data.valid), len(data.test)) == (300, 300)
    train = data.train.double().numpy()
    assert abs(train.std() - 1) < 1e-3
    variances = np.linalg.eigvalsh(np.cov(train.T))  # one is nothing, that of the patches' means
    assert variances[0] < 1e-3 and 0.75 < variances[1] and variances[-1] < 1.1
    assert (train * 1024 == np.rint(train * 1024)).all()
    whitening = datasets.photo_whitening(size=5, num_patches=3000)
    np.testing.assert_allclose(whitening.matrix @ whitening.inverse, np.eye(25), atol=1e-9)
    cut = photo_patches._patches(photo_patches._tiles()["test"], 5, 300, "test")
    back = data.test.double().numpy() @ whitening.inverse + whitening.mean
    np.testing.assert_allclose(back, cut, atol=2e-3)
    np.testing.assert_allclose(cut.mean(1), 0, atol=1e-12)
    places = {tuple(row) for row in np.round(cut, 9)}
    assert len(places) > 290  # the same place is not taken twice, though places may look alike


def test_options_are_part_of_the_data() -> None:
    """Catches options that are not passed on, and a draw that is another each time."""
    small = datasets.load("photo_patches", size=3, num_patches=50)
    assert dict(small.options) == {"size": 3, "num_patches": 50}
    assert small.checksum == datasets.load("photo_patches", size=3, num_patches=50).checksum
    assert small.checksum != datasets.load("photo_patches", size=3, num_patches=60).checksum
    assert small.describe() == "photo_patches (real values, size 3, num_patches 50)"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 1}, "size must be a whole number of pixels, from 2 to 32, got 1"),
        ({"size": 33}, "size must be a whole number of pixels, from 2 to 32, got 33"),
        ({"size": 2.0}, "size must be a whole number of pixels"),
        ({"num_patches": 143}, "num_patches must be at least 144, the pixels of a patch, got 143"),
        ({"num_patches": 10**7}, r"num_patches asks for 10,000,000 train patches of 12 x 12 .* have 265,000"),
        ({"size": 32, "num_patches": 99_000 + 1}, "asks for 99,001 train patches"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object], message: str) -> None:
    """Catches a patch larger than a tile, fewer patches than pixels, and places taken twice to fill a number."""
    with pytest.raises(ValueError, match=message):
        datasets.load("photo_patches", **options)
