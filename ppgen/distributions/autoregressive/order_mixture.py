"""Equal mixtures of autoregressive laws, such as those of several orders."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Size, Tensor

from ppgen.distributions.autoregressive.draws import tracing
from ppgen.distributions.autoregressive.known import WAYS, check_known, precedes

Law = Any  # an Autoregressive, or a ConditionedAutoregressive of one


class OrderMixture(TorchDistribution):
    r"""Mixture of laws of vectors, such as one model in several orders.

    .. math:: p(x) = \frac{1}{K} \sum_{k=1}^K p_k(x)

    Probabilities are averaged, and not their logarithms, whose mean is a lower bound. A draw takes one law at random.

    References:
        | A Deep and Tractable Density Estimator (Uria, Murray and Larochelle, 2014)
        | https://arxiv.org/abs/1310.1757

    Args:
        laws: `Autoregressive` laws of vectors of one size and one batch shape.
        log_weights: Logarithms of the weights in the place of equal ones, `(laws, *batch_shape)`; normalised here.

    Raises:
        ValueError: If there is no law, or they have several shapes or supports.
        TypeError: If one is no law.

    Example:
        >>> import torch
        >>> from ppgen import distributions, nn
        >>> network, output = nn.CausalLinear(3), distributions.BernoulliOutput()
        >>> orders = (torch.arange(3), torch.arange(3).flip(0))
        >>> law = distributions.OrderMixture([distributions.Autoregressive(network, output, order) for order in orders])
        >>> law.sample((5,)).shape, law.log_prob(torch.zeros(5, 3)).shape
        (torch.Size([5, 3]), torch.Size([5]))
    """

    arg_constraints = {}  # noqa: RUF012 - torch reads it as a class attribute
    has_rsample = False

    def __init__(
        self, laws: Sequence[Law], log_weights: Tensor | None = None, *, validate_args: bool | None = None
    ) -> None:
        if not isinstance(laws, (list, tuple)) or not laws:
            raise ValueError(f"laws must be a list of distributions.Autoregressive, one or more, got {laws!r}.")
        for law in laws:
            if not hasattr(law, "conditional_log_prob"):
                raise TypeError(f"laws must be distributions.Autoregressive laws, got {type(law).__name__}.")
        shapes = {(tuple(law.batch_shape), tuple(law.event_shape)) for law in laws}
        if len(shapes) > 1:
            raise ValueError(f"laws must have one batch and event shape, got {sorted(shapes)}.")
        self.laws, self._log_weights = list(laws), log_weights
        super().__init__(laws[0].batch_shape, laws[0].event_shape, validate_args=validate_args)

    @property
    def support(self) -> Any:
        """Vectors whose entries lie in the support of the first law."""
        return self.laws[0].support

    @property
    def log_weights(self) -> Tensor:
        """Logarithms of the weights, `(laws, *batch_shape)` or (laws,)."""
        if self._log_weights is None:
            return torch.full((len(self.laws),), -math.log(len(self.laws)), device="cpu")
        return self._log_weights.log_softmax(0)

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(x) in nats, the logarithm of the weighted mean of probabilities: (..., D) -> (...,)."""
        each = torch.stack([law.log_prob(value) for law in self.laws])
        if self._log_weights is None:
            return each.logsumexp(0) - math.log(len(self.laws))
        return (each + _against(self.log_weights, each)).logsumexp(0)

    @torch.no_grad()
    def sample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008 - torch's own signature
        """Draws, each of a law that is drawn first: `sample_shape + batch_shape + (D,)`.

        They cost as much as draws of one law; in a traced step, where no shape follows from a draw, as those of all.
        """
        shape = self._extended_shape(sample_shape)[:-1]
        like = self.laws[0].uniforms(Size())
        cumulative = self.log_weights.exp().to(like).movedim(0, -1).cumsum(-1).expand(*shape, len(self.laws))
        uniforms = torch.rand(*shape, 1, dtype=like.dtype, device=like.device)
        chosen = (cumulative <= uniforms * cumulative[..., -1:]).sum(-1).clamp(max=len(self.laws) - 1)
        if tracing():
            every = torch.stack([law.sample(sample_shape) for law in self.laws], -2)  # (..., laws, D)
            index = chosen[..., None, None].expand(*shape, 1, self.event_shape[0])
            return every.gather(-2, index).squeeze(-2)
        drawn = like.new_empty(*shape, *self.event_shape)
        for number in chosen.unique().tolist():
            at = chosen == number
            drawn[at] = self.laws[number].select(shape, at).sample()
        return drawn

    def condition(self, value: Tensor, mask: Tensor | None = None) -> "OrderMixture":
        r"""Exact law of vectors of which entries are known that come first in the order of every law.

        .. math:: p(x_{\text{rest}} \mid x_{\text{known}}) = \sum_k p(k \mid x_{\text{known}}) \,
            p_k(x_{\text{rest}} \mid x_{\text{known}})

        Args:
            value: Vectors, (..., D), NaN at what is not known.
            mask: Whether each entry is known, (..., D), in the place of NaN.

        Raises:
            ValueError: If in the order of some law an entry is known that does not precede all that is not; it names
                what can be done. If values are outside of the support.
        """
        known = check_known(self.laws[0], value, mask)
        late = [index for index, law in enumerate(self.laws) if not bool(precedes(law, known).all())]
        if late:
            raise ValueError(
                f"value must be known in the first entries of the order of every law, and is not in that of law "
                f"{late[0]} ({len(late)} of {len(self.laws)} such), whose p(known) is a sum over what comes between. "
                f"{WAYS}"
            )
        filled = torch.where(known, value, torch.zeros_like(value))
        before = [torch.where(known, law.conditional_log_prob(filled), 0.0).sum(-1) for law in self.laws]
        likelihoods = torch.stack(before)
        posterior = likelihoods + _against(self.log_weights.to(likelihoods), likelihoods)
        return OrderMixture([law.condition(value, mask) for law in self.laws], posterior)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "OrderMixture":
        """Law of independent vectors, as many as the larger `batch_shape` says."""
        weights = self._log_weights
        if weights is not None and weights.dim() > 1:
            weights = _against(weights, weights.new_empty(len(weights), *batch_shape)).expand(
                len(weights), *batch_shape
            )
        return OrderMixture([law.expand(batch_shape) for law in self.laws], weights, validate_args=self._validate_args)


def _against(weights: Tensor, each: Tensor) -> Tensor:
    """Weights of laws, (laws, *batch), with as many dimensions as log-probabilities, (laws, ..., *batch)."""
    return weights.reshape(len(weights), *(1,) * (each.dim() - weights.dim()), *weights.shape[1:])
