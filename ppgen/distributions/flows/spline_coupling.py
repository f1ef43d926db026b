"""Coupling layers of monotone splines."""

import math
from typing import Any

from torch import Tensor, nn

from ppgen.checks.arguments import check_count, check_number
from ppgen.distributions.flows.coupling_step import CouplingStep
from ppgen.distributions.flows.rational_quadratic import rational_quadratic


class SplineCoupling(CouplingStep):
    r"""Coupling layer that bends one half of the entries by monotone splines, which the other half chooses.

    .. math:: z_A = \epsilon_A, \quad z_B = S(\epsilon_B; f(\epsilon_A, \text{given})), \qquad
              \log q(z) = \log q_0(\epsilon) - \sum_i \log S'_i(\epsilon_i)

    S is a quotient of two quadratics in each of K bins of [-B, B], and the identity outside; slopes are continuous.
    Its inverse is a root of a quadratic, so that a draw and the density of any value take one pass of the network.
    One such layer makes several modes of one, which shifts and scales cannot.

    References:
        | Neural Spline Flows (Durkan, Bekasov, Murray and Papamakarios, 2019)
        | https://arxiv.org/abs/1906.04032

    Args:
        base: Law of the noise, reparameterised, with events of shape (D,), D at least 2; perhaps such a law itself.
        network: Module from D // 2 kept entries, and what is given behind them, to 3 K - 1 numbers for each of the
            others, entry by entry.
        order: Permutation of 0, ..., D - 1: the entry that stands at each position; the first D // 2 are kept.
        given: What the network is conditioned on beside, shape (..., numbers).
        bins: K, each at least a tenth of an even share of the interval.
        bound: B, in the units of the noise.

    Raises:
        TypeError: If the network is no module.
        ValueError: If there are no two bins, the bound is not positive, the base has one entry, other events or no
            `rsample`, or the order is no permutation; when it is used, if the network returns another number of
            parameters.

    Example:
        >>> import pyro.distributions as dist, torch
        >>> from ppgen import distributions, nn
        >>> base = dist.Normal(torch.zeros(5, 2), 1.0).to_event(1)
        >>> law = distributions.SplineCoupling(base, nn.MLP((1, 8, 11)), bins=4)
        >>> law.rsample().shape, law.log_prob(torch.zeros(5, 2)).shape
        (torch.Size([5, 2]), torch.Size([5]))
    """

    def __init__(
        self,
        base: Any,
        network: nn.Module,
        order: Tensor | None = None,
        given: Tensor | None = None,
        *,
        bins: int = 8,
        bound: float = 5.0,
        validate_args: bool | None = None,
    ) -> None:
        check_count("bins", bins, 2, wanted="at least 2")
        check_number("bound", bound, "be positive and finite", lambda number: 0 < number < math.inf)
        self.bins, self.bound = bins, bound
        super().__init__(base, network, order, given, validate_args=validate_args)

    @property
    def num_parameters(self) -> int:
        """Widths and heights of the bins, and slopes between them."""
        return 3 * self.bins - 1

    def transform(self, entries: Tensor, parameters: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        """Entries bent by their splines, or back, and the logarithms of the slopes."""
        return rational_quadratic(entries, parameters, self.bound, inverse)
