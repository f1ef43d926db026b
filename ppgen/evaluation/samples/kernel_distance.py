"""Kernel inception distance: the squared maximum mean discrepancy of features, by a polynomial kernel."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ppgen.checks.arguments import check_count
from ppgen.checks.seeding import check_seed
from ppgen.evaluation.estimate import with_error
from ppgen.evaluation.samples.drawn_rows import as_table
from ppgen.inference.objectives.maximum_mean_discrepancy import squared_discrepancy

_AT_ONCE = 1_000


@dataclass(frozen=True)
class KernelDistance:
    """A kernel inception distance between draws and data, and between two halves of the data.

    Attributes:
        value: Mean over blocks of the unbiased squared discrepancy; it may be negative.
        se: Its standard error over the blocks.
        real: Mean discrepancy between two halves of the rows, which is 0 in expectation.
        real_se: Standard error of `real`.
        num_blocks: Blocks of the value.
        block_size: Rows and draws of each.
    """

    value: float
    se: float
    real: float
    real_se: float
    num_blocks: int
    block_size: int

    def __repr__(self) -> str:
        return (
            f"kernel distance {with_error(self.value, self.se)}; real rows from real rows "
            f"{with_error(self.real, self.real_se)} (unbiased, no unit; {self.num_blocks} blocks of {self.block_size})"
        )


@torch.no_grad()
def kernel_inception_distance(
    samples: Any, rows: Any, features: Callable[[Tensor], Tensor], *, block_size: int = 500, seed: int = 0
) -> KernelDistance:
    r"""Unbiased squared discrepancy between features of draws and of rows, under a polynomial kernel.

    .. math:: k(a, b) = (a^\top b / d + 1)^3

    The features are those of a network of your own that was trained on such data: values by different networks are not
    comparable, and those of this function not with published ones by the Inception network. Draws and rows are cut into
    blocks at random, and the estimates of blocks averaged, each of which is unbiased whatever its size.

    References:
        | Demystifying MMD GANs (Binkowski et al., 2018), https://arxiv.org/abs/1801.01401

    Args:
        samples: Draws, (draws, features), such as `ppgen.sample(run, 2000)`.
        rows: Rows of data that nothing was trained on, (rows, features).
        features: A function of a table of rows, (n, features), to their features, (n, d), such as the method `features`
            of a trained classifier.
        block_size: Rows and draws of a block; at most the draws, and half of the rows.
        seed: Seed of the cuts.

    Raises:
        TypeError: If draws or rows are no arrays, or `features` no function.
        ValueError: If they have other features, there are fewer than 4 rows or 2 draws, or the function gives no table.

    Example:
        >>> import torch
        >>> from ppgen import evaluation
        >>> x = torch.randn(400, 3, generator=torch.Generator().manual_seed(0))
        >>> found = evaluation.kernel_inception_distance(x[:200] + 1, x[200:], lambda rows: rows, block_size=50)
        >>> found.value > 4 * found.real_se
        True
    """
    check_count("block_size", block_size, 2)
    generator = torch.Generator().manual_seed(check_seed(seed))
    if not callable(features):
        raise TypeError(f"features must be a function of rows, such as classifier.features, got {features!r}.")
    known = as_table("rows", rows, least=4)
    drawn = as_table("samples", samples, like=known, least=2)
    first, second = (_features(features, table, generator) for table in (drawn, known))
    half = len(second) // 2
    size = min(block_size, len(first), half)
    value, se, count = _distance(first, second, size)
    real, real_se, _ = _distance(second[:half], second[half:], size)
    return KernelDistance(value, se, real, real_se, count, size)


def _features(features: Callable[[Tensor], Tensor], table: Tensor, generator: torch.Generator) -> Tensor:
    """Features of the rows in random order, in double precision."""
    order = torch.randperm(len(table), generator=generator).to(table.device)
    parts = [features(part) for part in table[order].split(_AT_ONCE)]
    for part in parts:
        if not isinstance(part, Tensor) or part.dim() != 2:
            given = tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__
            raise ValueError(f"features must give a table, (rows, width), got {given}.")
    return torch.cat(parts).double()


def _distance(first: Tensor, second: Tensor, size: int) -> tuple[float, float, int]:
    """Mean over blocks, its standard error, and the number of blocks."""
    count = min(len(first), len(second)) // size
    found = torch.stack(
        [
            squared_discrepancy(one, other, _polynomial, biased=False)
            for one, other in zip(first.split(size)[:count], second.split(size)[:count], strict=True)
        ]
    )
    se = float(found.std() / math.sqrt(count)) if count > 1 else math.nan
    return float(found.mean()), se, count


def _polynomial(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.mT / x.shape[1] + 1) ** 3
