"""Neural autoregressive density estimators of all orders at once."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ppgen.distributions import Autoregressive, OrderEstimate, OrderlessMixture
from ppgen.models.autoregressive.autoregressive_model import AutoregressiveModel
from ppgen.models.parts.arguments import positive_size, positive_sizes
from ppgen.models.parts.entries import output_of_levels, start_at_data
from ppgen.nn import OrderlessNADENetwork


class OrderlessNADE(AutoregressiveModel):
    r"""Neural autoregressive distribution estimator of every order, one network that is told what it sees.

    .. math:: \log p_o(x) = \sum_i \log p(x_{o_i} \mid x_{o_1}, \dots, x_{o_{i-1}}), \qquad
        \mathbb E_o[\log p_o(x)] =
        \mathbb E_{o, d}\Big[\frac{D}{D - d} \sum_{i > d} \log p(x_{o_i} \mid x_{o_1}, \dots, x_{o_d})\Big]

    Training ascends one term of the right side for each row, from an order and a number d = 0, ..., D - 1 of known
    variables that are drawn: an unbiased estimate of the mean log p over all orders, which is a lower bound on the log
    p of their mixture. Evaluated and drawn from is the mixture of `orders` fixed ones, which is a law (EoNADE): its
    probabilities are averaged. Any part can be given: the law of the rest is that of the orders with the known part
    put first. Site: `x`, in the plate `data`.

    References:
        | A Deep and Tractable Density Estimator (Uria, Murray and Larochelle, 2014)
        | https://arxiv.org/abs/1310.1757

    Args:
        features: Observed variables D.
        hidden: Units of each hidden layer, which are rectified; at least one layer.
        orders: Orders of the mixture; a likelihood takes D passes of the upper layers for each.
        levels: Values of each variable, 0, ..., levels - 1; bits by default.

    Raises:
        ValueError: If a number is not positive, there is no layer, or there are fewer than two levels.

    Example:
        >>> import torch
        >>> from ppgen import models
        >>> model = models.OrderlessNADE(4, hidden=(8,)).eval()
        >>> model.law().log_prob(torch.ones(2, 4)).shape, model.law().sample((5,)).shape
        (torch.Size([2]), torch.Size([5, 4]))
    """

    def __init__(self, features: int, hidden: Sequence[int] = (500,), orders: int = 8, levels: int = 2) -> None:
        super().__init__()
        self.features, self.orders = positive_size("features", features), positive_size("orders", orders)
        self.output = output_of_levels(levels)
        layers = positive_sizes("hidden", hidden)
        if not layers:
            raise ValueError("hidden must name at least one layer, such as (500,), got ().")
        self.network = OrderlessNADENetwork(self.features, layers, self.output.num_parameters, orders=self.orders)
        # In a tuple, since they have no weights of their own; kept, since graphs of draws know networks by identity.
        self._in_order = tuple(self.network.in_order(order) for order in range(self.orders))

    @classmethod
    def example(cls) -> tuple["OrderlessNADE", Tensor]:
        """A small instance with six bit vectors, to try things on."""
        return cls(features=4, hidden=(6,), orders=2), torch.rand(6, 4).lt(0.4).float()

    def law(self) -> Any:
        """Law of a datum; in training one whose log-density is an estimate."""
        laws = [Autoregressive(each, self.output, each.order) for each in self._in_order]
        mixture = OrderlessMixture(laws, self.in_order)
        return OrderEstimate(mixture, self.mean_over_orders) if self.training else mixture

    def in_order(self, order: Tensor) -> Autoregressive:
        """Law of a datum in one order of the variables, shape (features,)."""
        return Autoregressive(self.network.in_order(order), self.output, order)

    def mean_over_orders(self, x: Tensor) -> Tensor:
        """Unbiased estimate of the mean of log p(x) over all orders, in nats: (..., features) -> (...,)."""
        size, like = self.features, self.network.bias
        uniforms = torch.rand(*x.shape[:-1], size + 1, dtype=like.dtype, device=like.device)
        # The first d of an order that is drawn; argsort's ranks are as uniform as the order that it sorts by.
        known = uniforms[..., :-1].argsort(-1) < (uniforms[..., -1:] * size).long()
        parameters = self.network.parameters_of(self.output.code(x), known)
        each = self.output.log_prob(parameters, x).masked_fill(known, 0.0)
        return each.sum(-1) * (size / (size - known.sum(-1)))

    def initialise(self, data: Any) -> None:
        """Start the biases at the laws of the variables by themselves."""
        start_at_data(self.network, self.output, data)
