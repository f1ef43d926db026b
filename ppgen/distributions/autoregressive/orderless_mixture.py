"""Mixtures over orders of a network that knows every order."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Size, Tensor

from ppgen.distributions.autoregressive.autoregressive import Autoregressive
from ppgen.distributions.autoregressive.known import check_known
from ppgen.distributions.autoregressive.order_mixture import OrderMixture


class OrderlessMixture(OrderMixture):
    r"""Mixture over some orders of a network that knows every order, so that any part of a vector may be given.

    .. math:: p(x_{\text{rest}} \mid x_{\text{known}}) = \frac{1}{K} \sum_{k=1}^K
        p_{o'_k}(x_{\text{rest}} \mid x_{\text{known}})

    `condition` takes each order o with what is known put first, o'. Given the order this is exact; that p_o and p_o'
    are one law is what such a network is trained for, and holds as far as it has learned it.

    References:
        | A Deep and Tractable Density Estimator (Uria, Murray and Larochelle, 2014)
        | https://arxiv.org/abs/1310.1757

    Args:
        laws: `Autoregressive` laws, of one order each.
        in_order: The law in an order, (D,).

    Raises:
        TypeError: If an argument is of another type.

    Example:
        >>> import torch
        >>> from ppgen import distributions, nn
        >>> network, output = nn.OrderlessNADENetwork(3, hidden=(4,)), distributions.BernoulliOutput()
        >>> def in_order(order):
        ...     return distributions.Autoregressive(network.in_order(order), output, order)
        >>> law = distributions.OrderlessMixture([in_order(torch.arange(3))], in_order)
        >>> law.condition(torch.tensor([float("nan"), 1.0, 0.0])).sample((2,))[:, 1:]
        tensor([[1., 0.],
                [1., 0.]])
    """

    def __init__(
        self,
        laws: Sequence[Autoregressive],
        in_order: Callable[[Tensor], Autoregressive],
        *,
        validate_args: bool | None = None,
    ) -> None:
        super().__init__(laws, validate_args=validate_args)
        if not callable(in_order):
            raise TypeError(f"in_order must be a function of an order, got {in_order!r}.")
        self.in_order = in_order

    def condition(self, value: Tensor, mask: Tensor | None = None) -> OrderMixture:
        """Law of vectors of which some entries are known, the same ones of each vector.

        Args:
            value: Vectors, (..., D), NaN at what is not known.
            mask: Whether each entry is known, (..., D), in the place of NaN.

        Raises:
            ValueError: If other entries are known of one vector than of another, or values are outside of the support.
        """
        known = check_known(self.laws[0], value, mask)
        rows = known.reshape(-1, known.shape[-1])
        if bool((rows != rows[0]).any()):
            row = int((rows != rows[0]).any(-1).nonzero()[0])
            raise ValueError(
                f"value must be known in the same entries of all vectors, and is not in those of vectors 0 and {row}: "
                "what is known stands first in the order, which all vectors of a law have in common. Condition on one "
                "after the other."
            )
        laws = []
        for law in self.laws:
            order = torch.arange(len(rows[0]), device=known.device) if law.order is None else law.order
            first = torch.cat([order[rows[0][order]], order[~rows[0][order]]])
            laws.append(self.in_order(first).expand(law.batch_shape).condition(value, known))
        return OrderMixture(laws)

    def select(self, batch_shape: Size, at: Tensor) -> "OrderlessMixture":
        """Law of those vectors of a larger batch at which a mask is True: its batch shape is (as many,)."""
        laws = [law.select(batch_shape, at) for law in self.laws]
        return OrderlessMixture(laws, self.in_order, validate_args=self._validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "OrderlessMixture":
        """Law of independent vectors, as many as the larger `batch_shape` says."""
        laws = [law.expand(batch_shape) for law in self.laws]
        return OrderlessMixture(laws, self.in_order, validate_args=self._validate_args)
