"""A vector as the product of the laws of its entries, each given those before it."""

from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Size, Tensor
from torch.distributions import constraints

from ppgen.causal import CausalNetwork, batch_shape_of
from ppgen.checks.arguments import check_count, check_kind
from ppgen.distributions.autoregressive.conditioned import ConditionedAutoregressive
from ppgen.distributions.autoregressive.draws import draw_entries
from ppgen.distributions.autoregressive.given import check_given
from ppgen.distributions.autoregressive.known import check_known, check_precedes
from ppgen.distributions.autoregressive.orders import check_order
from ppgen.distributions.autoregressive.output_law import OutputLaw
from ppgen.distributions.autoregressive.weighted_completion import WeightedCompletion


class Autoregressive(TorchDistribution):
    r"""Law of a vector whose entries follow one after another, by a causal network and the law of one entry.

    .. math:: p(x \mid g) = \prod_{i=1}^D p\big(x_{o_i} \mid \theta_i(x_{o_1}, \dots, x_{o_{i-1}}; g)\big)

    `log_prob` is exact and takes one pass of the network; a draw takes D steps of it, which share their state and cost
    about one pass in all. Events have shape (D,). Draws carry no gradient.

    References:
        | The Neural Autoregressive Distribution Estimator (Larochelle and Murray, 2011)
        | Neural Autoregressive Distribution Estimation (Uria, Cote, Gregor, Murray and Larochelle, 2016)
        | https://arxiv.org/abs/1605.02226

    Args:
        network: Causal network over D positions, such as an `nn.Causal`.
        output: Law of one entry; the network has as many outputs as it has parameters.
        order: Permutation o of 0, ..., D - 1: the entry that stands at each position; by default as they are.
        given: What the vectors are conditioned on, shape (..., numbers); its batch shape is that of the law.

    Raises:
        ValueError: If the network has another number of outputs, or the order is no permutation.
        TypeError: If an argument is of another type.

    Example:
        >>> import torch
        >>> from ppgen import distributions, nn
        >>> law = distributions.Autoregressive(nn.CausalLinear(3), distributions.BernoulliOutput())
        >>> law.log_prob(torch.zeros(5, 3)).shape, law.sample((2,)).shape
        (torch.Size([5]), torch.Size([2, 3]))
        >>> half = law.condition(torch.tensor([1.0, 0.0, float("nan")]))
        >>> half.log_prob(torch.tensor([1.0, 0.0, 1.0])).detach()
        tensor(-0.6931)
    """

    arg_constraints = {}  # noqa: RUF012 - torch reads it as a class attribute
    has_rsample = False

    def __init__(
        self,
        network: CausalNetwork,
        output: OutputLaw,
        order: Tensor | None = None,
        given: Tensor | None = None,
        *,
        validate_args: bool | None = None,
    ) -> None:
        check_kind("network", network, CausalNetwork, "a causal network, such as nn.CausalLinear(features)")
        check_kind("output", output, OutputLaw, "the law of an entry, such as distributions.BernoulliOutput()")
        if network.outputs != output.num_parameters:
            raise ValueError(
                f"network must have {output.num_parameters} outputs a position, the parameters of "
                f"{type(output).__name__}, got {network.outputs}."
            )
        if order is not None:
            check_order(order, network.positions)
        check_given(given, network)
        self.network, self.output, self.order, self.given = network, output, order, given
        self._inverse = None if order is None else order.argsort()
        super().__init__(batch_shape_of(given), Size((network.positions,)), validate_args=validate_args)

    @property
    def support(self) -> Any:
        """Vectors whose entries lie in the support of the law of an entry."""
        return constraints.independent(self.output.support, 1)

    def parameters(self, value: Tensor) -> Tensor:
        """Parameters of each position's law given the positions before: (..., D) -> (..., D, P), in the order."""
        return self._parameters(self._ordered(value))

    def conditional_log_prob(self, value: Tensor) -> Tensor:
        """log p of each entry given those before it, in nats: (..., D) -> (..., D), in the places of the entries."""
        if self._validate_args:
            self._validate_sample(value)
        ordered = self._floating(self._ordered(value))
        return self._placed(self.output.log_prob(self._parameters(ordered), ordered))

    def conditional_mean(self, value: Tensor) -> Tensor:
        """Mean of each entry given those before it: (..., D) -> (..., D), in the places of the entries.

        Raises:
            NotImplementedError: If the law of an entry has no mean in closed form.
        """
        return self._placed(self.output.mean(self.parameters(value)))

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(x) in nats: (..., D) -> broadcast of (...,) and the batch shape."""
        each = self.conditional_log_prob(value).sum(-1)
        return torch.broadcast_tensors(each, each.new_empty(()).expand(self.batch_shape))[0]

    def sample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008 - torch's own signature
        """Draws: `sample_shape + batch_shape + (D,)`."""
        return self.draw(self.uniforms(self._extended_shape(sample_shape)[:-1]))

    def sample_and_log_prob(self, sample_shape: Any = Size()) -> tuple[Tensor, Tensor]:  # noqa: B008
        """Draws, and their log p(x) in nats, which carries the gradient of the parameters."""
        value = self.sample(sample_shape)
        return value, self.log_prob(value)

    def uniforms(self, batch: Size) -> Tensor:
        """Uniform numbers from which vectors of a batch shape are drawn: (*batch, D, uniforms of an entry)."""
        like = self._like()
        shape = (*batch, *self.event_shape, self.output.num_uniforms)
        return torch.rand(shape, dtype=like.dtype, device=like.device)

    @torch.no_grad()
    def draw(self, uniforms: Tensor, known: Tensor | None = None) -> Tensor:
        """Values from uniform numbers by inverse cumulative distributions, entry by entry.

        Args:
            uniforms: As `uniforms` gives them, (..., D, uniforms of an entry), in the order of positions.
            known: Values of entries that are not drawn, (..., D), NaN at all others.
        """
        given = None if self.given is None else self.given.expand(*uniforms.shape[:-2], self.given.shape[-1])
        held = None if known is None else self._ordered(known.to(uniforms)).expand(uniforms.shape[:-1])
        return self._placed(draw_entries(self.network, self.output, uniforms, given, held))

    def condition(self, value: Tensor, mask: Tensor | None = None) -> "ConditionedAutoregressive":
        r"""Exact law of vectors of which the first entries, in the order, are known.

        .. math:: p(x_{\text{rest}} \mid x_{\text{known}}) = \prod_{i > k} p(x_{o_i} \mid x_{o_1}, \dots, x_{o_{i-1}})

        Args:
            value: Vectors, (..., D), NaN at what is not known.
            mask: Whether each entry is known, (..., D), in the place of NaN.

        Returns:
            A law of whole vectors, whose `log_prob` is that of the rest, and -inf where known entries differ.

        Raises:
            ValueError: If an entry is known that does not precede all that is not, where the law of the rest is no
                product of the network's conditionals; it names what can be done. If values are outside of the support.
        """
        known = check_known(self, value, mask)
        check_precedes(self, known)
        return ConditionedAutoregressive(self, value.detach(), known)

    def weighted_completion(
        self, value: Tensor, mask: Tensor | None = None, *, num_samples: int = 100
    ) -> WeightedCompletion:
        r"""Estimate of the law of vectors of which any entries are known, by weighted draws.

        .. math:: w = \prod_{i \text{ known}} p(x_{o_i} \mid x_{o_1}, \dots, x_{o_{i-1}})

        Entries are drawn in the order, known ones held, so that each draw counts by how likely it makes the known ones
        that come after it. The mean weight is an unbiased estimate of p(known). No draw is exact: `ess` says how many
        exact ones the weighted ones are worth, for each vector.

        Args:
            value: Vectors, (..., D), NaN at what is not known.
            mask: Whether each entry is known, (..., D), in the place of NaN.
            num_samples: Draws of each vector.

        Raises:
            ValueError: If there is no draw, or values are outside of the support.
        """
        check_count("num_samples", num_samples)
        known = check_known(self, value, mask)
        held = value.detach().masked_fill(~known, float("nan"))
        lead = torch.broadcast_tensors(value[..., 0], torch.empty(self.batch_shape, device=value.device))[0].shape
        with torch.no_grad():
            drawn = self.draw(self.uniforms(Size((num_samples, *lead))), held)
            each = self.conditional_log_prob(drawn)
        return WeightedCompletion(drawn, each.masked_fill(~known, 0.0).sum(-1))

    def expand(self, batch_shape: Any, _instance: Any = None) -> "Autoregressive":
        """Law of independent vectors, as many as the larger `batch_shape` says."""
        law = self._get_checked_instance(Autoregressive, _instance)
        law.network, law.output, law.order, law._inverse = self.network, self.output, self.order, self._inverse
        law.given = None if self.given is None else self.given.expand(*batch_shape, self.given.shape[-1])
        super(Autoregressive, law).__init__(Size(batch_shape), self.event_shape, validate_args=False)
        law._validate_args = self._validate_args
        return law

    def select(self, batch_shape: Size, at: Tensor) -> "Autoregressive":
        """Law of those vectors of a larger batch at which a mask is True: its batch shape is (as many,)."""
        if self.given is None:
            return self.expand((int(at.sum()),))
        given = self.given.expand(*batch_shape, self.given.shape[-1])[at]
        return Autoregressive(self.network, self.output, self.order, given, validate_args=self._validate_args)

    def _parameters(self, ordered: Tensor) -> Tensor:
        """Parameters of the positions; the network sees values and what is given in one batch shape."""
        given = self.given
        ordered = self._floating(ordered)
        if given is not None:
            lead = torch.broadcast_tensors(ordered[..., 0], given[..., 0])[0].shape
            ordered, given = ordered.expand(*lead, ordered.shape[-1]), given.expand(*lead, given.shape[-1])
        return self.network(self.output.code(ordered), given)

    def _floating(self, value: Tensor) -> Tensor:
        """Levels that are given as whole numbers, or bits as True and False, in the dtype of the network."""
        return value if value.is_floating_point() else value.to(self._like().dtype)

    def _ordered(self, value: Tensor) -> Tensor:
        return value if self.order is None else value[..., self.order]

    def _placed(self, value: Tensor) -> Tensor:
        return value if self._inverse is None else value[..., self._inverse]

    def _like(self) -> Tensor:
        """A tensor of the dtype and on the device of values: a weight, or what is given."""
        weights = self.network.parameters() if isinstance(self.network, torch.nn.Module) else ()
        given = () if self.given is None else (self.given,)
        return next((each for each in (*weights, *given) if each.is_floating_point()), torch.empty(()))

    def _validate_sample(self, value: Tensor) -> None:
        """Raise unless values are vectors of the entries' support."""
        size = self.event_shape[0]
        if not isinstance(value, Tensor) or not value.dim() or value.shape[-1] != size:
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(
                f"value must be vectors of {size} entries, (..., {size}), as the network has positions, got {shape}."
            )
        inside = self.output.support.check(value)
        if not inside.all():
            wrong = value[~inside].flatten()[0].item()
            raise ValueError(f"value must hold {self.output.wanted}, in the support of its law, got {wrong:g}.")
