"""MNIST and Fashion-MNIST: IDX files in torchvision's layout, checked by the sha256 of what they hold."""

import gzip
import hashlib
import math
import zlib
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import IO, cast

import numpy as np

from ppgen.datasets.fetch import find_or_fetch
from ppgen.datasets.files import DEFLATE_FACTOR
from ppgen.datasets.source import Source

NUM_VALID = 5_000
IMAGES_MAGIC, LABELS_MAGIC = 0x00000803, 0x00000801

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


@dataclass(frozen=True)
class IDXFiles:
    """Where the four files of a data set lie, and the sha256 of their decompressed content by name."""

    name: str
    folder: str
    mirrors: tuple[str, ...]
    sha256: dict[str, str]


MNIST = IDXFiles(
    name="mnist",
    folder="MNIST/raw",
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    sha256={
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
)

FASHION_MNIST = IDXFiles(
    name="fashion_mnist",
    folder="FashionMNIST/raw",
    mirrors=("https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",),
    sha256={
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
)


def load_mnist(root: str | PathLike | None = None) -> Source:
    """Handwritten digits, 28x28, 256 grey levels: 55,000 train, 5,000 valid, 10,000 test.

    The validation rows are the last of the 60,000 training images. Many published runs train on all of them:
    `valid_size=0` does.

    References:
        LeCun, Bottou, Bengio, Haffner (1998), Gradient-based learning applied to document recognition.
    """
    return load_idx(MNIST, root)


def load_fashion_mnist(root: str | PathLike | None = None) -> Source:
    """Articles of clothing, 28x28, 256 grey levels: 55,000 train, 5,000 valid, 10,000 test.

    The validation rows are the last of the 60,000 training images; `valid_size=0` trains on all of them.

    References:
        Xiao, Rasul, Vollgraf (2017), Fashion-MNIST: a novel image dataset, arXiv:1708.07747.
    """
    return load_idx(FASHION_MNIST, root)


def load_idx(files: IDXFiles, root: str | PathLike | None = None) -> Source:
    """Images and labels of four IDX files, found in the user's folders or fetched.

    Raises:
        FileNotFoundError: If a file is in none of these folders and cannot be fetched.
        ValueError: If a file is not an IDX file, is cut short, or has another content than the published one.
    """

    def checked(path: Path, name: str) -> np.ndarray:
        magic = IMAGES_MAGIC if "images" in name else LABELS_MAGIC
        return read_idx(path, sha256=files.sha256[name], magic=magic)

    paths = find_or_fetch(files.folder, tuple(files.sha256), files.mirrors, root=root, check=checked)
    train_images, train_labels, test_images, test_labels = (checked(paths[name], name) for name in files.sha256)
    return Source(
        name=files.name,
        arrays={"train": train_images, "test": test_images},
        labels={"train": train_labels, "test": test_labels},
        scale=255.0,
        valid_size=NUM_VALID,
    )


def read_idx(path: str | PathLike, sha256: str | None = None, magic: int | None = None) -> np.ndarray:
    """Array held by an IDX file, raw or compressed with gzip (by its content, whatever its name).

    The format: two zero bytes, a type code, the number of dimensions, their sizes as big-endian 32-bit
    integers, and the values in row-major order.

    Args:
        path: File to read.
        sha256: Expected hexadecimal digest of the decompressed content; not checked if None.
        magic: Expected first four bytes; any type and number of dimensions if None.

    Raises:
        ValueError: On a wrong magic number, a file cut short or too long, another checksum, or no regular file.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is no regular file, as a folder, a pipe or a device is not.")
    size = path.stat().st_size
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
    with cast(IO[bytes], gzip.open(path) if packed else path.open("rb")) as file:
        try:
            head = file.read(4)
            _check_magic(path, head, magic)
            head += file.read(4 * head[3])
            start = 4 + 4 * head[3]
            shape = tuple(int(each) for each in np.frombuffer(head[4:].ljust(start - 4, b"\0"), dtype=">u4"))
            dtype = np.dtype(_TYPES[head[2]])
            expected = start + dtype.itemsize * math.prod(shape)
            found = size
            content = head
            if expected <= size * (DEFLATE_FACTOR if packed else 1):  # sizes first: the header may announce anything
                content += file.read(expected - start)
                found = max(len(content) + len(file.read(1)), 0 if packed else size)
        except (EOFError, OSError, zlib.error) as error:
            if not packed:
                raise
            raise ValueError(f"{path} is a damaged gzip file ({error}). Delete it and fetch it again.") from error
    if found != expected:
        state = "cut short" if found < expected else "too long"
        raise ValueError(
            f"{path} is {state}: its header announces {expected} bytes, it holds {found}"
            f"{' or more' if found > expected else ''}. Delete it and fetch it again."
        )
    digest = hashlib.sha256(content).hexdigest() if sha256 else None
    if digest != sha256:
        raise ValueError(
            f"{path} has another content than the published file: sha256 {digest}, expected {sha256}. "
            "Delete it and fetch it again."
        )
    return np.frombuffer(content, dtype=dtype, offset=start).reshape(shape)


def _check_magic(path: Path, head: bytes, magic: int | None) -> None:
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _TYPES or head[3] == 0:
        raise ValueError(
            f"{path} is not an IDX file: its magic number is 0x{head.hex()}, expected 0x0000 followed "
            "by a type code and the number of dimensions (0x00000803 for images, 0x00000801 for labels)."
        )
    if magic is not None and int.from_bytes(head, "big") != magic:
        raise ValueError(
            f"{path} is not the file that its name says: its magic number is 0x{head.hex()}, expected "
            f"0x{magic:08x}. Delete it and fetch it again."
        )
