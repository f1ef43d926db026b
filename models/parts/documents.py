"""Documents as word counts: the layer of their words, for rows whose lengths are given."""

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from ppgen.devices import is_accelerator
from ppgen.distributions import Multinomial

_AT_ONCE = 10_000  # documents that are looked at together


def words_of(x: Tensor, bias: Tensor, longest: int | None, training: bool) -> Multinomial:
    """Multinomial units of documents as long as the rows of x, (rows, vocabulary).

    Args:
        x: Word counts.
        bias: Biases of the words, (vocabulary,).
        longest: Words of the longest training document, if the data were looked at.
        training: Whether this is a step on them, in which nothing is asked of a device.

    Raises:
        RuntimeError: If a step is traced for documents that were never looked at.

    Example:
        >>> words_of(torch.tensor([[1.0, 0.0, 3.0]]), torch.zeros(3), None, training=False).longest
        4
    """
    total = x.sum(-1).round().clamp(min=0).long()
    if training and longest is not None and is_accelerator(total.device):
        # Training on data that were looked at: the device checks them, and nobody waits for it.
        torch._assert_async((total <= longest).all(), f"a document has more than {longest} words: use inspect_data")
    elif not isinstance(total, FakeTensor):
        longest = max(longest or 1, int(total.max()))
    elif longest is None:  # a step that is being traced, for documents that were never looked at as a whole
        raise RuntimeError("the length of the longest document must be known for a step to be traced")
    return Multinomial(bias, total, longest=longest)


def longest_document(data: object) -> int:
    """Words of the longest training document of a `ppgen.datasets.Dataset`."""
    rows = torch.arange(data.num_train).split(_AT_ONCE)  # type: ignore[attr-defined]
    return max(int(data.batch("train", index).sum(-1).max()) for index in rows)  # type: ignore[attr-defined]
