"""Vectors that are an autoregressive function of noise: drawn at once, with a density that is exact."""

import math
from typing import Any

from torch import Tensor

from ppgen.causal import CausalNetwork
from ppgen.checks.arguments import check_kind, check_number
from ppgen.distributions.autoregressive.given import check_given
from ppgen.distributions.flows.flow_step import FlowStep
from ppgen.distributions.flows.sweep import InverseGates, sweep


class InverseAutoregressive(FlowStep):
    r"""Inverse autoregressive flow: each entry moves its noise by gates that depend on the noise before it.

    .. math:: z_i = g_i \epsilon_i + (1 - g_i) m_i, \quad g_i = \sigma(s_i + c), \quad
              (m_i, 5 \operatorname{artanh}(s_i / 5)) = f_i(\epsilon_1, \dots, \epsilon_{i-1}; \text{given}), \qquad
              \log q(z) = \log q_0(\epsilon) - \sum_i \log g_i

    A reparameterised law for guides: a draw takes one pass of the network, and so does its density, as the law
    remembers the noise of its latest draw. The density of any other value is exact too and takes a sweep of D steps of
    the network, which finds the noise entry by entry: so in the sleep phase of `inference.WakeSleep`, in the wake phase
    of `inference.ReweightedWakeSleep`, and under estimators that take log q at a copy of the draw
    (`inference.StickTheLanding`); there an `AffineCoupling` takes one pass. Several follow one another where `base` is
    such a law itself, best with the order reversed from one to the next, as `nn.InverseAutoregressiveFlow` has them.
    With c above 0 gates start open, and the law near its base. s stays within 5 of 0, since the noise of a value far
    off, divided by gates one after another, would be infinite.

    The law belongs to the weights that it was drawn with: make it anew in each run of a program, as programs do.

    References:
        | Improving Variational Inference with Inverse Autoregressive Flow (Kingma et al., 2016),
          https://arxiv.org/abs/1606.04934

    Args:
        base: Law of the noise, reparameterised, with events of shape (D,); such as a Normal of an encoder.
        network: Causal network over D positions with two outputs, m and s.
        order: Permutation of 0, ..., D - 1: the entry that stands at each position; by default as they are.
        given: What the network is conditioned on beside, shape (..., numbers).
        gate_bias: c.

    Raises:
        ValueError: If the network has not two outputs, the base other events or no `rsample`, or the order is no
            permutation.
        TypeError: If an argument is of another type.

    Example:
        >>> import pyro.distributions as dist, torch
        >>> from ppgen import distributions, nn
        >>> base = dist.Normal(torch.zeros(5, 3), 1.0).to_event(1)
        >>> law = distributions.InverseAutoregressive(base, nn.CausalLinear(3, outputs=2))
        >>> z = law.rsample()
        >>> z.shape, law.log_prob(z).shape
        (torch.Size([5, 3]), torch.Size([5]))
    """

    def __init__(
        self,
        base: Any,
        network: CausalNetwork,
        order: Tensor | None = None,
        given: Tensor | None = None,
        *,
        gate_bias: float = 2.0,
        validate_args: bool | None = None,
    ) -> None:
        check_kind("network", network, CausalNetwork, "a causal network, such as nn.CausalLinear(features, outputs=2)")
        check_number("gate_bias", gate_bias, "be finite", math.isfinite)
        if network.outputs != 2:
            raise ValueError(f"network must have two outputs a position, m and s, got {network.outputs}.")
        check_given(given, network)
        self.network, self.gate_bias = network, gate_bias
        super().__init__(base, network.positions, order, given, validate_args=validate_args)

    def push(self, noise: Tensor, given: Tensor | None) -> tuple[Tensor, Tensor]:
        """Values of noise and the sum of the logarithms of their gates: one pass of the network."""
        mean, log_gates, log_rest = InverseGates(self.gate_bias).split(self.network(noise, given))
        return log_gates.exp() * noise + log_rest.exp() * mean, log_gates.sum(-1)

    def pull(self, value: Tensor, given: Tensor | None) -> tuple[Tensor, Tensor]:
        """Noise of values and the sum of the logarithms of their gates, entry by entry."""
        return sweep(self.network, InverseGates(self.gate_bias), value, given)
