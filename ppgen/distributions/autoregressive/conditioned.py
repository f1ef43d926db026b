"""The rest of vectors whose first entries are known."""

from typing import TYPE_CHECKING, Any

import torch
from pyro.distributions import TorchDistribution
from torch import Size, Tensor

if TYPE_CHECKING:
    from ppgen.distributions.autoregressive.autoregressive import Autoregressive


class ConditionedAutoregressive(TorchDistribution):
    r"""Law of vectors given their first entries in the order, as `Autoregressive.condition` makes it.

    .. math:: p(x \mid x_{\text{known}}) = \mathbb 1[x_{\text{known}}] \prod_{i > k} p(x_{o_i} \mid x_{o_{<i}})

    Events are whole vectors, (D,); draws hold the known entries.

    Args:
        base: The law of whole vectors.
        value: Vectors, (..., D); what is not known may be anything.
        known: Whether each entry is known, (..., D), first in the order where it is.

    Example:
        >>> import torch
        >>> from ppgen import distributions, nn
        >>> law = distributions.Autoregressive(nn.CausalLinear(3), distributions.BernoulliOutput())
        >>> law.condition(torch.tensor([1.0, float("nan"), float("nan")])).sample((4,))[:, 0]
        tensor([1., 1., 1., 1.])
    """

    arg_constraints = {}  # noqa: RUF012 - torch reads it as a class attribute
    has_rsample = False

    def __init__(
        self, base: "Autoregressive", value: Tensor, known: Tensor, *, validate_args: bool | None = None
    ) -> None:
        self.base, self.value, self.known = base, value, known
        lead = torch.broadcast_tensors(value[..., 0], value.new_empty(base.batch_shape))[0].shape
        super().__init__(lead, base.event_shape, validate_args=validate_args)

    @property
    def support(self) -> Any:
        """Vectors whose entries lie in the support of the law of an entry."""
        return self.base.support

    def conditional_log_prob(self, value: Tensor) -> Tensor:
        """log p of each entry given those before it, in nats, 0 or -inf at known ones: (..., D) -> (..., D)."""
        each = self.base.conditional_log_prob(value)
        held = torch.where(value == self.value, 0.0, -torch.inf).to(each)
        return torch.where(self.known, held, each)

    def conditional_mean(self, value: Tensor) -> Tensor:
        """Mean of each entry given those before it, and known ones themselves: (..., D) -> (..., D)."""
        mean = self.base.conditional_mean(value)
        return torch.where(self.known, self.value.to(mean), mean)

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(rest | known) in nats, -inf where known entries differ: (..., D) -> (...,)."""
        each = self.conditional_log_prob(value).sum(-1)
        return torch.broadcast_tensors(each, each.new_empty(()).expand(self.batch_shape))[0]

    @torch.no_grad()
    def sample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008 - torch's own signature
        """Draws, the known entries as they are: `sample_shape + batch_shape + (D,)`."""
        shape = self._extended_shape(sample_shape)
        held = self.value.masked_fill(~self.known, torch.nan)
        return self.base.draw(self.base.uniforms(shape[:-1]), held)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "ConditionedAutoregressive":
        """Law of independent vectors, as many as the larger `batch_shape` says."""
        shape = Size(batch_shape) + self.event_shape
        return ConditionedAutoregressive(
            self.base.expand(batch_shape),
            self.value.expand(shape),
            self.known.expand(shape),
            validate_args=self._validate_args,
        )

    def select(self, batch_shape: Size, at: Tensor) -> "ConditionedAutoregressive":
        """Law of those vectors of a larger batch at which a mask is True: its batch shape is (as many,)."""
        value, known = (each.expand(*batch_shape, *self.event_shape)[at] for each in (self.value, self.known))
        return ConditionedAutoregressive(
            self.base.select(batch_shape, at), value, known, validate_args=self._validate_args
        )

    def uniforms(self, batch: Size) -> Tensor:
        """Uniform numbers from which vectors of a batch shape are drawn: `(*batch, D, uniforms of an entry)`."""
        return self.base.uniforms(batch)
