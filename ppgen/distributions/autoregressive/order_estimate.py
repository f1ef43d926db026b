"""An estimate of log p over orders, in the place of a law in training."""

from collections.abc import Callable
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Size, Tensor
from torch.distributions import Distribution

from ppgen.checks.arguments import check_kind


class OrderEstimate(TorchDistribution):
    r"""Law of which training ascends an estimate: the mean log p over orders, from an order drawn at each call.

    .. math:: \mathbb E[\mathrm{estimate}(x)] = \mathbb E_o[\log p_o(x)] \le \log \mathbb E_o[p_o(x)]

    `log_prob` is this estimate, in nats, which is another one at each call and the log-density of no law; its gradient
    is unbiased. Draws are those of the law itself, by which likelihoods are evaluated.

    References:
        | A Deep and Tractable Density Estimator (Uria, Murray and Larochelle, 2014)
        | https://arxiv.org/abs/1310.1757

    Args:
        law: The law that is drawn from and evaluated, such as a mixture over orders.
        estimate: Estimate of the mean log p over orders in nats: (..., D) -> (...,).

    Raises:
        TypeError: If the law is no distribution, or the estimate no function.

    Example:
        >>> import torch
        >>> from ppgen import distributions, nn
        >>> law = distributions.Autoregressive(nn.CausalLinear(3), distributions.BernoulliOutput())
        >>> estimate = distributions.OrderEstimate(law, lambda x: law.log_prob(x) + torch.rand(len(x)) - 0.5)
        >>> estimate.log_prob(torch.zeros(5, 3)).shape, estimate.sample().shape
        (torch.Size([5]), torch.Size([3]))
    """

    arg_constraints = {}  # noqa: RUF012 - torch reads it as a class attribute
    has_rsample = False

    def __init__(self, law: Any, estimate: Callable[[Tensor], Tensor], *, validate_args: bool | None = None) -> None:
        check_kind("law", law, Distribution, "the law of a datum, such as distributions.OrderMixture")
        if not callable(estimate):
            raise TypeError(f"estimate must be a function of data, got {estimate!r}.")
        self.law, self.estimate = law, estimate
        super().__init__(law.batch_shape, law.event_shape, validate_args=validate_args)

    @property
    def support(self) -> Any:
        """Support of the law of a datum."""
        return self.law.support

    def log_prob(self, value: Tensor) -> Tensor:
        """Unbiased estimate of the mean log p(x) over orders, in nats: (..., D) -> (...,)."""
        if self._validate_args:
            self.law._validate_sample(value)
        each = self.estimate(value)
        return torch.broadcast_tensors(each, each.new_empty(()).expand(self.batch_shape))[0]

    def sample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008 - torch's own signature
        """Draws of the law: `sample_shape + batch_shape + (D,)`."""
        drawn: Tensor = self.law.sample(sample_shape)
        return drawn

    def expand(self, batch_shape: Any, _instance: Any = None) -> "OrderEstimate":
        """Law of independent vectors, as many as the larger `batch_shape` says."""
        return OrderEstimate(self.law.expand(batch_shape), self.estimate, validate_args=self._validate_args)
