"""Data as an evaluation takes them: checked once, then handed out in rows."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ppgen import datasets
from ppgen.batch import changed, parts_of
from ppgen.checks.arrays import TorchData, as_tensor, is_array, is_label, parameter_dtype
from ppgen.pair import AnyPair, GenerativeModel


class CheckedRows:
    """Rows of a data set: a tensor or array, or a tuple or mapping of those with a common first dimension.

    They are held in memory, also those of a file mapped from disk.

    Args:
        x: The data; for models of the zoo of shape (rows, features).
        pair: The pair that will see them; floating-point data take the dtype of its parameters.

    Raises:
        TypeError: If `x` holds something other than numbers.
        ValueError: If it is empty, of the wrong shape, or not finite; but NaN may stand for missing values where a
            program of one's own can put a mask over them.

    Example:
        >>> from ppgen import models
        >>> import numpy as np
        >>> rows = CheckedRows(np.eye(4), models.RBM(visible=4, hidden=3))
        >>> len(rows), rows(1, 3).shape
        (4, torch.Size([2, 4]))
    """

    def __init__(self, x: Any, pair: AnyPair) -> None:
        self.device, self.pair = pair.device, pair
        self.dtype = parameter_dtype(pair)
        zoo = isinstance(pair, GenerativeModel)
        # Whole numbers of a model that was trained on them stay what they were there.
        self.cast_integers = zoo and not pair.takes_integers
        # As in training: a program of one's own may put a mask over what is missing; its sites tell whether it does.
        self.may_miss = not zoo or isinstance(x, (tuple, Mapping))
        self.labels = zoo and isinstance(x, (tuple, Mapping))
        if isinstance(x, Mapping):
            self.parts: Any = {name: self._tensor(part, f"x[{name!r}]") for name, part in x.items()}
        elif isinstance(x, tuple):
            self.parts = tuple(self._tensor(part, f"x[{index}]") for index, part in enumerate(x))
        else:
            self.parts = self._tensor(x, "x")
            if zoo and self.parts.dim() != 2:
                raise ValueError(
                    f"x must have shape (rows, features), got {tuple(self.parts.shape)}; one row is x[None]."
                )
            features = getattr(pair, "num_features", None)
            if zoo and features is not None and self.parts.shape[1] != features:
                raise ValueError(
                    f"x does not fit the model: x must have shape (rows, {features}), as {type(pair).__name__} takes, "
                    f"and a row of x has shape ({self.parts.shape[1]},)."
                )
        tensors = self.tensors()
        lengths = {len(part) for part in tensors}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(
                f"x must hold at least one row, and all its parts equally many; got {sorted(lengths)} rows."
            )
        self.num_rows = len(tensors[0])
        pair.check_batch(self.parts)

    def __len__(self) -> int:
        return self.num_rows

    def __call__(self, start: int, stop: int) -> Any:
        """Batch of the rows from `start` up to `stop`, on the device of the pair."""
        return self._select(slice(start, stop))

    def at(self, index: Any) -> Any:
        """Batch of the rows of an integer array, on the device of the pair."""
        return self._select(torch.as_tensor(index))

    def _select(self, index: slice | Tensor) -> Any:
        return changed(self.parts, lambda part: self._place(part[index]))

    def _place(self, rows: Tensor) -> Tensor:
        # Parameters that the pair has made since at its first run decide the type.
        dtype = parameter_dtype(self.pair) if self.dtype is None and rows.is_floating_point() else rows.dtype
        return rows.to(self.device, dtype)

    def tensors(self) -> list[Tensor]:
        """The parts of the data."""
        return parts_of(self.parts)

    def _tensor(self, part: Any, name: str) -> Tensor:
        if isinstance(part, datasets.Rows):
            part = part[:]
        if isinstance(part, list):
            try:
                part = torch.as_tensor(part)
            except (TypeError, ValueError) as error:
                raise TypeError(f"{name} must hold numbers: {error}") from error
        if isinstance(part, (datasets.Dataset, datasets.PairedDataset)) or not (
            is_array(part) or isinstance(part, TorchData)
        ):
            raise TypeError(
                f"{name} must be a tensor or an array of shape (rows, features), got "
                f"{type(part).__name__}; of a data "
                "set give one split, such as data.test."
            )
        tensor = as_tensor(part, name)
        if tensor.dim() == 0:
            raise ValueError(f"{name} must have shape (rows, features), got a single number.")
        if self.labels and is_label(tensor):
            return tensor.long()
        if self.dtype is not None and (tensor.is_floating_point() or self.cast_integers):
            tensor = tensor.to(self.dtype)
        if not (self.may_miss or tensor.isfinite().all()):
            bad = int((~tensor.isfinite()).reshape(len(tensor), -1).any(-1).nonzero()[0])
            raise ValueError(f"{name} must be finite, row {bad} holds NaN or infinity.")
        return tensor
