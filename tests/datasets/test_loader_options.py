"""Tests of registered data sets that have options of their own."""

import re
from collections.abc import Iterator
from os import PathLike
from typing import Any

import numpy as np
import pytest

import ppgen
from ppgen import datasets, extension, models


def patches(root: str | PathLike | None = None, size: int = 4, crop: tuple[int, ...] = (0, 0)) -> datasets.Source:
    """Patches of pictures, of a size that is asked for.

    Args:
        root: Not used.
        size: Height and width of a patch, in pixels.
        crop: Where patches begin.
    """
    rows = np.random.default_rng(0).integers(0, 2, (40, 8, 8))[:, crop[0] :, crop[1] :][:, :size, :size]
    return datasets.Source("option_patches", {"train": rows})


@pytest.fixture
def registered() -> Iterator[None]:
    ppgen.register("data set", "option_patches", patches)
    yield
    extension._REGISTERED["data set"].pop("option_patches")


@pytest.mark.usefixtures("registered")
def test_options_reach_the_loader_and_are_part_of_what_the_data_are() -> None:
    """Catches options that are dropped, and two data sets of one checksum whose options differ."""
    small, large = datasets.load("option_patches"), datasets.load("option_patches", size=5)
    assert (small.image_shape, large.image_shape) == ((4, 4), (5, 5))
    assert dict(small.options) == {"size": 4, "crop": [0, 0]} and large.options["size"] == 5
    assert datasets.load("option_patches", size=4, crop=(0, 0)).checksum == small.checksum
    assert "size 5" in large.describe()
    run = ppgen.fit(models.RBM(visible=25, hidden=3), large, steps=1, progress=False)
    assert run.config["data"]["options"] == {"size": 5, "crop": [0, 0]}
    assert run.config["data"]["checksum"] == large.checksum


@pytest.mark.usefixtures("registered")
def test_the_same_rows_under_other_options_are_other_data() -> None:
    """Catches a checksum of rows alone: a size beyond the picture gives the same rows."""
    assert datasets.load("option_patches", size=8).train.equal(datasets.load("option_patches", size=9).train)
    assert datasets.load("option_patches", size=8).checksum != datasets.load("option_patches", size=9).checksum


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("option_patches", {"sise": 4}, "no option 'sise': its options are size, crop. Did you mean 'size'?"),
        ("option_patches", {"size": np.arange(3)}, "Option 'size' of data set 'option_patches' must be a number"),
        ("digits", {"size": 4}, "Data set 'digits' has no option 'size': it has no options."),
        ("digits", {"binarise": "fixed"}, "no option 'binarise': it has no options. Did you mean 'binarize'?"),
        (np.eye(4), {"binarise": "fixed"}, "load has no argument 'binarise'"),
        ("rows.npy", {"size": 4}, "load has no argument 'size'"),
    ],
)
def test_options_that_nothing_reads_are_refused_by_name(name: Any, options: dict[str, Any], message: str) -> None:
    """Catches a misspelt option that changes nothing without a word."""
    with pytest.raises(TypeError, match=re.escape(message)):
        datasets.load(name, **options)


def test_an_option_without_a_default_must_be_given() -> None:
    """Catches a loader that fails inside with words of Python's."""

    def sized(root: str | None, size: int) -> datasets.Source:
        return datasets.Source("sized", {"train": np.eye(20, size)})

    ppgen.register("data set", "sized_rows", sized)
    try:
        with pytest.raises(TypeError, match="needs the option 'size'"):
            datasets.load("sized_rows")
        assert datasets.load("sized_rows", size=3).num_features == 3
    finally:
        extension._REGISTERED["data set"].pop("sized_rows")


def test_an_option_that_load_would_hide_is_refused() -> None:
    """Catches a seed of the data that is taken for the seed of a binarisation, and never reaches the loader."""
    ppgen.register("data set", "hidden_rows", lambda root, seed=0: datasets.Source("hidden", {"train": np.eye(20)}))
    try:
        with pytest.raises(TypeError, match="has an option 'seed', and load an argument of that name"):
            datasets.load("hidden_rows", seed=1)
    finally:
        extension._REGISTERED["data set"].pop("hidden_rows")


def test_data_sets_without_options_are_what_they_were() -> None:
    """Catches a checksum that changes for data sets that have no options."""
    digits = datasets.load("digits")
    assert digits.checksum == "0211452fdf55e23d69bcbe146fbcad7a4f562d260d95d1bbebb85a96e576bfda"
    assert not digits.options
    run = ppgen.fit(
        models.RBM(visible=64, hidden=2), datasets.load("digits", binarize="fixed"), steps=1, progress=False
    )
    assert "options" not in run.config["data"]
