"""Inverse autoregressive flows with masked networks."""

from collections.abc import Sequence

from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from ppgen.distributions import InverseAutoregressive
from ppgen.nn.autoregressive.made import MADENetwork
from ppgen.nn.flows.flow import Flow, reversals


class InverseAutoregressiveFlow(Flow):
    r"""Inverse autoregressive flow: steps of `distributions.InverseAutoregressive`, each in the reverse order.

    .. math:: z \leftarrow \sigma(s + c) \odot z + (1 - \sigma(s + c)) \odot m, \quad
              (m, 5 \operatorname{artanh}(s / 5)) = \mathrm{MADE}(z, h)

    For guides: a draw and its log q take one pass of each network. log q of another value takes D steps of each, one
    after another, because each entry of the noise needs those before it; where that is asked for in each step of
    training (`inference.StickTheLanding`, `inference.DoublyReparameterized`, `inference.ReweightedWakeSleep`,
    `inference.WakeSleep`), a `CouplingFlow` takes one pass.

    References:
        | Improving Variational Inference with Inverse Autoregressive Flow (Kingma et al., 2016),
          https://arxiv.org/abs/1606.04934

    Args:
        features: Entries D of the vector.
        hidden: Units of the hidden layers of each step's network.
        steps: Steps; the order of entries is reversed from one to the next.
        given: Numbers h that each vector is conditioned on; 0 for none.
        gate_bias: c, which opens the gates at the start.

    Raises:
        ValueError: If a number is not positive, or `given` is negative.

    Example:
        >>> import pyro.distributions as dist, torch
        >>> from ppgen import nn
        >>> flow = nn.InverseAutoregressiveFlow(3, hidden=(8,), given=4)
        >>> law = flow(dist.Normal(torch.zeros(5, 3), 1.0).to_event(1), torch.zeros(5, 4))
        >>> law.rsample().shape
        torch.Size([5, 3])
    """

    def __init__(
        self,
        features: int,
        hidden: Sequence[int] = (200,),
        steps: int = 2,
        given: int = 0,
        *,
        gate_bias: float = 2.0,
    ) -> None:
        orders = reversals(features, steps)
        super().__init__(features, orders, given)
        self.gate_bias = gate_bias
        # Weights from entries to outputs beside the hidden layers would make guides slower and no better.
        self.networks.extend(MADENetwork(features, hidden, 2, given, direct=not len(hidden)) for _ in orders)

    def step(
        self, base: TorchDistribution, network: nn.Module, order: Tensor | None, given: Tensor | None
    ) -> TorchDistribution:
        """Gates of one network upon the law of the steps before it."""
        return InverseAutoregressive(base, network, order, given, gate_bias=self.gate_bias)  # type: ignore[arg-type]
