"""Rows of two kinds, of which a batch holds more or fewer than the data: their weights in means over rows."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


def row_mean(weights: Any, term: Tensor) -> Tensor:
    """Mean of a term, (..., rows or 1), over rows by their weights in `LogWeights`: a scalar.

    The weights stand outside of all that was made of a row, such as the logarithm of a mean over its particles.
    """
    return term.mean() if weights.row_weights is None else (term * weights.row_weights).mean()


@dataclass(frozen=True)
class Strata:
    r"""Batches whose first rows are of one kind and the others of another, each drawn uniformly from its kind.

    .. math:: E\Big[\frac{1}{B} \sum_b w_b f(x_b)\Big] = \frac{1}{N} \sum_n f(x_n), \qquad
              w_b = \frac{N_s / N}{B_s / B} \text{ of a row of kind } s

    Args:
        num_first: Rows of the first kind in the data.
        num_rows: All rows of the data, N.
        batch_size: Rows of a whole batch.
        first_in_batch: Rows of the first kind in a whole batch.

    Raises:
        ValueError: If a batch would lack one of the kinds, or its weights would be undefined.

    Example:
        >>> strata = Strata(num_first=50, num_rows=1000, batch_size=100, first_in_batch=20)
        >>> strata.weights(torch.zeros(()), 100)[[0, 99]]
        tensor([0.2500, 1.1875])
    """

    num_first: int
    num_rows: int
    batch_size: int
    first_in_batch: int

    def __post_init__(self) -> None:
        if not 0 < self.num_first < self.num_rows:
            raise ValueError(
                f"A stratified batch holds rows with a label and rows without, and {self.num_first} of "
                f"{self.num_rows} training rows have one. Train on the data without stratified(...)."
            )
        if not 0 < self.first_in_batch < self.batch_size:
            raise ValueError(
                f"stratified({self.first_in_batch}) puts {self.first_in_batch} labelled rows into a batch of "
                f"batch_size={self.batch_size}: give from 1 to {self.batch_size - 1}, so that it holds both kinds."
            )
        if self.num_rows % self.batch_size == 1:
            raise ValueError(
                f"The last batch of {self.num_rows} rows by batch_size={self.batch_size} is one row, and a stratified "
                "batch holds a row with a label and one without. Give another batch_size."
            )

    def in_batch(self, num_rows: int) -> int:
        """Rows of the first kind in a batch of so many rows, the smaller last one too."""
        return min(max(1, round(self.first_in_batch * num_rows / self.batch_size)), num_rows - 1)

    def weights(self, like: Tensor, num_rows: int) -> Tensor:
        """Weight of each row of a batch, (rows,), of mean 1, in the type of a tensor."""
        first = self.in_batch(num_rows)
        share = self.num_first / self.num_rows
        own = like.new_full((first,), share * num_rows / first)
        return torch.cat([own, like.new_full((num_rows - first,), (1 - share) * num_rows / (num_rows - first))])
