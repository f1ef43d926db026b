"""Conditional laws of encoders, moved by a flow."""

from collections.abc import Sequence

from pyro.distributions import TorchDistribution
from torch import Tensor

from ppgen.checks.arguments import check_kind
from ppgen.nn.conditionals import NormalConditional
from ppgen.nn.flows.flow import Flow


class FlowConditional(NormalConditional):
    r"""Normal variables of a network of the input, moved by a flow that sees the network's last hidden layer.

    .. math:: \epsilon \sim N(\mu(x), \sigma(x)^2), \quad z = T(\epsilon; h(x))

    For guides that are not independent given the data.

    References:
        | Improving Variational Inference with Inverse Autoregressive Flow (Kingma et al., 2016),
          https://arxiv.org/abs/1606.04934

    Args:
        inputs: Variables conditioned on.
        hidden: Units of each hidden layer, which are tanh units; may be empty.
        flow: Flow over the variables of the law, conditioned on as many numbers as the last hidden layer has units (on
            the inputs where there is none), or on nothing.

    Raises:
        TypeError: If the flow is none.
        ValueError: If a number is not positive, or the flow is conditioned on another number of variables.

    Example:
        >>> import torch
        >>> from ppgen import nn
        >>> encoder = nn.FlowConditional(6, (4,), nn.CouplingFlow(3, (8,), given=4))
        >>> encoder(torch.zeros(5, 6)).rsample().shape
        torch.Size([5, 3])
    """

    def __init__(self, inputs: int, hidden: Sequence[int], flow: Flow) -> None:
        check_kind("flow", flow, Flow, "a flow, such as nn.InverseAutoregressiveFlow(features)")
        super().__init__(inputs, hidden, flow.features)
        if flow.given not in (0, self.last):
            raise ValueError(
                f"flow must be conditioned on the {self.last} units of the last hidden layer, given={self.last}, or on "
                f"nothing, given=0; it has given={flow.given}."
            )
        self.flow = flow

    def forward(self, given: Tensor) -> TorchDistribution:
        """Law of (..., features), given (..., inputs)."""
        hidden = self.body(given)
        law: TorchDistribution = self.flow(self.law(hidden), hidden if self.flow.given else None)
        return law
