"""Masked autoencoders for distribution estimation."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ppgen.checks.switches import check_switches
from ppgen.distributions import Autoregressive, OrderEstimate, OrderMixture
from ppgen.models.autoregressive.autoregressive_model import AutoregressiveModel
from ppgen.models.parts.arguments import positive_size, positive_sizes
from ppgen.models.parts.entries import output_of_levels, start_at_data
from ppgen.nn import MADENetwork


class MADE(AutoregressiveModel):
    r"""Masked autoencoder: layers whose weights are masked so that each entry is computed from those before it.

    .. math:: p(x) = \frac{1}{K} \sum_{k=1}^K \prod_i p\big(x_{o_i} \mid \theta_i(x_{o_1}, \dots, x_{o_{i-1}})\big)

    With one order it is a product of conditionals. With several, each with masks of its own, every training step takes
    one of them by chance: what is ascended is an estimate of the mean log p over orders, a lower bound on the log p of
    the mixture. Evaluated and drawn from is the mixture itself, which averages probabilities. Site: `x`, in the plate
    `data`.

    References:
        | MADE: Masked Autoencoder for Distribution Estimation (Germain, Gregor, Murray and Larochelle, 2015)
        | https://arxiv.org/abs/1502.03509

    Args:
        features: Observed variables.
        hidden: Units of each hidden layer, which are rectified; may be empty where `direct` is True.
        orders: Orders of the variables: the first is that of the data, the others are shuffled.
        levels: Values of each variable, 0, ..., levels - 1; bits by default.
        direct: Whether the variables before each are also connected to it directly.

    Raises:
        ValueError: If a number is not positive, there are fewer than two levels, or variables are not connected.

    Example:
        >>> import torch
        >>> from ppgen import models
        >>> model = models.MADE(4, hidden=(8,), orders=3).eval()
        >>> model.law().log_prob(torch.ones(2, 4)).shape, model.law().sample((5,)).shape
        (torch.Size([2]), torch.Size([5, 4]))
    """

    def __init__(
        self,
        features: int,
        hidden: Sequence[int] = (500,),
        orders: int = 1,
        levels: int = 2,
        direct: bool = True,
    ) -> None:
        super().__init__()
        check_switches(direct=direct)
        self.features, self.orders = positive_size("features", features), positive_size("orders", orders)
        self.output = output_of_levels(levels)
        self.network = MADENetwork(
            self.features,
            positive_sizes("hidden", hidden),
            self.output.num_parameters,
            orders=self.orders,
            direct=direct,
        )
        # In a tuple, since they have no weights of their own; kept, since graphs of draws know networks by identity.
        self._in_order = tuple(self.network.in_order(index) for index in range(self.orders))

    @classmethod
    def example(cls) -> tuple["MADE", Tensor]:
        """A small instance with six bit vectors, to try things on."""
        return cls(features=4, hidden=(6,)), torch.rand(6, 4).lt(0.4).float()

    def law(self) -> Any:
        """Law of a datum; in training, with several orders, one whose log-density is an estimate."""
        if self.orders == 1:
            return Autoregressive(self.network, self.output)
        mixture = OrderMixture([Autoregressive(each, self.output, each.order) for each in self._in_order])
        return OrderEstimate(mixture, self._in_one_order) if self.training else mixture

    def initialise(self, data: Any) -> None:
        """Start the biases at the laws of the variables by themselves."""
        start_at_data(self.network, self.output, data)

    def _in_one_order(self, x: Tensor) -> Tensor:
        """log p(x) in nats under an order that is drawn: (..., features) -> (...,)."""
        index = (torch.rand(1, device=x.device) * self.orders).long()
        parameters = self.network.parameters_in(index, self.output.code(x))
        return self.output.log_prob(parameters, x).sum(-1)
