"""Arrays and files of the user's own: formats, memory mapping, and every kind of bad input."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ppgen import datasets
from ppgen.datasets import build, rows
from ppgen.datasets.rows import Rows

GREY = np.random.default_rng(1).uniform(size=(50, 6)).astype(np.float32)


def same(first: datasets.Dataset, second: datasets.Dataset) -> bool:
    splits = ("train", "valid", "test")
    return all(torch.equal(first.batch(name, slice(None)), second.batch(name, slice(None))) for name in splits)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.uint8, np.int64, bool])
def test_arrays_tensors_and_files_of_one_content_are_one_data_set(tmp_path, dtype):
    """Catches a path through the code that scales, shuffles or digests differently."""
    values = np.round(GREY).astype(dtype)
    np.save(tmp_path / "x.npy", values)
    np.savez(tmp_path / "x.npz", whatever=values)
    loaded = datasets.load(values)
    for other in (torch.from_numpy(values), tmp_path / "x.npy", str(tmp_path / "x.npz")):
        data = datasets.load(other)
        assert same(data, loaded)
        assert data.num_features == 6
        assert data.train.dtype == torch.float32
    assert datasets.load(tmp_path / "x.npy").checksum == loaded.checksum
    assert datasets.load(tmp_path / "x.npy").name == "x"
    assert datasets.load(torch.from_numpy(values).to(torch.bfloat16)).num_train == loaded.num_train


def test_checksum_sees_every_value_and_the_split():
    """Catches a digest of a part of the data."""
    changed = GREY.copy()
    changed[17, 3] += 1e-3
    checksums = {
        datasets.load(GREY).checksum,
        datasets.load(changed).checksum,
        datasets.load(GREY, valid_size=6).checksum,
    }
    assert len(checksums) == 3


def test_splits_of_an_npz_file_are_kept(tmp_path):
    """Catches rows moved between splits that the user fixed, or put in another order."""
    np.savez(tmp_path / "x.npz", train=GREY[:30], valid=GREY[30:35], test=GREY[35:], test_labels=np.arange(15))
    data = datasets.load(tmp_path / "x.npz")
    for split, part in {"train": GREY[:30], "valid": GREY[30:35], "test": GREY[35:]}.items():
        assert np.array_equal(data.batch(split, slice(None)).numpy(), part)
    assert data.labels is not None
    assert data.labels["test"].tolist() == list(range(15))
    assert list(data.labels) == ["test"]
    with pytest.raises(ValueError, match="has its own test rows"):
        datasets.load(tmp_path / "x.npz", test_size=3)


def test_images_are_flattened_and_their_shape_is_kept():
    """Catches columns taken for rows of pixels."""
    images = np.arange(120.0).reshape(10, 3, 4)
    data = datasets.as_dataset(images)
    assert data.image_shape == (3, 4)
    assert np.array_equal(data.batch("train", 2).reshape(3, 4).numpy(), images[2])
    flat = datasets.as_dataset(images.reshape(10, 12), image_shape=(2, 6))
    assert flat.image_shape == (2, 6)
    with pytest.raises(ValueError, match="image_shape=.* 15 pixels, a row 12 features"):
        datasets.as_dataset(images, image_shape=(3, 5))


def test_packed_bits_are_unpacked(tmp_path):
    """Catches padding bits taken for features, and the other bit order."""
    bits = (GREY > 0.5).astype(np.uint8)
    bits = np.concatenate([bits, 1 - bits[:, :5]], axis=1)
    np.savez(tmp_path / "x.npz", train=np.packbits(bits[:40], axis=1), test=np.packbits(bits[40:], axis=1))
    for mapped in (False, True):
        data = datasets.load(tmp_path / "x.npz", packed=True, num_features=11, memory_map=mapped)
        assert np.array_equal(data.batch("test", slice(None)).numpy(), bits[40:])
        assert data.binarization == "binary"
    assert datasets.load(tmp_path / "x.npz", packed=True).num_features == 16
    with pytest.raises(ValueError, match="has 2 features a row, expected 11.*packed=True"):
        datasets.load(tmp_path / "x.npz", num_features=11)
    with pytest.raises(ValueError, match="num_features=17 does not fit.*9 to 16"):
        datasets.load(tmp_path / "x.npz", packed=True, num_features=17)
    with pytest.raises(ValueError, match="packed=True needs uint8"):
        datasets.load(GREY, packed=True)


@pytest.mark.parametrize("binarize", [None, "threshold", "fixed", "dynamic"])
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_a_mapped_file_is_the_same_data_set(tmp_path, monkeypatch, binarize, suffix):
    """Catches draws, means, splits or checksums that depend on how a file is read (7 rows at a time)."""
    path = tmp_path / f"x.{suffix}"
    with path.open("wb") as file:
        np.save(file, GREY) if suffix == "npy" else np.savez(file, x=GREY)
    whole = datasets.load(path, binarize=binarize)
    monkeypatch.setattr(rows, "CHUNK_VALUES", 7 * 6)
    mapped = datasets.load(path, binarize=binarize, memory_map=True)
    for split in ("train", "valid", "test"):
        view = mapped.split(split)
        assert isinstance(view, Rows)
        assert isinstance(view.array, np.memmap)
    assert same_evaluation(mapped, whole)
    assert mapped.checksum == whole.checksum
    assert mapped.binarization == whole.binarization
    torch.testing.assert_close(mapped.mean, whole.mean)
    draws = [data.batch("train", torch.tensor([3, 1]), torch.Generator().manual_seed(0)) for data in (mapped, whole)]
    assert torch.equal(*draws)


def same_evaluation(first: datasets.Dataset, second: datasets.Dataset) -> bool:
    return all(torch.equal(first.split(name)[:], second.split(name)[:]) for name in ("train", "valid", "test"))


def test_a_large_file_is_mapped_and_read_a_piece_at_a_time(tmp_path, monkeypatch):
    """Catches a file larger than memory read wholly: no piece may hold more rows than asked for."""
    path = tmp_path / "large.npy"
    np.save(path, np.zeros((4000, 10), dtype=np.uint8))
    monkeypatch.setattr("ppgen.datasets.files.MAP_BYTES", 4000)
    monkeypatch.setattr(rows, "CHUNK_VALUES", 1000)
    sizes = []
    stored = Rows.stored

    def counted(self: Rows, positions: np.ndarray) -> np.ndarray:
        sizes.append(len(positions))
        return stored(self, positions)

    monkeypatch.setattr(Rows, "stored", counted)
    data = datasets.load(path, binarize="dynamic")
    assert max(sizes) == 100
    assert sum(sizes) == 4000
    sizes.clear()
    data.batch("train", torch.arange(12))
    assert sizes == [12]


def test_an_array_mapped_by_the_user_stays_mapped(tmp_path):
    """Catches a memory map copied into memory."""
    np.save(tmp_path / "x.npy", GREY)
    data = datasets.load(np.load(tmp_path / "x.npy", mmap_mode="r"))
    assert isinstance(data.train, Rows)
    assert same(data, datasets.load(GREY))


def test_a_mapped_column_major_member_is_not_transposed(tmp_path):
    """Catches rows and columns exchanged in arrays that NumPy wrote in Fortran order."""
    np.savez(tmp_path / "x.npz", x=np.asfortranarray(GREY))
    data = datasets.load(tmp_path / "x.npz", memory_map=True)
    assert isinstance(data.train, Rows)
    assert same(data, datasets.load(GREY))


def test_compressed_members_are_read(tmp_path):
    """Catches a map over compressed bytes."""
    np.savez_compressed(tmp_path / "x.npz", x=GREY)
    assert same(datasets.load(tmp_path / "x.npz", memory_map=True), datasets.load(GREY))


def test_rows_are_indexed_like_a_tensor():
    """Catches wrong negative positions, masks and slices, and draws by the wrong position."""
    view = Rows(GREY, np.arange(50)[::-1], method="fixed", stream=4)
    whole = view[:]
    for key in (
        3,
        -1,
        slice(5, 20, 3),
        slice(-4, None),
        [1, -2],
        [],
        torch.tensor([7, 7]),
        np.array([0, 49]),
    ):
        assert torch.equal(view[key], whole[key]), key
    mask = torch.arange(50) % 3 == 0
    assert torch.equal(view[mask], whole[mask])
    assert torch.equal(torch.stack(list(view)), whole)
    assert np.array_equal(np.asarray(view), whole.numpy())
    assert (len(view), view.shape, view.dtype) == (50, whole.shape, whole.dtype)
    with pytest.raises(IndexError, match="50 rows"):
        view[[50]]
    with pytest.raises(TypeError, match="first dimension"):
        view[:, 2]
    with pytest.raises(TypeError, match="first dimension"):
        view[[0.5]]


def test_tensors_do_not_share_the_memory_of_the_array():
    """Catches data that change under a run when the user changes his array."""
    values = GREY.copy()
    data = datasets.as_dataset(values)
    before = data.batch("train", slice(None)).clone()
    values[:] = 0.0
    assert torch.equal(data.batch("train", slice(None)), before)


@pytest.mark.parametrize("binarize", [None, "dynamic"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_values_that_are_not_finite_are_refused_with_their_place(binarize, bad):
    """Catches NaN that would stop training much later; 1e300 is infinite in float32."""
    values = GREY.astype(np.float64)
    values[13, 4] = bad
    with pytest.raises(ValueError, match="row 13, feature 4"):
        datasets.load(values, binarize=binarize)


def test_values_that_are_not_finite_are_placed_in_the_array_that_holds_them():
    """Catches a row of the whole array that is called one of the array of the test rows, which nobody has."""
    values = GREY.astype(np.float64)
    for row in range(0, len(values), 5):
        values[row, 1] = np.nan
        with pytest.raises(ValueError, match=f"row {row}, feature 1 of the array\\. All"):
            datasets.load(values)
        values[row, 1] = 0.5
    hole = np.full((4, GREY.shape[1]), np.nan)
    with pytest.raises(ValueError, match="row 0, feature 0 of the test array\\. All"):
        datasets.load({"train": GREY, "test": hole})


@pytest.mark.parametrize("high", [2.5, 9, 16])
def test_small_values_are_not_taken_for_pixels(high):
    """Catches the advice to divide values up to 2.5 by 255, which makes them almost black."""
    values = GREY * 0.5
    values[1, 1] = high
    with pytest.raises(ValueError, match=rf"span \[\S+, {high}\]. Rescale it to \[0, 1\] first"):
        datasets.load(values, binarize="threshold")
    values[1, 1] = 200.5
    with pytest.raises(ValueError, match="Divide it by 255 first"):
        datasets.load(values, binarize="threshold")


def test_values_outside_the_unit_interval_are_refused_with_a_binarisation():
    """Catches a silent clip of 0..255 pixels, and an error that does not say what to do."""
    pixels = np.round(255 * GREY).astype(np.uint8)
    pixels[0, 0], pixels[1, 1] = 0, 255
    for method in ("threshold", "fixed", "dynamic"):
        with pytest.raises(ValueError, match=rf"'{method}'.*'array' span \[0, 255\]. Divide it by 255"):
            datasets.load(pixels, binarize=method)
    with pytest.raises(ValueError, match=r"span \[-1, 1\]. Rescale"):
        datasets.load(np.array([[-1.0, 1.0]] * 10), binarize="threshold")
    assert datasets.load(pixels).binarization == "real"


@pytest.mark.parametrize(
    "values, message",
    [
        (np.zeros((0, 6)), "empty"),
        (np.zeros((6, 0)), "empty"),
        (np.zeros(6), r"shape \(6,\); expected rows x features"),
        (np.zeros((2, 2, 2, 2, 2)), "expected rows x features"),
        (np.zeros((1, 3)), "none to train on"),
        ({"valid": np.zeros((3, 3)), "test": np.zeros((3, 3))}, "arrays named 'valid', 'test'"),
        ({"train": np.zeros((3, 3)), "other": np.zeros((3, 3))}, "arrays named 'train', 'other'"),
        ({}, "arrays named nothing"),
        ({"train": np.zeros((9, 3)), "test": np.zeros((9, 4))}, "differ.*train 3, test 4"),
        ({"train": np.zeros((9, 3)), "labels": np.zeros(8, dtype=int)}, "one for each of its 9 rows"),
        ({"train": np.zeros((9, 3)), "labels": np.zeros(9)}, "must be integers"),
    ],
)
def test_arrays_of_a_wrong_form_are_refused(values, message):
    """Catches data that fail deep inside a model, or train on nothing."""
    with pytest.raises(ValueError, match=message):
        datasets.load(values)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_features": 7}, "has 6 features a row, expected 7"),
        ({"valid_size": 50}, "leaves none to train on"),
        ({"valid_size": -1}, "valid_size must be"),
        ({"test_size": 1.5}, "test_size must be"),
        ({"test_size": True}, "test_size must be"),
    ],
)
def test_options_that_do_not_fit_the_data_are_refused(options, message):
    """Catches a split or a width other than the caller asked for."""
    with pytest.raises(ValueError, match=message):
        datasets.load(GREY, **options)


@pytest.mark.parametrize("values", [np.array([["a", "b"]] * 9), np.zeros((9, 2), dtype=complex)])
def test_arrays_of_anything_but_numbers_are_refused(values):
    """Catches strings and complex numbers that a cast would accept or garble."""
    with pytest.raises(TypeError, match="booleans, integers or floats"):
        datasets.load(values)


def test_files_that_cannot_be_read_are_refused(tmp_path):
    """Catches a bare error of NumPy or the operating system, and pickles executed from a data file."""
    with pytest.raises(FileNotFoundError, match="missing.npy"):
        datasets.load(tmp_path / "missing.npy")
    with pytest.raises(FileNotFoundError, match="missing.npz"):
        datasets.load("folder/missing.npz")
    (tmp_path / "x.csv").write_text("1,2\n")
    with pytest.raises(ValueError, match=r"'.csv'; expected one of .npy, .npz"):
        datasets.load(tmp_path / "x.csv")
    np.save(tmp_path / "object.npy", np.array([{"a": 1}]), allow_pickle=True)
    np.savez(tmp_path / "object.npz", x=np.array([{"a": 1}]), allow_pickle=True)
    np.save(tmp_path / "cut.npy", GREY)
    content = (tmp_path / "cut.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(content[:-40])
    (tmp_path / "cut.npz").write_bytes(b"PK\3\4no archive")
    for name in ("object.npy", "object.npz", "cut.npy", "cut.npz"):
        for mapped in (False, True):
            with pytest.raises(ValueError, match="cannot be read as a NumPy file"):
                datasets.load(tmp_path / name, memory_map=mapped)


@pytest.mark.parametrize("name", ["text.npy", "text.npz", "empty.npy", "empty.npz"])
@pytest.mark.parametrize("mapped", [False, True])
def test_files_of_another_kind_are_refused_as_such(name, mapped, tmp_path):
    """Catches NumPy's advice to unpickle a text file that is called .npy."""
    (tmp_path / name).write_text("" if name.startswith("empty") else "no array")
    with pytest.raises(ValueError, match=f"{name} is not a NumPy file: write it with numpy.save") as caught:
        datasets.load(tmp_path / name, memory_map=mapped)
    assert "pickle" not in str(caught.value)


def test_heavy_libraries_are_not_imported_with_the_package():
    """Catches scikit-learn or pooch at the top of a module: `import ppgen.datasets` would cost seconds."""
    sources = Path(build.__file__).parent.glob("*.py")
    for source in sources:
        for line in source.read_text().splitlines():
            assert not line.startswith(("import sklearn", "from sklearn", "import pooch", "from pooch")), source


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"image_shape": (-2, -3)}, ValueError, r"image_shape must hold positive whole numbers.*\(-2, -3\)"),
        ({"image_shape": (1.5, 4)}, ValueError, "positive whole numbers"),
        ({"image_shape": 6}, TypeError, "image_shape must hold positive whole numbers"),
    ],
)
def test_shapes_of_images_are_positive(options, error, message):
    """Catches a shape whose negative sizes have the right product."""
    with pytest.raises(error, match=message):
        datasets.load(np.eye(12, 6), **options)


def test_labels_are_classes():
    """Catches a negative class, which indexes from the end."""
    with pytest.raises(ValueError, match="labels .* classes from 0 on, got -5 at row 2"):
        datasets.load({"train": np.eye(12, 6), "train_labels": np.array([0, 1, -5] + [0] * 9)})
