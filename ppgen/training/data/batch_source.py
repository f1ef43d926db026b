"""Where batches come from: a `Dataset`, or the user's own tensors, alone, as a tuple or as a mapping."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from ppgen import datasets, seeds
from ppgen.batch import Batch, changed, parts_of, rebuilt
from ppgen.checks.arrays import TorchData, as_tensor, checked_array, is_array, is_label, parameter_dtype
from ppgen.datasets.dataset import drawn
from ppgen.datasets.rows import is_mapped
from ppgen.devices import free_memory, is_accelerator
from ppgen.training.data.lazy_batch import LazyBatch
from ppgen.training.data.streaming import Mapped, Stream, held, is_stored, num_bytes, pieces


class BatchSource:
    """Rows for training and validation, on the device and in the precision of the pair.

    Data that fit on an accelerator are held there, each array as one tensor. Training rows that are not held in
    memory, or not in that of the device, are read ahead by a `Stream`.

    Args:
        data: What `ppgen.datasets.as_dataset` takes; a `PairedDataset`; or a tuple (positional arguments of model and
            guide) or a mapping (keyword arguments) of tensors or arrays, perhaps mapped from disk, with equal first
            sizes. All rows of tensors and arrays are for training.
        device: Where batches go.
        as_given: Whether a tensor or array alone keeps its shape and type, as those of a tuple do, instead of
            being made a `Dataset`.

    Raises:
        ValueError: If tensors have different numbers of rows, or none.
        TypeError: If they are no tensors.
    """

    def __init__(self, data: Any, device: torch.device, as_given: bool = False) -> None:
        self.device = device
        self.dtype: torch.dtype | None = None
        self.tensors: Any = None
        self.dataset: Any = None
        self.pairs: datasets.PairedDataset | None = None
        self._stream: Stream | None = None
        if isinstance(data, TorchData):
            checked_array(data, "data")
        if as_given and is_array(data):
            self.tensors = array_leaf(data, "data")
            self.num_train, self.num_valid = _common_rows(self.tensors), 0
        elif isinstance(data, tuple) or (isinstance(data, Mapping) and "train" not in data):
            self.tensors = (
                {name: array_leaf(value, f"data[{name!r}]") for name, value in data.items()}
                if isinstance(data, Mapping)
                else tuple(array_leaf(value, f"data[{index}]") for index, value in enumerate(data))
            )
            if not as_given:
                self.tensors = changed(self.tensors, _label)
            self.num_train, self.num_valid = _common_rows(self.tensors), 0
        else:
            self.pairs = data if isinstance(data, datasets.PairedDataset) else None
            self.dataset = datasets.as_dataset(data if self.pairs is None else self.pairs.rows)
            self.num_train, self.num_valid = self.dataset.num_train, len(self.dataset.valid)
        if is_accelerator(device):
            self._hold()

    def take_dtype(self, pair: Any) -> None:
        """Give floating-point rows in the type of the pair's parameters, once there are any."""
        self.dtype = parameter_dtype(pair)

    def _hold(self) -> None:
        """Put on the device what fits there."""
        if self.dataset is not None:
            if _fits(self.dataset, self.device):
                moved = self.dataset.to(self.device)
                # What training and its metrics read; of a mapped file, the rest stays on disk.
                train = "train" if moved.train_probabilities is None else "train_probabilities"
                kept = {name: held(getattr(moved, name), self.device) for name in (train, "valid")}
                self.dataset = replace(moved, **kept)
                self.pairs = self.pairs and self.pairs.over(self.dataset)
        elif sum(map(num_bytes, parts_of(self.tensors))) < _room(self.device):
            self.tensors = changed(self.tensors, lambda leaf: held(leaf, self.device))

    @cached_property
    def streamed(self) -> bool:
        """Whether training rows are read ahead: they are on disk, or did not fit on the device."""
        elsewhere = is_accelerator(self.device)
        return any(is_stored(leaf) or (elsewhere and leaf.device.type == "cpu") for leaf in self._train_leaves())

    def along(self, order: Tensor, start: int, size: int, generator: torch.Generator | None = None) -> Batch:
        """Training rows `order[start : start + size]`, where the following ones will be asked for next.

        The same as `batch`, also in what it draws; streamed rows were read while the step before was computed.
        """
        if not self.streamed:
            return self.batch("train", order[start : start + size], generator)
        if self._stream is None or not self._stream.is_at(order, start, size):
            self._stream = Stream(self._train_leaves(), order, start, size, self.device)
        rows = self._stream.take()
        if self.dataset is not None and self.dataset.train_probabilities is not None:
            rows[0] = drawn(rows[0].to(self.device, non_blocking=True), generator)
        return self._assembled([self._place(tensor) for tensor in rows])

    def selection(self, index: Tensor, generator: torch.Generator | None = None) -> LazyBatch | None:
        """Training rows `index`, to be gathered where they are used; None if they are read from elsewhere.

        What its `batch` gives is what the method `batch` would.
        """
        if self.streamed:
            return None
        grey = self.dataset is not None and self.dataset.train_probabilities is not None
        return LazyBatch(self._train_leaves(), index, grey, generator, self._place, self._assembled)

    def _assembled(self, leaves: list[Tensor]) -> Batch:
        if self.dataset is None:
            return rebuilt(self.tensors, leaves)
        return leaves[0] if self.pairs is None else self.pairs.assembled(leaves)

    def _beside(self, split: str) -> list[Tensor]:
        return [] if self.pairs is None else self.pairs.beside(split)

    def _train_leaves(self) -> list[Any]:
        if self.dataset is None:
            return parts_of(self.tensors)
        probabilities = self.dataset.train_probabilities
        return [self.dataset.train if probabilities is None else probabilities, *self._beside("train")]

    def batch(self, split: str, index: Tensor, generator: torch.Generator | None = None) -> Batch:
        """Rows `index` of a split; dynamic binarisation draws from `generator`."""
        if self.dataset is not None:
            rows = self.dataset.batch(split, index, generator=generator)
            return self._assembled([self._place(each) for each in (rows, *(y[index] for y in self._beside(split)))])
        return changed(self.tensors, lambda leaf: self._place(leaf[index]))

    def whole(self, split: str) -> Batch:
        """All rows of a split of a data set, in memory, as they are stored."""
        if self.pairs is None:
            return self.dataset.split(split)[:]
        return tuple(part[:] for part in self.pairs.split(split))

    @property
    def labels(self) -> dict[str, Tensor] | None:
        """Label of each row by split, -1 where there is none: of pairs, or of a tuple (x, y) or mapping with y."""
        if self.pairs is not None:
            return None if self.pairs.classes is not None else self.pairs.labels
        second = None
        if isinstance(self.tensors, Mapping):
            second = self.tensors.get("y")
        elif isinstance(self.tensors, tuple) and len(self.tensors) > 1:
            second = self.tensors[1]
        if not isinstance(second, (Tensor, Mapped)) or second.ndim != 1 or second.dtype.is_floating_point:
            return None
        return {"train": second if isinstance(second, Tensor) else second[torch.arange(len(second))]}

    @property
    def of_bits(self) -> bool:
        """Whether all that programs see is known to be bits."""
        return self.dataset is not None and self.dataset.is_binary and not self._beside("train")

    def _place(self, tensor: Tensor) -> Tensor:
        dtype = self.dtype if self.dtype is not None and tensor.is_floating_point() else tensor.dtype
        return tensor.to(device=self.device, dtype=dtype, non_blocking=True)

    @property
    def num_features(self) -> int | None:
        """Observed variables of a row; None where the data are not one table."""
        if self.pairs is not None:
            return None
        if self.dataset is not None:
            return self.dataset.num_features
        leaves = parts_of(self.tensors)
        return leaves[0].shape[1] if len(leaves) == 1 and leaves[0].ndim == 2 else None

    def describe(self) -> str:
        """The data in a few words, with the binarisation."""
        if self.dataset is not None:
            return (self.pairs or self.dataset).describe()
        if not isinstance(self.tensors, (tuple, Mapping)):
            return f"tensor of shape {tuple(self.tensors.shape)}"
        return f"{len(self.tensors)} tensors of {self.num_train} rows"

    def to_config(self) -> dict[str, Any]:
        """What a checkpoint records, so that another data set is noticed."""
        if self.dataset is None:
            checksum = checksum_of(self.tensors)
            return {
                "name": None,
                "description": self.describe(),
                "checksum": checksum,
                "rows": self.num_train,
            }
        return {
            "description": self.describe(),
            "name": self.dataset.name,
            "checksum": (self.pairs or self.dataset).checksum,
            "binarization": self.dataset.binarization,
            "seed": self.dataset.seed,
            "rows": self.num_train,
            **({"options": dict(self.dataset.options)} if self.dataset.options else {}),
            **({"pairs": dict(self.pairs.options)} if self.pairs is not None else {}),
        }


def order(num_rows: int, generator: torch.Generator) -> Tensor:
    """Order of the training rows in one epoch: each row once."""
    return torch.randperm(num_rows, generator=generator)


def chunks(index: Tensor, size: int) -> Iterator[Tensor]:
    """Consecutive parts of at most `size` entries; the ragged last one is kept.

    Example:
        >>> [len(part) for part in chunks(torch.arange(7), 3)]
        [3, 3, 1]
    """
    for start in range(0, len(index), size):
        yield index[start : start + size]


def fixed_subset(num_rows: int, size: int, purpose: str) -> Tensor:
    """Sorted rows drawn without replacement, the same in every run."""
    picked = torch.randperm(num_rows, generator=seeds.generator(0, "subset", purpose))[:size]
    return picked.sort().values


def example(batch: Batch) -> Any:
    """Shapes and types of a batch as JSON can hold them; `from_example` makes zeros like it."""
    if isinstance(batch, Mapping):
        return {"keyword": {name: example(value) for name, value in batch.items()}}
    if isinstance(batch, tuple):
        return {"positional": [example(value) for value in batch]}
    if not isinstance(batch, Tensor):
        return {"constant": batch if isinstance(batch, (bool, int, float, str)) or batch is None else repr(batch)}
    return {"shape": list(batch.shape), "dtype": str(batch.dtype).removeprefix("torch.")}


def from_example(content: Any) -> Batch:
    """Batch of zeros with the shapes and types that `example` wrote.

    Example:
        >>> from_example(example(torch.ones(2, 3))).shape
        torch.Size([2, 3])
    """
    if "keyword" in content:
        return {str(name): from_example(value) for name, value in content["keyword"].items()}
    if "positional" in content:
        return tuple(from_example(value) for value in content["positional"])
    if "constant" in content:
        return content["constant"]
    known = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
    if content["dtype"] not in known:
        raise ValueError(f"dtype {content['dtype']!r} of a recorded batch is not known.")
    return torch.zeros(content["shape"], dtype=getattr(torch, content["dtype"]))


def _fits(dataset: Any, device: torch.device) -> bool:
    size = (
        dataset.train.dtype.itemsize
        * dataset.num_features
        * (2 * dataset.num_train + len(dataset.valid) + len(dataset.test))
    )
    return size < _room(device)


def _room(device: torch.device) -> float:
    return free_memory(device) / 4


def array_leaf(value: Any, name: str) -> Any:
    """An array as a tensor, or as it lies on disk; anything else as it is."""
    if is_mapped(value):
        checked_array(value, name)
        return Mapped(value)
    if isinstance(value, (datasets.Rows, Mapped)) or not (is_array(value) or isinstance(value, TorchData)):
        return value
    return as_tensor(value, name).detach()


def _label(leaf: Any) -> Any:
    """Labels as int64, as an evaluation gives them; anything else as it is."""
    if not isinstance(leaf, (Tensor, Mapped)) or leaf.dtype == torch.int64 or not is_label(leaf):
        return leaf
    return leaf[torch.arange(len(leaf))].long()


def _common_rows(tensors: Any) -> int:
    leaves = parts_of(tensors)
    if not leaves:
        raise ValueError("data is empty: give at least one tensor.")
    for leaf in leaves:
        if not isinstance(leaf, (Tensor, Mapped)) or leaf.ndim == 0:
            raise TypeError(
                f"data must hold tensors with one row a datum, got "
                f"{'a single number' if isinstance(leaf, (Tensor, Mapped)) else type(leaf).__name__}. "
                "Constants belong in ppgen.Pair(model_args=..., model_kwargs=...)."
            )
    sizes = sorted({len(leaf) for leaf in leaves})
    if len(sizes) > 1 or sizes[0] == 0:
        raise ValueError(f"data must hold tensors with one common, positive number of rows, got {sizes}.")
    return sizes[0]


def checksum_of(tensors: Any) -> str:
    """Hash of one tensor, or of a tuple or mapping of them: names, types, shapes and values."""
    digest = hashlib.sha256()
    names = list(tensors) if isinstance(tensors, Mapping) else []
    digest.update(repr(names).encode())
    for leaf in parts_of(tensors):
        if not hasattr(leaf, "dtype"):
            digest.update(_constant(leaf))
            continue
        digest.update(f"{leaf.dtype}{tuple(leaf.shape)}".encode())
        leaf = leaf if leaf.ndim else leaf.reshape(1)
        for index in pieces(leaf):
            digest.update(leaf[index].detach().cpu().contiguous().view(torch.uint8).numpy())
    return digest.hexdigest()


def _constant(leaf: Any) -> bytes:
    """What tells an argument that is no tensor from another: numbers and words in it, tensors by their values."""
    parts = [checksum_of(each) if isinstance(each, Tensor) else _told(each) for each in tree_leaves(leaf)]
    return repr((type(leaf).__name__, parts)).encode()


def _told(value: Any) -> str:
    plain = isinstance(value, (bool, int, float, complex, str, bytes)) or value is None
    return repr(value) if plain else type(value).__name__
