"""What the steps of flows share: noise of another law, moved by an invertible map whose determinant is known."""

from abc import abstractmethod
from typing import Any, NamedTuple

import torch
from pyro.distributions import TorchDistribution
from torch import Size, Tensor
from torch.distributions import Distribution, constraints

from ppgen.causal import batch_shape_of
from ppgen.checks.arguments import check_kind, check_tensors
from ppgen.checks.shapes import broadcast_shapes
from ppgen.distributions.autoregressive.orders import check_order


class _Draw(NamedTuple):
    """A draw with what is known of it."""

    value: Tensor
    noise: Tensor
    log_slope: Tensor
    recorded: bool  # whether autograd knows how it came about

    def serves(self, value: Tensor) -> bool:
        """Whether a value is the draw: one without a gradient has log q of a constant, whose noise follows weights."""
        return value is self.value and (self.recorded or not torch.is_grad_enabled())


class FlowStep(TorchDistribution):
    r"""Base of laws that are one step of a normalizing flow.

    .. math:: z = T(\epsilon), \quad \epsilon \sim q_0, \qquad
              \log q(z) = \log q_0(\epsilon) - \log \left| \det \frac{\partial T}{\partial \epsilon} \right|

    A subclass writes `push`, the map, and `pull`, its inverse. Draws carry their gradient, and the law remembers the
    noise of the latest one, whose density needs no inverse. Densities of any other value are exact too. Steps follow
    one another where `base` is such a law itself.

    The law belongs to the weights that it was drawn with: make it anew in each run of a program, as programs do.

    References:
        | Variational Inference with Normalizing Flows (Rezende and Mohamed, 2015)
        | https://arxiv.org/abs/1505.05770

    Args:
        base: Law of the noise, reparameterised, with events of shape (D,).
        size: D.
        order: Permutation of 0, ..., D - 1: the entry that stands at each position; by default as they are.
        given: What the map is conditioned on, shape (..., numbers).

    Raises:
        ValueError: If the base has other events or no `rsample`, or the order is no permutation.
        TypeError: If an argument is of another type.

    Example:
        >>> from ppgen import distributions
        >>> issubclass(distributions.AffineCoupling, distributions.FlowStep)
        True
    """

    arg_constraints = {}  # noqa: RUF012 - torch reads it as a class attribute
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        base: Any,
        size: int,
        order: Tensor | None = None,
        given: Tensor | None = None,
        *,
        validate_args: bool | None = None,
    ) -> None:
        check_kind("base", base, Distribution, "a reparameterised law, such as dist.Normal(loc, scale).to_event(1)")
        if tuple(base.event_shape) != (size,) or not base.has_rsample:
            raise ValueError(
                f"base must be a reparameterised law with events of shape ({size},), as the network has positions; got "
                f"{type(base).__name__} with events of shape {tuple(base.event_shape)}"
                f"{'' if base.has_rsample else ' and no rsample'}."
            )
        if order is not None:
            check_order(order, size)
        if given is not None:
            check_tensors(given=given)
        batch_shape = broadcast_shapes(base.batch_shape, batch_shape_of(given))
        self.base = base if base.batch_shape == batch_shape else base.expand(batch_shape)
        self.order, self.given = order, given
        self._inverse = None if order is None else _inverse(order)
        self._latest: _Draw | None = None
        super().__init__(batch_shape, Size((size,)), validate_args=validate_args)

    @abstractmethod
    def push(self, noise: Tensor, given: Tensor | None) -> tuple[Tensor, Tensor]:
        """Values of noise, both in the order of positions, and `log |dz / d noise|`: (..., D) -> (..., D), (...,)."""

    @abstractmethod
    def pull(self, value: Tensor, given: Tensor | None) -> tuple[Tensor, Tensor]:
        """Noise of values, and `log |dz / d noise|` again: (..., D) -> (..., D), (...,)."""

    def rsample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008 - torch's own signature
        """Draws with their gradient: `sample_shape + batch_shape + (D,)`."""
        noise = self.base.rsample(sample_shape)
        ordered, log_slope = self.push(self._ordered(noise), self._given(noise.shape[:-1]))
        value = self._placed(ordered)
        self._latest = _Draw(value, noise, log_slope, torch.is_grad_enabled())
        return value

    def rsample_with_log_prob(self, sample_shape: Any = Size()) -> tuple[Tensor, Tensor]:  # noqa: B008
        """Draws with their gradient, and log q of them in nats: one run of the map for both."""
        value = self.rsample(sample_shape)
        return value, self.log_prob(value)

    def sample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008 - torch's own signature
        """Draws without a gradient: `sample_shape + batch_shape + (D,)`."""
        with torch.no_grad():
            return self.rsample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """log q(z) in nats, (..., D) -> (...,): at the latest draw at once, elsewhere by the inverse of the map."""
        if self._validate_args:
            self._validate_sample(value)
        latest = self._latest
        if latest is not None and latest.serves(value):
            noise, log_slope = latest.noise, latest.log_slope
        else:
            shape = broadcast_shapes(value.shape[:-1], self.batch_shape)
            ordered = self._ordered(value).expand(*shape, value.shape[-1])
            noise, log_slope = self.pull(ordered, self._given(shape))
            noise = self._placed(noise)
        log_prob: Tensor = self.base.log_prob(noise) - log_slope
        return log_prob

    def expand(self, batch_shape: Any, _instance: Any = None) -> "FlowStep":
        """Law of independent vectors, as many as the larger `batch_shape` says."""
        law = self._get_checked_instance(type(self), _instance)
        law.__dict__.update({name: value for name, value in self.__dict__.items() if not name.startswith("_")})
        law.base, law._inverse, law._latest = self.base.expand(batch_shape), self._inverse, None
        law.given = None if self.given is None else self.given.expand(*batch_shape, self.given.shape[-1])
        super(FlowStep, law).__init__(Size(batch_shape), self.event_shape, validate_args=False)
        law._validate_args = self._validate_args
        return law

    def _given(self, shape: Size) -> Tensor | None:
        return None if self.given is None else self.given.expand(*shape, self.given.shape[-1])

    def _ordered(self, value: Tensor) -> Tensor:
        return value if self.order is None else value[..., self.order]

    def _placed(self, value: Tensor) -> Tensor:
        return value if self._inverse is None else value[..., self._inverse]


def _inverse(order: Tensor) -> Tensor:
    """Place of each entry in an order; cheaper in a compiled step than a sort."""
    order = order.long()
    return torch.zeros_like(order).scatter(0, order, torch.arange(len(order), device=order.device))
