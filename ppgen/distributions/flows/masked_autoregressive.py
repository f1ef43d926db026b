"""Vectors of which each entry is a line in its noise, that the entries before it choose."""

from typing import Any

from torch import Tensor

from ppgen.causal import CausalNetwork
from ppgen.checks.arguments import check_kind
from ppgen.distributions.autoregressive.given import check_given
from ppgen.distributions.flows.flow_step import FlowStep
from ppgen.distributions.flows.sweep import AffineEntries, bounded, sweep


class MaskedAutoregressive(FlowStep):
    r"""Step of a masked autoregressive flow: each entry's location and scale depend on the entries before it.

    .. math:: z_i = m_i + e^{a_i} \epsilon_i, \quad (m_i, 5 \operatorname{artanh}(a_i / 5)) = f_i(z_1, \dots, z_{i-1};
              \text{given}), \qquad \log q(z) = \log q_0(\epsilon) - \sum_i a_i

    A law for densities and priors: log q of any value takes one pass of the network. A draw takes a sweep of D steps of
    the network, since each entry needs those before it; for a guide, which is drawn from in each step of training, take
    an `InverseAutoregressive` or an `AffineCoupling`. Log-scales stay within 5 of 0, so that no row far from the data
    sends a step of training to infinity.

    References:
        | Masked Autoregressive Flow for Density Estimation (Papamakarios, Pavlakou and Murray, 2017)
        | https://arxiv.org/abs/1705.07057

    Args:
        base: Law of the noise, reparameterised, with events of shape (D,); perhaps such a law itself.
        network: Causal network over D positions with two outputs.
        order: Permutation of 0, ..., D - 1: the entry that stands at each position; by default as they are.
        given: What the network is conditioned on beside, shape (..., numbers).

    Raises:
        ValueError: If the network has not two outputs, the base other events or no `rsample`, or the order is no
            permutation.

    Example:
        >>> import pyro.distributions as dist, torch
        >>> from ppgen import distributions, nn
        >>> base = dist.Normal(torch.zeros(3), 1.0).to_event(1)
        >>> law = distributions.MaskedAutoregressive(base, nn.CausalLinear(3, outputs=2))
        >>> law.log_prob(torch.zeros(5, 3)).shape, law.sample((2,)).shape
        (torch.Size([5]), torch.Size([2, 3]))
    """

    def __init__(
        self,
        base: Any,
        network: CausalNetwork,
        order: Tensor | None = None,
        given: Tensor | None = None,
        *,
        validate_args: bool | None = None,
    ) -> None:
        check_kind("network", network, CausalNetwork, "a causal network, such as nn.CausalLinear(features, outputs=2)")
        if network.outputs != 2:
            raise ValueError(
                f"network must have two outputs a position, location and log-scale, got {network.outputs}."
            )
        check_given(given, network)
        self.network = network
        super().__init__(base, network.positions, order, given, validate_args=validate_args)

    def push(self, noise: Tensor, given: Tensor | None) -> tuple[Tensor, Tensor]:
        """Values of noise and the sum of their log-scales, entry by entry."""
        return sweep(self.network, AffineEntries(), noise, given)

    def pull(self, value: Tensor, given: Tensor | None) -> tuple[Tensor, Tensor]:
        """Noise of values and the sum of their log-scales: one pass of the network."""
        location, raw = self.network(value, given).unbind(-1)
        log_scale = bounded(raw)
        return (value - location) * (-log_scale).exp(), log_scale.sum(-1)
