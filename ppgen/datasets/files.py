"""Arrays of the user's own: NumPy arrays, tensors, and `.npy` and `.npz` files, mapped from disk if large."""

import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from torch import Tensor

from ppgen.checks.arrays import checked_array
from ppgen.datasets.dataset import SPLITS
from ppgen.datasets.source import Source

SUFFIXES = (".npy", ".npz")
_BEGINNINGS = {".npy": b"\x93NUMPY", ".npz": b"PK"}
# A file this large is mapped: as float32 it may take eight times its size in memory.
MAP_BYTES = 256 * 2**20
DEFLATE_FACTOR = 1032
"""Deflate, as zip and gzip files use it, makes at most this many bytes of one."""

# What NumPy and zipfile raise on files that are not what they say.
_UNREADABLE = (
    ValueError,
    EOFError,
    OSError,
    RuntimeError,
    MemoryError,
    OverflowError,
    KeyError,
    zipfile.BadZipFile,
    zlib.error,
)


def source_of_file(path: Path, *, packed: bool = False, memory_map: bool | None = None) -> Source:
    """Rows of a `.npy` file, or of an `.npz` file with one array or the keys `train`, `valid`, `test`.

    Labels are taken from the keys `labels` (beside one array) or `train_labels`, `valid_labels`,
    `test_labels`.

    Args:
        path: File to read.
        packed: Eight bits a byte.
        memory_map: Whether the arrays are mapped from disk; None maps files of 256 MiB and more. Compressed
            members of an `.npz` file cannot be mapped and are read.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no such file, or its keys do not say which array is which.
    """
    if not path.is_file():
        if path.exists() and not path.is_dir():
            raise ValueError(f"{path} is no regular file, as a pipe or a device is not: its size is not known.")
        raise FileNotFoundError(f"No data file {path} (looked for {path.absolute()}).")
    if path.suffix not in SUFFIXES:
        raise ValueError(f"Data file {path} has suffix {path.suffix!r}; expected one of {', '.join(SUFFIXES)}.")
    with path.open("rb") as file:
        known = file.read(6).startswith(_BEGINNINGS[path.suffix])
    if not known:
        raise ValueError(f"{path} is not a NumPy file: write it with numpy.save or numpy.savez.")
    mapped = path.stat().st_size >= MAP_BYTES if memory_map is None else memory_map
    try:
        if path.suffix == ".npy":
            with path.open("rb") as file:
                check_announced(file, path.stat().st_size)
            arrays = {"train": np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)}
        else:
            arrays = _members(path, mapped)
    except _UNREADABLE as error:
        raise ValueError(f"{path} cannot be read as a NumPy file of numbers: {error}") from error
    return source_of_arrays(arrays, name=path.stem, packed=packed)


def _members(path: Path, mapped: bool) -> dict[str, np.ndarray]:
    """Arrays of an `.npz` file by key, after a look at what they will take."""
    _check_members(path, mapped)
    if mapped:
        return mapped_npz(path)
    with path.open("rb") as file, np.load(file, allow_pickle=False) as members:
        return {key: members[key] for key in members.files}


def check_announced(file: IO[bytes], size: int) -> None:
    """Compare what a `.npy` header announces with the bytes that there are, before memory is taken for it.

    Args:
        file: At the start of the header; left behind it.
        size: Bytes from there to the end.

    Raises:
        ValueError: If the header is none, or announces another number of bytes.
    """
    start = file.tell()
    shape, _, dtype = _header(file)
    if dtype.hasobject:
        return  # which is refused when it is read
    left = size - (file.tell() - start)
    announced = dtype.itemsize
    for length in shape:
        announced *= length
    if announced != left:
        raise ValueError(f"its header announces {announced} bytes of values, and {left} follow")


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether column-major, and type, as the header of a `.npy` file says."""
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0
    if version != (1, 0):
        read_header = np.lib.format.read_array_header_2_0
    shape, fortran_order, dtype = read_header(file)
    if any(type(length) is not int or length < 0 for length in shape):  # NumPy takes True and -1 for numbers
        raise ValueError(f"its header announces the shape {shape}")
    return shape, fortran_order, dtype


def _check_members(path: Path, mapped: bool) -> None:
    """Add up what the members of an `.npz` file will take, before any is read."""
    total = 0
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            stored = info.compress_type == zipfile.ZIP_STORED
            most = info.compress_size * (1 if stored else DEFLATE_FACTOR)
            if info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) and info.file_size > most:
                raise ValueError(f"member {info.filename!r} cannot hold the {info.file_size} bytes that it announces")
            with archive.open(info) as member:
                check_announced(member, info.file_size)
            total += 0 if stored and mapped else info.file_size
    if total > memory():
        raise ValueError(f"its arrays take {total} bytes, more than the memory of this machine")


def memory() -> float:
    """Bytes of memory of this machine; infinite where the system does not say."""
    if not hasattr(os, "sysconf"):
        return float("inf")
    return float(os.sysconf("SC_PHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE")


def source_of_arrays(data: Any, *, name: str = "array", packed: bool = False) -> Source:
    """Source of an array, a tensor, or a mapping with the keys that an `.npz` file may have.

    Raises:
        TypeError: If an array does not hold numbers.
        ValueError: If keys do not say which array is which.
    """
    members = dict(data) if isinstance(data, Mapping) else {"train": data}
    labels = {key: members.pop(key) for key in [f"{split}_labels" for split in SPLITS] + ["labels"] if key in members}
    if "train" not in members and len(members) == 1:
        members = {"train": next(iter(members.values()))}
    unknown = [key for key in members if key not in SPLITS]
    if "train" not in members or unknown:
        raise ValueError(
            f"Data set {name!r} has arrays named {', '.join(map(repr, members)) or 'nothing'}; expected one "
            "array, or 'train' with or without 'valid' and 'test' (and 'train_labels', ... for their "
            "classes)."
        )
    if "labels" in labels:
        labels["train_labels"] = labels.pop("labels")
    arrays = {split: as_numpy(members[split], f"{split} rows of data set {name!r}") for split in members}
    return Source(
        name=name,
        arrays=arrays,
        labels={key.removesuffix("_labels"): as_numpy(values, f"{key} of {name!r}") for key, values in labels.items()},
        packed=packed,
        shuffle=True,
    )


def as_numpy(data: Any, what: str) -> np.ndarray:
    """Array of numbers, a mapped one as it is.

    Raises:
        TypeError: If `data` is no array or tensor of booleans, integers or floats.
    """
    found = checked_array(data, f"The {what}")
    if not isinstance(found, Tensor):
        return found
    values = found.detach().cpu()
    return (values.float() if values.dtype.is_floating_point and values.element_size() < 4 else values).numpy()


def mapped_npz(path: Path) -> dict[str, np.ndarray]:
    """Arrays of an `.npz` file by key, mapped from disk where stored uncompressed (`numpy.savez`)."""
    arrays: dict[str, np.ndarray] = {}
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        for info in archive.infolist():
            key = info.filename.removesuffix(".npy")
            if info.compress_type != zipfile.ZIP_STORED:
                with archive.open(info) as member:
                    arrays[key] = np.lib.format.read_array(member, allow_pickle=False)
                continue
            # The local header: 30 bytes, of which two 16-bit lengths at 26 tell how far the member's data lie
            # behind.
            file.seek(info.header_offset + 26)
            lengths = np.frombuffer(file.read(4), dtype="<u2")
            file.seek(info.header_offset + 30 + int(lengths.sum()))
            shape, fortran_order, dtype = _header(file)
            if dtype.hasobject:
                raise ValueError(f"member {key!r} holds Python objects")
            # Both orders by one call: a column-major array is the transpose of a row-major one.
            stored_shape = shape[::-1] if fortran_order else shape
            mapped = np.memmap(path, dtype=dtype, mode="r", offset=file.tell(), shape=stored_shape)
            arrays[key] = mapped.T if fortran_order else mapped
    return arrays
