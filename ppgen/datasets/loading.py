"""One door to all data: registered names, files, arrays and tensors."""

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from ppgen import registry
from ppgen.checks.arguments import check_count, check_path
from ppgen.checks.arrays import TorchData, checked_array, is_array
from ppgen.checks.switches import check_switches
from ppgen.datasets.binarization import check_binarize
from ppgen.datasets.build import build
from ppgen.datasets.dataset import Dataset
from ppgen.datasets.files import SUFFIXES, source_of_arrays, source_of_file
from ppgen.datasets.integers import check_integers
from ppgen.datasets.loader_options import bound_options, refuse_options
from ppgen.datasets.paired import PairedDataset
from ppgen.datasets.source import Size, Source

_WANTED = (
    "{} must be a registered name, the path of a .npy or .npz file, an array, a tensor or a mapping of arrays, got {}."
)


def load(
    name: str | PathLike | Tensor | Any,
    binarize: str | None = None,
    root: str | PathLike | None = None,
    seed: int = 0,
    *,
    valid_size: Size = None,
    test_size: Size = None,
    num_features: int | None = None,
    image_shape: tuple[int, ...] | None = None,
    packed: bool = False,
    memory_map: bool | None = None,
    integers: Literal["tokens", "counts", "levels"] | None = None,
    **options: Any,
) -> Dataset:
    """Load a data set by name, from a file, or from an array.

    Arrays and files without splits of their own are put in a random order of fixed seed; the last tenth
    becomes the test rows, the tenth before them the validation rows, whatever `seed` is. Values of the user's
    own are never rescaled. Large files are mapped: they are read through once, in pieces, to be checked, and
    then row by row.

    Args:
        name: A registered name (see `available`); the path of a `.npy` or `.npz` file; an array or tensor,
            rows x features or rows x height x width; or a mapping with keys `train` and, if there are any,
            `valid`, `test`, `train_labels`, `valid_labels`, `test_labels`, and with `integers`
            also `vocabulary`, a list of texts. An `.npz` file holds one array or these keys.
        binarize: None leaves the values as they are; `"threshold"`: 1 where the value is above 0.5;
            `"fixed"`: one draw x = [u < p] with the grey level for p, made from `seed`; `"dynamic"`: drawn
            anew whenever a training batch is made, the rows for evaluation drawn once from `seed` (the same
            as with `"fixed"`).
        root: Folder in which public data sets are looked for first, in torchvision's layout
            (`root/MNIST/raw/...`); then the folders that the environment variables `PPGEN_DATA` and
            `PPGEN_ROOT` name, then the user cache, into which they are fetched if they are nowhere.
        seed: Seed of the draws of `"fixed"` and `"dynamic"`.
        valid_size: Validation rows to cut off the training rows: a number, or a fraction in (0, 1).
        test_size: Test rows to cut off, a number or a fraction in (0, 1), of data without test rows of their own.
        num_features: Number of features that a row must have.
        image_shape: Shape of a row as an image, where the array does not show it.
        packed: The array holds eight bits a byte (`numpy.packbits(x, axis=1)`); `num_features` drops padding
            bits.
        memory_map: Whether a file is mapped from disk; None maps files of 256 MiB and more.
        integers: None makes all values float32. Whole numbers stay so, as int64 and not scaled, as `"tokens"` (places
            in a vocabulary), `"counts"` or `"levels"` (such as the grey levels of an image).
        **options: Options of a registered data set that has some, which become part of its configuration and checksum.

    Raises:
        ValueError: On an unknown name, a bad option, or data that are empty, not finite, outside [0, 1] with
            a binarisation, of a wrong shape or number of features, or other than their published checksum.
        FileNotFoundError: If a file is missing and cannot be fetched.
        TypeError: If `name` is nothing that data can be loaded from, or the data set has no such option.

    Example:
        >>> from ppgen import datasets
        >>> digits = datasets.load("digits", binarize="threshold")
        >>> digits.train[:128].shape, digits.labels["test"].shape
        (torch.Size([128, 64]), torch.Size([300]))
    """
    check_switches(optional=("memory_map",), packed=packed, memory_map=memory_map)
    check_binarize(binarize)
    check_count("num_features", num_features, optional=True)
    if root is not None:
        check_path("root", root)
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise ValueError(f"seed must be an int, 0 or more and below 2^63, got {seed!r}.")
    if image_shape is not None and (isinstance(image_shape, str) or not isinstance(image_shape, Iterable)):
        raise TypeError(f"image_shape must hold positive whole numbers, such as (28, 28), got {image_shape!r}.")
    check_integers(integers, binarize)
    source, bound = _source(name, root, packed, memory_map, integers, options)
    return build(
        source,
        options=bound,
        binarize=binarize,
        seed=seed,
        valid_size=valid_size,
        test_size=test_size,
        num_features=num_features,
        image_shape=image_shape,
    )


def as_dataset(data: Any, *, valid_size: Size = None, test_size: Size = None, **options: Any) -> Dataset:
    """`data` if it is a `Dataset`; else what `load` makes of it, with every row of an array a training row.

    Args:
        data: A `Dataset`, or anything that `load` takes.
        valid_size: As in `load`, but None means 0 for arrays (names and files keep their splits).
        test_size: As in `load`, but None means 0 for arrays.
        **options: Other arguments of `load`.

    Raises:
        ValueError: If options are given with a `Dataset`, which has its splits and its binarisation already.

    Example:
        >>> import torch
        >>> from ppgen import datasets
        >>> datasets.as_dataset(torch.eye(3))
        Dataset(array (binary as given): 3 train, 0 valid, 0 test rows x 3 features)
    """
    if isinstance(data, Dataset):
        if options or valid_size is not None or test_size is not None:
            raise ValueError(
                f"{data!r} is a data set already: its splits and binarisation cannot be chosen again. "
                "Give them to ppgen.datasets.load."
            )
        return data
    if isinstance(data, PairedDataset):
        raise TypeError(f"Rows of one kind are expected, got pairs ({data.describe()}): give their .rows.")
    if isinstance(data, TorchData):
        checked_array(data, "data")
    if not isinstance(data, (str, PathLike)):
        if not (isinstance(data, Mapping) or is_array(data)):
            raise TypeError(_WANTED.format("data", type(data).__name__))
        held = data if isinstance(data, Mapping) else ()
        valid_size = 0 if valid_size is None and "valid" not in held else valid_size
        test_size = 0 if test_size is None and "test" not in held else test_size
    return load(data, valid_size=valid_size, test_size=test_size, **options)


def available() -> dict[str, str]:
    """Registered data sets by name, each with one line on what it is.

    Example:
        >>> from ppgen import datasets
        >>> sorted(datasets.available())
        ['digits', 'fashion_mnist', 'mnist', 'photo_patches']
    """
    lines = {name: registry.lookup("data set", name).__doc__ or "" for name in registry.names("data set")}
    return {name: text.strip().partition("\n")[0] for name, text in lines.items()}


def _source(
    name: Any,
    root: str | PathLike | None,
    packed: bool,
    memory_map: bool | None,
    integers: str | None,
    options: Mapping[str, Any],
) -> tuple[Source, dict[str, Any]]:
    """What is to be loaded, and the options with which it was."""
    known = list(inspect.signature(load).parameters)
    if isinstance(name, str) and not _looks_like_file(name):
        if packed or memory_map is not None:
            raise ValueError("packed and memory_map are for files and arrays of your own, not for registered names.")
        loader = _loader(name)
        bound = bound_options(name, loader, options, known)
        source = loader(root, **bound)
        if integers is None:
            return source, bound
        if source.integers not in (None, integers):
            raise ValueError(f"Data set {name!r} holds {source.integers}; integers={integers!r} cannot be asked for.")
        return replace(source, integers=integers), bound
    refuse_options(options, known)
    if isinstance(name, (str, PathLike)):
        return source_of_file(Path(name).expanduser(), packed=packed, memory_map=memory_map, integers=integers), {}
    if isinstance(name, Mapping) or is_array(name):
        return source_of_arrays(name, packed=packed, integers=integers), {}
    raise TypeError(_WANTED.format("name", type(name).__name__))


def _looks_like_file(name: str) -> bool:
    return name.endswith(SUFFIXES) or "/" in name or "\\" in name


def _loader(name: str) -> Any:
    try:
        return registry.lookup("data set", name)
    except ValueError as error:
        raise ValueError(f"{error} A file of your own is named by its path, ending in .npy or .npz.") from None
