"""IDX files: reading, checking, finding and fetching them."""

import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from ppgen import datasets
from ppgen.datasets import fetch, idx
from ppgen.datasets.idx import IDXFiles, load_idx, read_idx

IMAGES = np.random.default_rng(0).integers(0, 256, size=(30, 3, 2), dtype=np.uint8)
LABELS = (np.arange(30) % 10).astype(np.uint8)
ARRAYS = {
    "train-images-idx3-ubyte": IMAGES[:20],
    "train-labels-idx1-ubyte": LABELS[:20],
    "t10k-images-idx3-ubyte": IMAGES[20:],
    "t10k-labels-idx1-ubyte": LABELS[20:],
}


def encoded(array: np.ndarray, code: int = 0x08) -> bytes:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.tobytes()


FILES = IDXFiles(
    name="mnist",
    folder="MNIST/raw",
    mirrors=("https://first.invalid/", "https://second.invalid/"),
    sha256={name: hashlib.sha256(encoded(array)).hexdigest() for name, array in ARRAYS.items()},
)


def write(root: Path, compressed: bool = False) -> Path:
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name, array in ARRAYS.items():
        if compressed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(encoded(array)))
        else:
            (folder / name).write_bytes(encoded(array))
    return root


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No folder of the machine and no network: an empty cache, and downloads that fail."""

    def unreachable(url: str, path: Path) -> None:
        raise ConnectionError("no network")

    for variable in fetch.ENVIRONMENT:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(fetch, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(fetch, "download", unreachable)
    monkeypatch.setattr(idx, "MNIST", FILES)


@pytest.mark.parametrize("compressed", [False, True])
def test_mnist_is_read_from_a_torchvision_folder(tmp_path, compressed):
    """Catches a wrong byte order of the sizes, a wrong scale, and validation rows not taken from the end."""
    data = datasets.load("mnist", root=write(tmp_path, compressed), valid_size=4)
    assert data.image_shape == (3, 2)
    assert data.labels is not None
    expected = torch.from_numpy(IMAGES.reshape(30, 6) / np.float32(255))
    for split, rows in {"train": slice(0, 16), "valid": slice(16, 20), "test": slice(20, 30)}.items():
        torch.testing.assert_close(data.batch(split, slice(None)), expected[rows], rtol=0, atol=0)
        assert data.labels[split].tolist() == LABELS[rows].tolist()


@pytest.mark.parametrize("variable", ["PPGEN_DATA", "PPGEN_ROOT"])
def test_environment_variables_name_the_root(tmp_path, monkeypatch, variable):
    """Catches a variable that the documentation names and the code does not read."""
    monkeypatch.setenv(variable, str(write(tmp_path / "data")))
    assert datasets.load("mnist", valid_size=0).num_train == 20


def test_the_root_given_comes_before_the_environment(tmp_path, monkeypatch):
    """Catches an order that would read other files than the ones the caller names."""
    monkeypatch.setenv("PPGEN_DATA", str(tmp_path / "env"))
    monkeypatch.setenv("PPGEN_ROOT", str(tmp_path / "root"))
    folders = fetch.search_folders(tmp_path / "given")
    assert folders == [tmp_path / "given", tmp_path / "env", tmp_path / "root", tmp_path / "cache"]


def test_missing_files_are_named_with_the_places_and_the_way_to_get_them(tmp_path):
    """Catches an error that leaves a user on a machine without network helpless."""
    with pytest.raises(FileNotFoundError) as caught:
        datasets.load("mnist", root=tmp_path / "nowhere")
    message = str(caught.value)
    for part in (
        "train-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
        str(tmp_path / "nowhere" / "MNIST" / "raw"),
        str(tmp_path / "cache" / "MNIST" / "raw"),
        "https://second.invalid/train-images-idx3-ubyte.gz: ConnectionError",
        "with .gz from https://first.invalid/",
        "PPGEN_DATA",
    ):
        assert part in message, part
    assert not list((tmp_path / "cache").rglob("*ubyte*"))


def test_missing_files_are_fetched_once_into_the_cache(tmp_path, monkeypatch):
    """Catches a mirror that is not tried, a file without a name of its own, and a second download."""
    fetched = []

    def second_mirror_only(url: str, path: Path) -> None:
        if url.startswith("https://first"):
            raise ConnectionError("no network")
        fetched.append(url)
        Path(path).write_bytes(gzip.compress(encoded(ARRAYS[url.split("/")[-1].removesuffix(".gz")])))

    monkeypatch.setattr(fetch, "download", second_mirror_only)
    for _ in range(2):
        assert datasets.load("mnist", valid_size=0).num_train == 20
    assert fetched == [f"https://second.invalid/{name}.gz" for name in ARRAYS]
    assert sorted(path.name for path in (tmp_path / "cache" / "MNIST" / "raw").iterdir()) == sorted(
        f"{name}.gz" for name in ARRAYS
    )


def test_a_wrong_download_is_not_kept(tmp_path, monkeypatch):
    """Catches a broken file that stays in the cache and fails every later run."""
    monkeypatch.setattr(fetch, "download", lambda url, path: Path(path).write_bytes(b"<html>Sorry</html>"))
    with pytest.raises(FileNotFoundError, match="not an IDX file"):
        datasets.load("mnist")
    assert not list((tmp_path / "cache" / "MNIST" / "raw").iterdir())


def test_another_content_than_the_published_one_is_refused(tmp_path):
    """Catches results computed on a changed file."""
    root = write(tmp_path)
    changed = root / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
    changed.write_bytes(encoded(255 - IMAGES[20:]))
    with pytest.raises(ValueError, match="t10k-images-idx3-ubyte has another content.*sha256.*expected"):
        load_idx(FILES, root)


def test_a_wrong_magic_number_is_refused(tmp_path):
    """Catches any file read as pixels."""
    path = tmp_path / "train-images-idx3-ubyte"
    for content in (b"\x89PNG\r\n\x1a\n" + bytes(100), b"\0\0\x07\x03" + bytes(100), b"", b"\0\0"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="magic number.*0x00000803"):
            read_idx(path)


@pytest.mark.parametrize(
    ("name", "position", "byte", "message"),
    [
        ("train-images-idx3-ubyte", 3, 9, "0x00000809, expected 0x00000803"),
        ("train-images-idx3-ubyte", 2, 0x0D, "0x00000d03, expected 0x00000803"),
        ("t10k-labels-idx1-ubyte", 3, 3, "0x00000803, expected 0x00000801"),
    ],
)
def test_the_whole_magic_number_of_a_known_file_is_compared(tmp_path, name, position, byte, message):
    """Catches a wrong type or number of dimensions that is reported as a file cut short or too long."""
    path = write(tmp_path) / "MNIST" / "raw" / name
    content = bytearray(path.read_bytes())
    content[position] = byte
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{name}.*magic number is {message}"):
        datasets.load("mnist", root=tmp_path)


@pytest.mark.parametrize("cut", [1, 25 * 6, len(encoded(IMAGES)) - 6])
def test_a_file_cut_short_is_refused(tmp_path, cut):
    """Catches rows of rubbish or a bare reshape error; also when the header itself is cut."""
    path = tmp_path / "images"
    path.write_bytes(encoded(IMAGES)[:-cut])
    with pytest.raises(ValueError, match="cut short"):
        read_idx(path)
    path.write_bytes(gzip.compress(encoded(IMAGES))[:-cut])
    with pytest.raises(ValueError, match="damaged gzip|not an IDX|cut short"):
        read_idx(path)


def test_a_file_that_is_too_long_is_refused(tmp_path):
    """Catches two files glued together."""
    path = tmp_path / "images"
    path.write_bytes(encoded(IMAGES) + b"\0")
    with pytest.raises(ValueError, match="too long"):
        read_idx(path)


def test_other_number_types_are_read_in_big_endian_order(tmp_path):
    """Catches floats and integers read in the machine's own byte order."""
    path = tmp_path / "values"
    values = np.array([[1.5, -2.0], [0.25, 3.0], [0.0, 7.0]])
    path.write_bytes(encoded(values.astype(">f4"), code=0x0D))
    assert np.array_equal(read_idx(path), values)
    path.write_bytes(encoded(np.array([1, -300], dtype=">i4"), code=0x0C))
    assert read_idx(path).tolist() == [1, -300]
