"""How far predicted sparse codes are from the best ones."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ppgen.features.blocks import ROWS_AT_ONCE, blocks


@dataclass(frozen=True)
class EncoderGap:
    """Objective of the Lasso at the codes of an encoder, and at its optimum.

    Attributes:
        objective: `||x - D F(x)||^2 + lambda |F(x)|_1` of each datum: (rows,).
        optimum: The least value over codes: (rows,).
    """

    objective: Tensor
    optimum: Tensor

    @property
    def percent(self) -> Tensor:
        """How far each datum's objective lies above its optimum, in percent of that: (rows,), 0 where both are 0."""
        above = self.objective - self.optimum
        return torch.where(above > 0, 100 * above / self.optimum, torch.zeros_like(above))

    @property
    def overall(self) -> float:
        """How far the mean objective lies above the mean optimum, in percent: data of little power count little."""
        optimum, above = float(self.optimum.double().sum()), float((self.objective - self.optimum).double().sum())
        return 100 * above / optimum if above > 0 else 0.0

    def __repr__(self) -> str:
        percent = self.percent
        return (
            f"EncoderGap({self.overall:.3g} % of the mean objective, median datum {float(percent.median()):.3g} %, "
            f"{len(percent)} rows)"
        )


def encoder_gap(pair: Any, data: Any, *, batch_size: int = ROWS_AT_ONCE) -> EncoderGap:
    r"""What the prediction of sparse codes costs: the Lasso's objective at F(x) beside its minimum.

    .. math:: \|x - D F(x)\|^2 + \lambda \|F(x)\|_1 \;-\; \min_a \big( \|x - D a\|^2 + \lambda \|a\|_1 \big)

    The counterpart of `training.refine`, whose gap is that of an ELBO. The minimum is found from F(x) to a duality gap
    of 1e-5 of the datum's squares.

    Args:
        pair: A model with `lasso(x)` and `encode(x)`, such as `models.PredictiveSparseDecomposition`, or its run.
        data: (rows, features), tensor or array, such as one split of a data set.
        batch_size: Rows at once.

    Raises:
        TypeError: If the model has no Lasso.
        ValueError: If an argument is wrong.

    Example:
        >>> import torch
        >>> from ppgen import features, models
        >>> coder = models.PredictiveSparseDecomposition(3, atoms=3, penalty=0.2)
        >>> coder.use_dictionary(torch.eye(3))  # for which one shrinkage is exact
        >>> bool(features.encoder_gap(coder, torch.randn(5, 3)).percent.max() < 0.001)
        True
    """
    found = []
    with blocks(pair, data, batch_size) as (ready, _, batches):
        if not callable(getattr(ready, "lasso", None)) or not callable(getattr(ready, "encode", None)):
            raise TypeError(
                f"{type(ready).__name__} has no sparse codes: the gap is of models with lasso(x) and encode(x), such "
                "as models.PredictiveSparseDecomposition."
            )
        for batch in batches:
            problem, codes = ready.lasso(batch), ready.encode(batch)
            objective = problem.objective(codes)
            best = torch.minimum(problem.objective(problem.solve(start=codes)), objective)
            found.append((objective, best))
    return EncoderGap(torch.cat([each for each, _ in found]), torch.cat([each for _, each in found]))
