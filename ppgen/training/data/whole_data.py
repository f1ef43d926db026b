"""Data of a program without a data plate: one datum, whose arguments go in whole at every step."""

from typing import Any

import torch
from torch import Tensor

from ppgen.batch import Batch, changed, parts_of
from ppgen.training.data.batch_source import BatchSource, array_leaf, checksum_of

ONE_DATUM = "as one datum"  # how the description of such data ends


class WholeSource(BatchSource):
    """All arguments of a program as one datum: an epoch is a step.

    Args:
        data: A tensor, an array, a number or anything else, which is the one argument; or a tuple (positional
            arguments) or a mapping (keyword arguments) of them. Tensors and arrays go to the device, in the precision
            of the pair; what is none is given as it is.
        device: Where tensors go.
    """

    def __init__(self, data: Any, device: torch.device) -> None:
        self.device = device
        self.dtype = None
        self.dataset = self.pairs = self._stream = None
        self.tensors = changed(data, lambda leaf: array_leaf(leaf, "data"))
        self.num_train, self.num_valid = 1, 0

    @property
    def streamed(self) -> bool:
        """Whether rows are read ahead: never."""
        return False

    def along(self, order: Tensor, start: int, size: int, generator: torch.Generator | None = None) -> Batch:
        """The data, whatever rows are asked for."""
        return self.batch("train", order, generator)

    def selection(self, index: Tensor, generator: torch.Generator | None = None) -> None:
        """None: nothing is gathered."""

    def batch(self, split: str, index: Tensor, generator: torch.Generator | None = None) -> Batch:
        """The data, whatever rows are asked for."""
        return changed(self.tensors, lambda leaf: self._place(leaf) if isinstance(leaf, Tensor) else leaf)

    @property
    def num_features(self) -> int | None:
        """None: the data are no table."""
        return None

    def describe(self) -> str:
        """The data in a few words."""
        leaves = parts_of(self.tensors)
        if len(leaves) > 1:
            return f"{len(leaves)} arguments {ONE_DATUM}"
        if isinstance(leaves[0], Tensor):
            return f"tensor of shape {tuple(leaves[0].shape)} {ONE_DATUM}"
        return f"{type(leaves[0]).__name__} {ONE_DATUM}"

    def to_config(self) -> dict[str, Any]:
        """What a checkpoint records, so that other data are noticed."""
        checksum = checksum_of(self.tensors)
        return {"name": None, "description": self.describe(), "checksum": checksum, "rows": 1}
