"""Restricted Boltzmann machine that hears one of its layers twice: what a deep machine is pretrained with."""

from typing import Any

import pyro
import torch
from pyro.nn.module import pyro_method
from torch import Tensor

from ppgen.distributions import Bernoulli, BoltzmannMachine, Dense
from ppgen.models.boltzmann.rbm import RBM
from ppgen.models.parts.arguments import positive_size
from ppgen.models.parts.programs import rows


class DoubledRBM(RBM):
    r"""Restricted Boltzmann machine with copies of its layers, all with the same weights.

    .. math:: E = -\sum_{k \le K} \sum_{m \le M} v_k^\top W h_m - M \sum_k b \cdot v_k - K \sum_m c \cdot h_m

    With K = 2 copies of the visible layer the hidden units take what they hear, and their biases, twice:
    p(h = 1 | v, v) = sigmoid(2 (W' v + c)), p(v = 1 | h) = sigmoid(W h + b). The data stand at every copy. Sites:
    `hidden` and `visible`, with the units of all copies.

    References:
        | Deep Boltzmann Machines (Salakhutdinov and Hinton, 2009)

    Args:
        visible: Visible units of one copy.
        hidden: Hidden units of one copy.
        visible_copies: Copies K of the visible layer.
        hidden_copies: Copies M of the hidden layer.

    Raises:
        ValueError: If a number is not positive.

    Example:
        >>> DoubledRBM(5, 3, visible_copies=2).machine()
        BoltzmannMachine(visible=10, hidden=3)
    """

    def __init__(self, visible: int, hidden: int, visible_copies: int = 1, hidden_copies: int = 1) -> None:
        super().__init__(visible, hidden)
        self.copies = (positive_size("visible_copies", visible_copies), positive_size("hidden_copies", hidden_copies))

    def machine(self) -> BoltzmannMachine:
        """The Boltzmann machine of all copies with the present weights."""
        below, above = self.copies
        layers = {
            "visible": Bernoulli((above * self.visible_bias).repeat(below)),
            "hidden": Bernoulli((below * self.hidden_bias).repeat(above)),
        }
        return BoltzmannMachine(layers, [Dense(self.weight.repeat(below, above))])

    @torch.no_grad()
    def hidden_means(self, x: Tensor) -> Tensor:
        """P(h = 1 | v at every copy) of each hidden unit: (rows, visible) -> (rows, hidden)."""
        return torch.sigmoid(self.copies[0] * (x @ self.weight + self.hidden_bias))

    @pyro_method
    def model(self, x: Tensor | None = None, num_rows: int | None = None) -> Tensor:
        """Joint density of all copies, the data of shape (rows, visible) at each visible one; draws are of the first.

        Args:
            x: Data in {0, 1}, shape (rows, visible); None draws it, which needs a sampler (`inference.attach`).
            num_rows: Rows to draw when there are no data; 1 by default.
        """
        machine = self.machine()
        everywhere = None if x is None else x.repeat(1, self.copies[0])
        with pyro.plate(self.plate, rows(x, num_rows)):
            hidden = pyro.sample("hidden", machine.marginal("hidden"))
            drawn = pyro.sample("visible", machine.conditional("visible", given=hidden), obs=everywhere)
        return drawn[..., : len(self.visible_bias)]

    @pyro_method
    def guide(self, x: Tensor) -> Tensor:
        """Exact posterior of the hidden copies given data of shape (rows, visible) at every visible copy."""
        machine = self.machine()
        law = machine.conditional("hidden", given=x.repeat(1, self.copies[0]))
        with pyro.plate(self.plate, len(x)):
            return pyro.sample("hidden", law, infer={"posterior": "exact"})  # type: ignore[arg-type]

    @torch.no_grad()
    def initialise(self, data: Any) -> None:
        """Note the training mean, and start the visible bias, if it is zero, where it reproduces that mean."""
        fresh = not self.has_given_weights and not self.visible_bias.any()
        super().initialise(data)
        if fresh:
            self.visible_bias.div_(self.copies[1])
