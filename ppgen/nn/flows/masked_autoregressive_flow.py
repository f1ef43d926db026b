"""Masked autoregressive flows."""

from collections.abc import Sequence

from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from ppgen.distributions import MaskedAutoregressive
from ppgen.nn.autoregressive.made import MADENetwork
from ppgen.nn.flows.flow import Flow, reversals


class MaskedAutoregressiveFlow(Flow):
    r"""Masked autoregressive flow: steps of `distributions.MaskedAutoregressive`, each in the reverse order.

    .. math:: \epsilon \leftarrow (\epsilon - m) \odot e^{-a}, \quad (m, a) = \mathrm{MADE}(\epsilon, h)

    For densities and priors: log p of any value takes one pass of each network, a draw D steps of each, one after
    another. A guide, which draws in each step of training, is better an `InverseAutoregressiveFlow` or a
    `CouplingFlow`.

    References:
        | Masked Autoregressive Flow for Density Estimation (Papamakarios, Pavlakou and Murray, 2017)
        | https://arxiv.org/abs/1705.07057

    Args:
        features: Entries D of the vector.
        hidden: Units of the hidden layers of each step's network.
        steps: Steps; the order of entries is reversed from one to the next.
        given: Numbers h that each vector is conditioned on; 0 for none.

    Raises:
        ValueError: If a number is not positive, or `given` is negative.

    Example:
        >>> import pyro.distributions as dist, torch
        >>> from ppgen import nn
        >>> flow = nn.MaskedAutoregressiveFlow(3, hidden=(8,))
        >>> flow(dist.Normal(torch.zeros(3), 1.0).to_event(1)).log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])
    """

    def __init__(self, features: int, hidden: Sequence[int] = (200,), steps: int = 2, given: int = 0) -> None:
        orders = reversals(features, steps)
        super().__init__(features, orders, given)
        self.networks.extend(MADENetwork(features, hidden, 2, given) for _ in orders)

    def step(
        self, base: TorchDistribution, network: nn.Module, order: Tensor | None, given: Tensor | None
    ) -> TorchDistribution:
        """Locations and scales of one network upon the law of the steps before it."""
        return MaskedAutoregressive(base, network, order, given)  # type: ignore[arg-type]
