"""Named data sets, splits and binarisations."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from ppgen import datasets, registry
from ppgen.datasets.binarization import permutation, splitmix64, uniforms
from ppgen.datasets.rows import Rows


def tensor(rows: Tensor | Rows) -> Tensor:
    assert isinstance(rows, Tensor)
    return rows


def within_four_sigma(draws: Tensor, p: Tensor) -> Tensor:
    """Whether the means of (S, F) bits are 4 standard errors or less from p (F,)."""
    standard_error = (p * (1 - p) / len(draws)).sqrt()
    return ((draws.mean(dim=0) - p).abs() <= 4 * standard_error).all()


def test_digits_hold_the_images_of_scikit_learn():
    """Catches a wrong scale, rows or labels lost, doubled or paired wrongly by the permutation."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    digits = datasets.load("digits")
    assert digits.labels is not None
    ours = sorted(
        (int(label), *(16 * row).tolist())
        for split in ("train", "valid", "test")
        for row, label in zip(digits.split(split), digits.labels[split], strict=True)
    )
    theirs = sorted((int(label), *row.tolist()) for row, label in zip(bunch.data, bunch.target, strict=True))
    assert ours == theirs
    assert [len(digits.train), len(digits.valid), len(digits.test)] == [1297, 200, 300]
    assert digits.image_shape == (8, 8)
    assert digits.train.dtype == torch.float32
    assert torch.equal(digits.mean, tensor(digits.train).double().mean(dim=0).float())


def test_split_of_digits_is_frozen():
    """Catches a split that changes with a seed, a binarisation or a library: no figures would compare."""
    digits = datasets.load("digits")
    assert digits.checksum == "0211452fdf55e23d69bcbe146fbcad7a4f562d260d95d1bbebb85a96e576bfda"
    assert datasets.load("digits", binarize="fixed", seed=7).checksum == digits.checksum


def test_splits_of_digits_mix_the_writers():
    """Catches a split without permutation: the file holds writer after writer in a pattern of classes."""
    digits = datasets.load("digits")
    assert digits.labels is not None
    assert digits.labels["test"][:10].tolist() != list(range(10))
    assert torch.bincount(digits.labels["test"], minlength=10).min() >= 15


def test_threshold_is_strictly_above_one_half():
    """Catches `>=`: 8 / 16 is a grey level of the digits."""
    grey = torch.tensor([[0.0, 0.5], [0.5 + 1e-6, 1.0]])
    data = datasets.as_dataset(grey, binarize="threshold")
    assert tensor(data.train).tolist() == [[0.0, 0.0], [1.0, 1.0]]
    assert data.binarization == "threshold"
    assert data.seed is None


@pytest.mark.parametrize("values, kind", [([0.0, 1.0], "binary"), ([0.25, 1.0], "grey"), ([-1.0, 1.0], "real")])
def test_without_binarisation_values_stay_and_are_named(values, kind):
    """Catches a silent clip or rescaling, and data called binary that are not."""
    data = datasets.as_dataset(torch.tensor([values, values[::-1]]))
    assert tensor(data.train).tolist() == [values, values[::-1]]
    assert data.binarization == kind
    assert data.is_binary == (kind == "binary")


@pytest.mark.parametrize("method", ["fixed", "dynamic"])
def test_evaluation_draws_are_equal_across_loads(method):
    """Catches a draw from global random state, or one that ignores the seed."""
    torch.manual_seed(1)
    first = datasets.load("digits", binarize=method, seed=3)
    torch.manual_seed(2)
    again, other = (datasets.load("digits", binarize=method, seed=seed) for seed in (3, 4))
    for split in ("train", "valid", "test"):
        assert torch.equal(tensor(first.split(split)), tensor(again.split(split)))
        assert not torch.equal(tensor(first.split(split)), tensor(other.split(split)))
        assert set(tensor(first.split(split)).unique().tolist()) == {0.0, 1.0}
    assert first.seed == 3
    assert "seed 3" in first.describe()


def test_evaluation_draws_of_fixed_and_dynamic_are_the_same():
    """Catches test rows that differ between the two variants of one seed: figures would not compare."""
    fixed, dynamic = (datasets.load("digits", binarize=method, seed=5) for method in ("fixed", "dynamic"))
    assert torch.equal(tensor(fixed.test), tensor(dynamic.test))
    assert torch.equal(tensor(fixed.train), tensor(dynamic.train))


def test_splits_and_rows_do_not_share_draws():
    """Catches one stream used for all splits or all rows: equal grey rows would get equal bits."""
    grey = np.full((300, 40), 0.5)
    data = datasets.load({"train": grey, "valid": grey, "test": grey}, binarize="fixed")
    rows = torch.cat([tensor(data.train), tensor(data.valid), tensor(data.test)])
    assert len(rows.unique(dim=0)) == len(rows)


def test_fixed_draw_has_the_grey_level_as_mean():
    """Catches `u > p`, and uniforms with a wrong range or correlated columns."""
    p = torch.tensor([0.0, 0.03, 0.3, 0.9, 1.0])
    draws = tensor(datasets.as_dataset(p.expand(20_000, 5), binarize="fixed").train)
    assert within_four_sigma(draws, p)
    correlation = torch.corrcoef(draws[:, 1:4].T).fill_diagonal_(0.0)
    assert correlation.abs().max() < 4 / math.sqrt(len(draws))


def test_dynamic_batches_are_redrawn_with_the_grey_level_as_mean():
    """Catches batches drawn once only, `u > p`, and evaluation rows redrawn along with the training rows."""
    p = torch.tensor([0.0, 0.03, 0.3, 0.9, 1.0])
    data = datasets.load(p.expand(500, 5).clone(), binarize="dynamic")
    index = torch.arange(data.num_train)
    generator = torch.Generator().manual_seed(0)
    draws = [data.batch("train", index, generator) for _ in range(40)]
    assert not torch.equal(draws[0], draws[1])
    assert within_four_sigma(torch.cat(draws), p)
    again = torch.Generator().manual_seed(0)
    assert all(torch.equal(data.batch("train", index, again), draw) for draw in draws)
    assert torch.equal(data.batch("test", slice(None), generator), tensor(data.test))
    torch.testing.assert_close(data.mean, p)


def test_dynamic_batch_without_generator_uses_the_global_random_state():
    """Catches a private generator, which would make runs repeat their bits whatever the seed."""
    data = datasets.load("digits", binarize="dynamic")
    torch.manual_seed(0)
    first = data.batch("train", torch.arange(20))
    second = data.batch("train", torch.arange(20))
    torch.manual_seed(0)
    assert torch.equal(data.batch("train", torch.arange(20)), first)
    assert not torch.equal(first, second)


def test_dynamic_batch_belongs_to_the_rows_asked_for():
    """Catches probabilities that are in another order than the rows."""
    grey = torch.eye(6)
    data = datasets.as_dataset(grey, binarize="dynamic")
    index = torch.tensor([4, 1])
    assert torch.equal(data.batch("train", index), tensor(data.train)[index])


def test_splitmix64_gives_the_published_sequence():
    """Catches any slip in the constants or shifts: first outputs of the reference program for this seed."""
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert splitmix64(1234567, np.arange(4, dtype=np.uint64)).tolist() == expected


def test_uniforms_of_a_row_do_not_depend_on_the_other_rows():
    """Catches draws that differ between a mapped file read in batches and the same array in memory."""
    whole = uniforms(9, np.arange(50), 7)
    assert np.array_equal(uniforms(9, np.array([31, 2]), 7), whole[[31, 2]])
    assert whole.min() >= 0.0 and whole.max() < 1.0


def test_permutation_holds_each_row_once():
    """Catches rows lost or doubled."""
    assert sorted(permutation(1000, 0)) == list(range(1000))
    assert permutation(1000, 0).tolist() != permutation(1000, 1).tolist()


def test_split_sizes_of_an_array():
    """Catches splits that overlap, lose rows, or depend on the seed of the binarisation."""
    rows = torch.arange(50.0)[:, None]
    data = datasets.load(rows)
    assert [len(data.train), len(data.valid), len(data.test)] == [40, 5, 5]
    together = torch.cat([tensor(data.train), tensor(data.valid), tensor(data.test)])
    assert sorted(together[:, 0].tolist()) == rows[:, 0].tolist()
    assert torch.equal(tensor(datasets.load(rows, seed=9).test), tensor(data.test))
    other = datasets.load(rows, valid_size=7, test_size=0.5)
    assert [len(other.train), len(other.valid), len(other.test)] == [18, 7, 25]
    assert len(datasets.load("digits", valid_size=0).train) == 1497


def test_as_dataset_trains_on_every_row():
    """Catches rows silently set aside: a global latent's posterior would be that of other data."""
    rows = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
    data = datasets.as_dataset(rows)
    assert torch.equal(tensor(data.train), rows)
    assert (data.num_train, len(data.valid), len(data.test)) == (10, 0, 0)
    assert data.valid.shape == (0, 3)
    assert datasets.as_dataset(data) is data
    assert len(datasets.as_dataset(rows, valid_size=2).valid) == 2
    assert len(datasets.as_dataset({"train": rows, "test": rows}).test) == 10
    assert len(datasets.as_dataset("digits").valid) == 200
    with pytest.raises(ValueError, match="already"):
        datasets.as_dataset(data, binarize="fixed")


def test_labels_follow_their_rows():
    """Catches labels left in the old order when an array is shuffled."""
    rows = np.arange(30.0)[:, None]
    data = datasets.load({"train": rows, "labels": np.arange(30)})
    assert data.labels is not None
    for split in ("train", "valid", "test"):
        assert data.labels[split].tolist() == tensor(data.split(split))[:, 0].tolist()
        assert data.labels[split].dtype == torch.int64


def test_moving_changes_the_device_of_every_tensor():
    """Catches a tensor left behind, which a step on the device would trip over."""
    data = datasets.load("digits", binarize="dynamic").to("meta")
    tensors = [data.train, data.valid, data.test, data.mean, data.train_probabilities]
    tensors += (data.labels or {}).values()
    assert {rows.device.type for rows in tensors if rows is not None} == {"meta"}


@pytest.mark.gpu
def test_a_batch_on_the_device_has_the_bits_of_the_generator():
    """Catches uniforms drawn by another generator on the device, so that one seed gives two runs."""
    data = datasets.load("digits", binarize="dynamic")
    index = torch.arange(100)
    here = data.batch("train", index, torch.Generator().manual_seed(0))
    there = data.to("cuda").batch("train", index, torch.Generator().manual_seed(0))
    assert there.device.type == "cuda"
    assert torch.equal(there.cpu(), here)


def test_every_registered_data_set_has_one_line():
    """Catches a registered loader without a docstring: its line in the listing would be empty."""
    lines = datasets.available()
    assert set(lines) == set(registry.DATASETS)
    assert all(lines.values())


def test_the_representation_is_one_line_with_the_binarisation():
    """Catches tensors printed in full, and a result that hides which variant of the data it is for."""
    line = repr(datasets.load("digits", binarize="fixed", seed=2))
    assert "\n" not in line
    assert "digits (fixed binarisation, seed 2): 1297 train" in line


def test_unknown_names_are_answered_with_the_known_ones():
    """Catches a bare KeyError."""
    with pytest.raises(ValueError, match=r"'digit'.*digits, fashion_mnist, mnist.*Did you mean 'digits'"):
        datasets.load("digit")
    with pytest.raises(ValueError, match="'sharp'.*'threshold', 'fixed', 'dynamic'|'threshold'.*'sharp'"):
        datasets.load("digits", binarize="sharp")
    with pytest.raises(ValueError, match="split must be one of 'train'"):
        datasets.load("digits").batch("training", [0])
    with pytest.raises(ValueError, match="seed must be an int"):
        datasets.load("digits", binarize="fixed", seed=-1)
    with pytest.raises(TypeError, match="name must be"):
        datasets.load(3)
    with pytest.raises(ValueError, match="not for registered names"):
        datasets.load("digits", packed=True)
