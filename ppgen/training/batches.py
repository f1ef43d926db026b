"""Where batches come from: a `Dataset`, or the user's own tensors, alone, as a tuple or as a mapping."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppgen.training import seeds

Batch = Tensor | tuple[Any, ...] | dict[str, Any]


class Source:
    """Rows for training and validation, on the device and in the precision of the pair.

    Args:
        data: What `ppgen.datasets.as_dataset` takes; or a tuple (positional arguments of model and guide) or
            a mapping (keyword arguments) of tensors with equal first sizes. All rows of tensors and arrays are
            for training.
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
        self.tensors: Batch | None = None
        self.dataset: Any = None
        if as_given and isinstance(data, (Tensor, np.ndarray)):
            if isinstance(data, np.ndarray) and not data.flags.writeable:
                data = data.copy()  # torch warns about arrays that it could write to and must not
            self.tensors = torch.as_tensor(data).detach()
            self.num_train, self.num_valid = _common_rows(self.tensors), 0
        elif isinstance(data, tuple) or (isinstance(data, Mapping) and "train" not in data):
            self.tensors = dict(data) if isinstance(data, Mapping) else tuple(data)
            self.num_train, self.num_valid = _common_rows(self.tensors), 0
        else:
            from ppgen import datasets

            self.dataset = datasets.as_dataset(data)
            self.num_train, self.num_valid = self.dataset.num_train, len(self.dataset.valid)
            if device.type == "cuda" and _fits(self.dataset, device):
                self.dataset = self.dataset.to(device)

    def batch(self, split: str, index: Tensor, generator: torch.Generator | None = None) -> Batch:
        """Rows `index` of a split; dynamic binarisation draws from `generator`."""
        if self.dataset is not None:
            return self._place(self.dataset.batch(split, index, generator=generator))
        if isinstance(self.tensors, Tensor):
            return self._place(self.tensors[index])
        if isinstance(self.tensors, tuple):
            return tuple(self._place(tensor[index]) for tensor in self.tensors)
        assert isinstance(self.tensors, dict)  # noqa: S101 - narrows the type only
        return {name: self._place(tensor[index]) for name, tensor in self.tensors.items()}

    def _place(self, tensor: Tensor) -> Tensor:
        dtype = self.dtype if self.dtype is not None and tensor.is_floating_point() else tensor.dtype
        return tensor.to(device=self.device, dtype=dtype, non_blocking=True)

    @property
    def num_features(self) -> int | None:
        """Observed variables of a row; None where the data are not one table."""
        if self.dataset is not None:
            return self.dataset.num_features
        leaves = _leaves(self.tensors)
        return leaves[0].shape[1] if len(leaves) == 1 and leaves[0].ndim == 2 else None

    def describe(self) -> str:
        """The data in a few words, with the binarisation."""
        if self.dataset is not None:
            return self.dataset.describe()
        if isinstance(self.tensors, Tensor):
            return f"tensor of shape {tuple(self.tensors.shape)}"
        count = len(self.tensors) if self.tensors is not None else 0
        return f"{count} tensors of {self.num_train} rows"

    def to_config(self) -> dict[str, Any]:
        """What a checkpoint records, so that another data set is noticed."""
        if self.dataset is None:
            checksum = _checksum(self.tensors)
            return {
                "name": None,
                "description": self.describe(),
                "checksum": checksum,
                "rows": self.num_train,
            }
        return {
            "description": self.describe(),
            "name": self.dataset.name,
            "checksum": self.dataset.checksum,
            "binarization": self.dataset.binarization,
            "seed": self.dataset.seed,
            "rows": self.num_train,
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


def rows(batch: Batch) -> int:
    """Number of rows of a batch."""
    return len(_leaves(batch)[0])


def example(batch: Batch) -> Any:
    """Shapes and types of a batch as JSON can hold them; `from_example` makes zeros like it."""
    if isinstance(batch, Mapping):
        return {"keyword": {name: example(value) for name, value in batch.items()}}
    if isinstance(batch, tuple):
        return {"positional": [example(value) for value in batch]}
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
    known = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
    if content["dtype"] not in known:
        raise ValueError(f"dtype {content['dtype']!r} of a recorded batch is not known.")
    return torch.zeros(content["shape"], dtype=getattr(torch, content["dtype"]))


def _fits(dataset: Any, device: torch.device) -> bool:
    size = 4 * dataset.num_features * (2 * dataset.num_train + len(dataset.valid) + len(dataset.test))
    return size < torch.cuda.mem_get_info(device)[0] / 4


def _leaves(batch: Batch | None) -> list[Any]:
    if isinstance(batch, Mapping):
        return list(batch.values())
    return list(batch) if isinstance(batch, tuple) else [batch]


def _common_rows(tensors: Batch) -> int:
    leaves = _leaves(tensors)
    if not leaves:
        raise ValueError("data is empty: give at least one tensor.")
    for leaf in leaves:
        if not isinstance(leaf, Tensor) or leaf.ndim == 0:
            raise TypeError(
                f"data must hold tensors with one row a datum, got "
                f"{'a single number' if isinstance(leaf, Tensor) else type(leaf).__name__}. "
                "Constants belong in ppgen.Pair(model_args=..., model_kwargs=...)."
            )
    sizes = sorted({len(leaf) for leaf in leaves})
    if len(sizes) > 1 or sizes[0] == 0:
        raise ValueError(f"data must hold tensors with one common, positive number of rows, got {sizes}.")
    return sizes[0]


def _checksum(tensors: Batch | None) -> str:
    digest = hashlib.sha256()
    names = list(tensors) if isinstance(tensors, Mapping) else []
    digest.update(repr(names).encode())
    for leaf in _leaves(tensors):
        digest.update(f"{leaf.dtype}{tuple(leaf.shape)}".encode())
        digest.update(leaf.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
