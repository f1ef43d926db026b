"""Vectors that are an autoregressive function of noise: drawn at once, with a density that is exact."""

import math
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Size, Tensor
from torch.distributions import Distribution, constraints
from torch.nn.functional import logsigmoid

from ppgen.causal import CausalNetwork, batch_shape_of
from ppgen.checks.arguments import check_kind, check_number
from ppgen.distributions.autoregressive.given import check_given
from ppgen.distributions.autoregressive.orders import check_order


class InverseAutoregressive(TorchDistribution):
    r"""Inverse autoregressive flow: each entry moves its noise by gates that depend on the noise before it.

    .. math:: z_i = g_i \epsilon_i + (1 - g_i) m_i, \quad g_i = \sigma(s_i + c), \quad
              (m_i, s_i) = f_i(\epsilon_1, \dots, \epsilon_{i-1}; \text{given}), \qquad
              \log q(z) = \log q_0(\epsilon) - \sum_i \log g_i

    A reparameterised law for guides: a draw takes one pass of the network, and so does its density, as the law
    remembers the noise of its latest draw. The density of any other value is exact too and takes a sweep of D steps of
    the network, which finds the noise entry by entry: so in the sleep phase of `inference.WakeSleep`, in the wake phase
    of `inference.ReweightedWakeSleep`, and under estimators that take log q at a copy of the draw
    (`inference.StickTheLanding`). Several follow one another where `base` is such a law itself, best with
    the order reversed from one to the next. With c above 0 gates start open, and the law near its base.

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

    arg_constraints = {}  # noqa: RUF012 - torch reads it as a class attribute
    support = constraints.real_vector
    has_rsample = True

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
        check_kind("base", base, Distribution, "a reparameterised law, such as dist.Normal(loc, scale).to_event(1)")
        check_kind("network", network, CausalNetwork, "a causal network, such as nn.CausalLinear(features, outputs=2)")
        check_number("gate_bias", gate_bias, "be finite", math.isfinite)
        size = network.positions
        if network.outputs != 2:
            raise ValueError(f"network must have two outputs a position, m and s, got {network.outputs}.")
        if tuple(base.event_shape) != (size,) or not base.has_rsample:
            raise ValueError(
                f"base must be a reparameterised law with events of shape ({size},), as the network has positions; got "
                f"{type(base).__name__} with events of shape {tuple(base.event_shape)}"
                f"{'' if base.has_rsample else ' and no rsample'}."
            )
        if order is not None:
            check_order(order, size)
        check_given(given, network)
        batch_shape = torch.broadcast_shapes(base.batch_shape, batch_shape_of(given))
        self.base = base if base.batch_shape == batch_shape else base.expand(batch_shape)
        self.network, self.order, self.given, self.gate_bias = network, order, given, gate_bias
        self._inverse = None if order is None else order.argsort()
        self._latest: tuple[Tensor, Tensor, Tensor] | None = None  # a draw, its noise, log of the gates
        super().__init__(batch_shape, Size((size,)), validate_args=validate_args)

    def rsample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008 - torch's own signature
        """Draws with their gradient: `sample_shape + batch_shape + (D,)`."""
        noise = self.base.rsample(sample_shape)
        ordered = noise if self.order is None else noise[..., self.order]
        moved, log_gates = self._moved(ordered, self.network(ordered, self._given(noise.shape[:-1])))
        value = moved if self._inverse is None else moved[..., self._inverse]
        self._latest = value, noise, log_gates.sum(-1)
        return value

    def rsample_with_log_prob(self, sample_shape: Any = Size()) -> tuple[Tensor, Tensor]:  # noqa: B008
        """Draws with their gradient, and log q of them in nats: one pass of the network for both."""
        value = self.rsample(sample_shape)
        return value, self.log_prob(value)

    def sample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008 - torch's own signature
        """Draws without a gradient: `sample_shape + batch_shape + (D,)`."""
        with torch.no_grad():
            return self.rsample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """log q(z) in nats, (..., D) -> (...,): at the latest draw at once, elsewhere by a sweep of D steps."""
        if self._validate_args:
            self._validate_sample(value)
        if self._latest is not None and value is self._latest[0]:
            _, noise, log_gates = self._latest
        else:
            noise, log_gates = self._noise(value)
        log_prob: Tensor = self.base.log_prob(noise) - log_gates
        return log_prob

    def expand(self, batch_shape: Any, _instance: Any = None) -> "InverseAutoregressive":
        """Law of independent vectors, as many as the larger `batch_shape` says."""
        law = self._get_checked_instance(InverseAutoregressive, _instance)
        law.base, law.network, law.gate_bias = self.base.expand(batch_shape), self.network, self.gate_bias
        law.order, law._inverse, law._latest = self.order, self._inverse, None
        law.given = None if self.given is None else self.given.expand(*batch_shape, self.given.shape[-1])
        super(InverseAutoregressive, law).__init__(Size(batch_shape), self.event_shape, validate_args=False)
        law._validate_args = self._validate_args
        return law

    def _noise(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """Noise of values, and the sum of the logarithms of their gates, entry by entry."""
        shape = torch.broadcast_shapes(value.shape[:-1], self.batch_shape)
        ordered = (value if self.order is None else value[..., self.order]).expand(*shape, value.shape[-1])
        state = self.network.start(shape, self._given(shape))
        previous, found, total = torch.zeros_like(ordered[..., 0]), [], torch.zeros_like(ordered[..., 0])
        for position in range(value.shape[-1]):
            parameters, state = self.network.step(state, previous)
            mean, log_gate, log_rest = self._split(parameters)
            previous = (ordered[..., position] - log_rest.exp() * mean) * (-log_gate).exp()
            total = total + log_gate
            found.append(previous)
        noise = torch.stack(found, -1)
        return noise if self._inverse is None else noise[..., self._inverse], total

    def _moved(self, noise: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_gates, log_rest = self._split(parameters)
        return log_gates.exp() * noise + log_rest.exp() * mean, log_gates

    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """m, log g and log(1 - g)."""
        mean, logit = parameters.unbind(-1)
        logit = logit + self.gate_bias
        return mean, logsigmoid(logit), logsigmoid(-logit)

    def _given(self, shape: Size) -> Tensor | None:
        return None if self.given is None else self.given.expand(*shape, self.given.shape[-1])
