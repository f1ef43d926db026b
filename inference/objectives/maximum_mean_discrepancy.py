"""Generative moment matching: draws and data have the same moments in the space of a kernel."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ppgen.checks.arguments import check_number
from ppgen.checks.switches import check_switches
from ppgen.inference.objectives.draw_objective import Compared, DrawObjective, State

_LEAST = 1e-12  # of the squared discrepancy under a root, whose slope is infinite at 0


@dataclass(frozen=True)
class MaximumMeanDiscrepancy(DrawObjective):
    r"""Maximum mean discrepancy (MMD) between draws of the model and rows of data, under Gaussian kernels.

    .. math::
        \mathrm{MMD}^2 = E\,k(x, x') + E\,k(y, y') - 2 E\,k(x, y), \qquad
        k(x, y) = \sum_s \exp\Big(-\frac{\lVert x - y \rVert^2}{2 s}\Big)

    x and x' are independent rows of data, y and y' draws of the model. A bandwidth s is a *variance*: the square of the
    length at which a kernel has fallen to :math:`e^{-1/2}`, not that length. One narrow kernel has no gradient where
    draws are far from data, so that several widths are summed.

    With `root` the value is the square root of the mean over all pairs, those of a row with itself too, which is never
    negative: :math:`\sqrt{V}`. V lies above the squared discrepancy in the mean, for n rows and n draws by

    .. math:: E V - \mathrm{MMD}^2 = \frac{1}{n} \big(2 k(0) - E\,k(x, x') - E\,k(y, y')\big),

    and its root lies below the root of that mean, by about :math:`\mathrm{Var}(V) / (8 (E V)^{3/2})`. So values do not
    go to 0 where the model is right, and are to be compared at one batch size. Without `root` it is the unbiased
    estimate of :math:`\mathrm{MMD}^2`, which leaves those pairs out and may be negative.

    No guide is run; latents, and the data's own law, must be reparameterised. The value has no unit, and says nothing
    of log p(x).

    References:
        | Generative Moment Matching Networks (Li, Swersky and Zemel, 2015), https://arxiv.org/abs/1502.02761
        | Training generative neural networks via Maximum Mean Discrepancy optimization
          (Dziugaite, Roy and Ghahramani, 2015), https://arxiv.org/abs/1505.03906

    Args:
        bandwidths: The variances s, in squared units of the data. Those by default are for images of 784 pixels in
            [0, 1].
        root: Whether the square root is followed and reported.
        compared: What stands for a draw: `"sample"` of the data's law, which must be reparameterised, or its `"mean"`,
            such as the grey pixels of bits.

    Raises:
        ValueError: If there is no bandwidth, or one is not positive; before training, if the model is not one that can
            be compared, or a batch has one row.

    Example:
        >>> import torch
        >>> from ppgen import inference
        >>> objective = inference.MaximumMeanDiscrepancy(bandwidths=(0.5,), root=False)
        >>> x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [2.0]])
        >>> round(float(objective.distance(y, x, {})), 4)
        -0.4908
    """

    least_rows: ClassVar[int] = 2

    bandwidths: tuple[float, ...] = (2.0, 5.0, 10.0, 20.0, 40.0, 80.0)
    root: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_switches(root=self.root)
        if not isinstance(self.bandwidths, (tuple, list)):
            raise TypeError(f"bandwidths must be a sequence of variances such as (2.0, 10.0), got {self.bandwidths!r}.")
        if not self.bandwidths:
            raise ValueError("bandwidths must hold at least one variance, got none.")
        for each in self.bandwidths:
            check_number("each of bandwidths", each, "be positive", lambda number: number > 0)
        object.__setattr__(self, "bandwidths", tuple(float(each) for each in self.bandwidths))

    @property
    def value_name(self) -> str:
        """The discrepancy or its square, which have no unit."""
        return "MMD" if self.root else "MMD^2"

    @property
    def value_chooses(self) -> bool:
        """Less is better, at one batch size."""
        return True

    def distance(self, drawn: Tensor, data: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        """The discrepancy of draws and rows, (rows, features) each; nothing moves."""
        if not self.root:
            return squared_discrepancy(drawn, data, self.kernel, biased=False)
        return squared_discrepancy(drawn, data, self.kernel, biased=True).clamp(min=_LEAST).sqrt()

    def followed(self, draw: Callable[[], Tensor], data: Tensor, state: State) -> Compared:
        """The discrepancy of a batch and as many draws, which is what is descended."""
        value = self.distance(draw(), data, state)
        return Compared(value, value, state)

    def kernel(self, x: Tensor, y: Tensor) -> Tensor:
        """The sum of kernels of all pairs of rows: (n, features), (m, features) -> (n, m)."""
        squares = squared_distances(x, y)
        return torch.stack([torch.exp(squares / (-2 * s)) for s in self.bandwidths]).sum(0)


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """Squared distances of all pairs of rows, never negative: (n, features), (m, features) -> (n, m)."""
    centre = y.mean(0).detach()  # the same distances, of smaller numbers: less is lost in the difference of squares
    x, y = x - centre, y - centre
    cross = x @ y.mT
    return (x.square().sum(1, keepdim=True) + y.square().sum(1) - 2 * cross).clamp(min=0)


def squared_discrepancy(
    drawn: Tensor, data: Tensor, kernel: Callable[[Tensor, Tensor], Tensor], *, biased: bool
) -> Tensor:
    """Estimate of the squared maximum mean discrepancy, a scalar.

    Args:
        drawn: Draws, (n, features).
        data: Rows, (m, features).
        kernel: Kernel of all pairs of rows of two tables.
        biased: Whether pairs of a row with itself count (the V-statistic), so that it is never negative; else it is
            unbiased (the U-statistic of two samples).

    Example:
        >>> x = torch.tensor([[0.0], [1.0]])
        >>> float(squared_discrepancy(x, x, lambda x, y: x @ y.mT, biased=True))
        0.0
    """
    within = []
    for rows in (drawn, data):
        found = kernel(rows, rows)
        if biased:
            within.append(found.mean())
        else:
            count = len(rows)
            within.append((found.sum() - found.diagonal().sum()) / (count * (count - 1)))
    return within[0] + within[1] - 2 * kernel(drawn, data).mean()
