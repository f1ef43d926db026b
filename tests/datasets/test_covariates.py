"""Covariates of images: quadrants that are given, and attributes that are computed from moments."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from pyro import poutine

import ppgen
from ppgen import datasets, models

PLANE = torch.arange(16).reshape(4, 4)


def images(**options: Any) -> datasets.Dataset:
    rows = np.random.default_rng(0).random((12, 16), dtype=np.float32)
    return datasets.load(rows, image_shape=(4, 4), valid_size=2, test_size=3, **options)


@pytest.mark.parametrize("given", [1, 2, 3])
@pytest.mark.parametrize("method", [None, "dynamic"])
def test_quadrants_are_those_of_the_image(given: int, method: str | None) -> None:
    """Catches the upper left quadrant for the lower left one, and parts of different draws of a row."""
    data = images(binarize=method)
    pairs = data.split_quadrants(given)
    chosen = {1: PLANE[2:, :2], 2: PLANE[:, :2], 3: torch.cat([PLANE[:2, :2].flatten(), PLANE[2:].flatten()])}[given]
    positions = chosen.flatten().sort().values
    rest = [place for place in range(16) if place not in positions.tolist()]
    for split in ("train", "valid", "test"):
        first, second = pairs.split(split)
        assert first.equal(data.split(split)[:, positions]) and second.equal(data.split(split)[:, rest])
        assert pairs.whole(first, second).equal(data.split(split))
    index, seeds = torch.tensor([2, 0]), [torch.Generator().manual_seed(1) for _ in range(2)]
    assert pairs.whole(*pairs.batch("train", index, seeds[0])).equal(data.batch("train", index, seeds[1]))
    assert pairs.whole(first, second.expand(5, *second.shape)).shape == (5, 3, 16)


def test_quadrants_of_a_mapped_file_are_those_in_memory(tmp_path: Any) -> None:
    """Catches positions that a file on disk takes for a range of features."""
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((20, 16), dtype=np.float32))
    held, mapped = (
        datasets.load(tmp_path / "x.npy", image_shape=(4, 4), memory_map=on).split_quadrants(3) for on in (False, True)
    )
    assert held.checksum == mapped.checksum != datasets.load(tmp_path / "x.npy", image_shape=(4, 4)).checksum
    for one, other in zip(held.train, mapped.train, strict=True):
        assert isinstance(other, datasets.Rows) and other[:].equal(one)


def test_attributes_are_those_of_known_strokes() -> None:
    """Catches a slant of the other sign, moments of the image's corner, and blank images that give NaN."""
    strokes = torch.zeros(4, 5, 5)
    strokes[0, :, 2] = 1  # upright
    strokes[1, [4, 3, 2, 1, 0], [0, 1, 2, 3, 4]] = 0.5  # to the right, of half the ink
    strokes[2, 2] = 1  # lying
    found = datasets.image_attributes(strokes.flatten(1), (5, 5))
    wide = 2**0.5 / 5
    expected = torch.tensor([[0.2, 0.0, 0.0], [0.1, 1.0, wide], [0.2, 0.0, wide], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(found, expected)


def test_attributes_are_standardised_by_training_rows() -> None:
    """Catches covariates of so small a spread that networks cannot see them, and moments of the split itself."""
    data = images()
    pairs = data.given_attributes()
    raw = datasets.image_attributes(data.train, (4, 4))
    wanted = (datasets.image_attributes(data.test, (4, 4)) - raw.mean(0)) / raw.std(0, correction=0)
    torch.testing.assert_close(pairs.test[0], wanted)
    torch.testing.assert_close(pairs.attributes_of(data.test), wanted)
    alike = datasets.load(np.ones((6, 16), dtype=np.float32), image_shape=(4, 4), valid_size=1, test_size=1)
    assert alike.given_attributes().test[0].abs().max() < 1e-4


def test_images_have_the_attributes_that_were_asked_for() -> None:
    """Catches covariates that training does not follow: probabilities of images, measured again, R^2 above .65."""
    pairs = datasets.load("digits", binarize="threshold").given_attributes()
    torch.manual_seed(0)
    net = models.ConditionalVAE(3, 64, latent=8, hidden=(32,), prior="standard")
    ppgen.fit(net, pairs, epochs=12, batch_size=64, lr=1e-2, seed=0, progress=False, compile=False)
    asked = pairs.test[0]
    torch.manual_seed(0)
    with torch.no_grad(), net.running():
        drawn = poutine.trace(net.model).get_trace(asked).nodes["y"]["fn"].mean
    found = pairs.attributes_of(drawn)
    explained = 1 - ((found - asked) ** 2).sum(0) / ((asked - asked.mean(0)) ** 2).sum(0)
    assert explained.min() > 0.65, explained


@pytest.mark.parametrize("pairs", [lambda data: data.split_quadrants(1), lambda data: data.given_attributes()])
def test_a_model_of_images_is_trained_on_them(pairs: Any) -> None:
    """Catches batches in the other order, and covariates whose type is not that of the parameters."""
    data = pairs(images(binarize="threshold"))
    covariates, features = (part.shape[1] for part in data.test)
    net = models.ConditionalVAE(covariates, features, 2, (3,))
    run = ppgen.fit(net, data, steps=2, progress=False, compile=False)
    assert np.isfinite(run.metrics[-1]["valid_value"])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: images().split_quadrants(0), ValueError, "given must be 1, 2 or 3 of the four quadrants, got 0"),
        (lambda: images().split_quadrants(4), ValueError, "got 4"),
        (lambda: images().split_quadrants(True), TypeError, "whole number of quadrants"),
        (lambda: datasets.as_dataset(np.eye(6)).split_quadrants(1), ValueError, "needs images (height, width)"),
        (lambda: datasets.as_dataset(np.eye(6)).given_attributes(), ValueError, "needs images (height, width)"),
        (lambda: datasets.image_attributes(-torch.ones(1, 4), (2, 2)), ValueError, "at least 0, got -1"),
        (lambda: datasets.image_attributes(torch.ones(1, 5), (2, 2)), ValueError, "rows of shape (1, 5)"),
        (lambda: images().split_quadrants(1).attributes_of(torch.ones(2, 16)), ValueError, "data.given_attributes()"),
        (
            lambda: images().split_quadrants(1).whole(torch.ones(2, 5), torch.ones(2, 11)),
            ValueError,
            "Parts must be of 4 and 12 features, got 5 and 11",
        ),
    ],
)
def test_wrong_requests_are_named(make: Any, error: Any, message: str) -> None:
    """Catches numbers of quadrants and rows that are no images, taken silently."""
    with pytest.raises(error, match=re.escape(message)):
        make()
