"""A batch as a step takes it: its rows gathered already, or to be gathered in the step where they are used."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ppgen.batch import Batch, all_tensors_of, with_tensors
from ppgen.datasets.dataset import drawn
from ppgen.graphs.threefry import make_key, uniforms
from ppgen.undisturbed import device_of

Shapes = tuple[tuple[torch.Size, torch.dtype, torch.device], ...]


class GatheredBatch:
    """Rows that are there.

    Args:
        batch: A tensor, or a tuple or mapping of tensors and constants.
    """

    lazy = False  # whether a compiled step gathers the rows

    def __init__(self, batch: Batch) -> None:
        self._batch = batch

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""
        return device_of(self._batch)

    def batch(self) -> Batch:
        """The batch."""
        return self._batch

    def preview(self) -> Batch:
        """The batch."""
        return self._batch

    def gathered(self) -> "GatheredBatch":
        """Itself."""
        return self

    def shapes(self) -> Shapes:
        """Shape, type and device of each tensor of the batch."""
        return tuple((part.shape, part.dtype, part.device) for part in all_tensors_of(self._batch))

    def inputs(self, dry: bool = False) -> list[Tensor]:
        """What a compiled step takes: the tensors of the batch."""
        return all_tensors_of(self._batch)

    def gather(self, inputs: list[Tensor]) -> Batch:
        """The batch from what `inputs` gives."""
        return with_tensors(self._batch, inputs)


class LazyBatch:
    """Rows of tensors that lie on the device, gathered at once or, in a compiled step, where they are used.

    Args:
        leaves: Tensors with one row a datum.
        index: (B,) rows of the batch.
        grey: Whether the first leaf holds grey levels, of which bits are drawn, x = [u < p].
        generator: Source of their uniforms.
        place: Last touch of each tensor of the batch: its type and device.
        like: Puts the tensors of the batch together.
    """

    lazy = True

    def __init__(
        self,
        leaves: list[Tensor],
        index: Tensor,
        grey: bool,
        generator: torch.Generator | None,
        place: Callable[[Tensor], Tensor],
        like: Callable[[list[Tensor]], Any],
    ) -> None:
        self.leaves, self.index, self.grey, self.generator = leaves, index, grey, generator
        self.place, self.like = place, like

    def __len__(self) -> int:
        return len(self.index)

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""
        return device_of(self.leaves)

    def gathered(self) -> GatheredBatch:
        """The batch, gathered now, as a step takes it."""
        return GatheredBatch(self.batch())

    def batch(self) -> Any:
        """The batch, gathered now; bits are drawn from the generator, which moves on."""
        rows = [leaf[self.index.to(leaf.device, non_blocking=True)] for leaf in self.leaves]
        if self.grey:
            rows[0] = drawn(rows[0], self.generator)
        return self.like([self.place(each) for each in rows])

    def preview(self) -> Any:
        """The batch, gathered now, with the generator left where it is."""
        if self.generator is None:
            return self.batch()
        state = self.generator.get_state()
        try:
            return self.batch()
        finally:
            self.generator.set_state(state)

    def shapes(self) -> Shapes:
        """Shape, type and device of each tensor of the batch."""
        none = [self.place(leaf[:0]) for leaf in self.leaves]
        return tuple((torch.Size((len(self), *each.shape[1:])), each.dtype, each.device) for each in none)

    def inputs(self, dry: bool = False) -> list[Tensor]:
        """What a compiled step takes in the place of a batch: the tensors, the index and a key for the bits.

        Args:
            dry: Whether the generator stays where it is.
        """
        device = self.leaves[0].device
        # A share of the rows is strided, and machine code is made for one layout.
        index = self.index.contiguous().to(device, non_blocking=True)
        if not self.grey:
            return [*self.leaves, index]
        cpu = torch.device("cpu")
        key = torch.zeros(2, dtype=torch.int32) if dry else make_key(cpu, self.generator)
        return [*self.leaves, index, key.to(device)]

    def gather(self, inputs: list[Tensor]) -> Any:
        """The batch from what `inputs` gives, made of operations that a graph holds."""
        leaves = inputs[: len(self.leaves)]
        index = inputs[len(self.leaves)]
        rows = [leaf[index] for leaf in leaves]
        if self.grey:
            grey = rows[0]
            uniform = uniforms(inputs[-1], 0, grey.shape, grey.dtype)
            rows[0] = (uniform < grey).to(grey.dtype)
        return self.like([self.place(each) for each in rows])


StepBatch = GatheredBatch | LazyBatch


def step_batch(batch: Batch | StepBatch) -> StepBatch:
    """A batch as a step takes it, made of its tensors where it is not that already."""
    return batch if isinstance(batch, StepBatch) else GatheredBatch(batch)
