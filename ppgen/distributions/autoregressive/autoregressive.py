"""A vector as the product of the laws of its entries, each given those before it."""

from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Size, Tensor
from torch.distributions import constraints

from ppgen.causal import CausalNetwork, batch_shape_of
from ppgen.distributions.autoregressive.output_law import OutputLaw


class Autoregressive(TorchDistribution):
    r"""Law of a vector whose entries follow one after another, by a causal network and the law of one entry.

    .. math:: p(x \mid g) = \prod_{i=1}^D p\big(x_{o_i} \mid \theta_i(x_{o_1}, \dots, x_{o_{i-1}}; g)\big)

    `log_prob` is exact and takes one pass of the network; a draw takes D steps of it, which share their state and cost
    about one pass in all. Events have shape (D,).

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

    Example:
        >>> import torch
        >>> from ppgen import distributions, nn
        >>> law = distributions.Autoregressive(nn.CausalLinear(3), distributions.BernoulliOutput())
        >>> law.log_prob(torch.zeros(5, 3)).shape, law.sample((2,)).shape
        (torch.Size([5]), torch.Size([2, 3]))
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
        if network.outputs != output.num_parameters:
            raise ValueError(
                f"network must have {output.num_parameters} outputs a position, the parameters of "
                f"{type(output).__name__}, got {network.outputs}."
            )
        self.network, self.output, self.order, self.given = network, output, order, given
        self._inverse = None if order is None else order.argsort()
        super().__init__(batch_shape_of(given), Size((network.positions,)), validate_args=validate_args)

    @property
    def support(self) -> Any:
        """That of each entry."""
        return constraints.independent(self.output.support, 1)

    def parameters(self, value: Tensor) -> Tensor:
        """Parameters of each position's law given the positions before: (..., D) -> (..., D, P), in the order."""
        return self.network(self.output.code(self._ordered(value)), self.given)

    def conditional_log_prob(self, value: Tensor) -> Tensor:
        """log p of each entry given those before it, in nats: (..., D) -> (..., D), in the places of the entries."""
        if self._validate_args:
            self._validate_sample(value)
        ordered = self._ordered(value)
        each = self.output.log_prob(self.network(self.output.code(ordered), self.given), ordered)
        return self._placed(each)

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(x) in nats: (..., D) -> broadcast of (...,) and the batch shape."""
        each = self.conditional_log_prob(value).sum(-1)
        return each.expand(torch.broadcast_shapes(each.shape, self.batch_shape))

    @torch.no_grad()
    def sample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008 - torch's own signature
        """Draws: `sample_shape + batch_shape + (D,)`."""
        shape = self._extended_shape(sample_shape)
        given = None if self.given is None else self.given.expand(*shape[:-1], self.given.shape[-1])
        state = self.network.start(shape[:-1], given)
        like = next(value for name, value in state.items() if name != "position")
        uniforms = torch.rand(*shape, self.output.num_uniforms, dtype=like.dtype, device=like.device)
        previous, drawn = torch.zeros(shape[:-1], dtype=like.dtype, device=like.device), []
        for position in range(shape[-1]):
            parameters, state = self.network.step(state, previous)
            value = self.output.draw(parameters, uniforms[..., position, :])
            drawn.append(value)
            previous = self.output.code(value)
        return self._placed(torch.stack(drawn, -1))

    def expand(self, batch_shape: Any, _instance: Any = None) -> "Autoregressive":
        """Law of independent vectors, as many as the larger `batch_shape` says."""
        law = self._get_checked_instance(Autoregressive, _instance)
        law.network, law.output, law.order, law._inverse = self.network, self.output, self.order, self._inverse
        law.given = None if self.given is None else self.given.expand(*batch_shape, self.given.shape[-1])
        super(Autoregressive, law).__init__(Size(batch_shape), self.event_shape, validate_args=False)
        law._validate_args = self._validate_args
        return law

    def _ordered(self, value: Tensor) -> Tensor:
        return value if self.order is None else value[..., self.order]

    def _placed(self, value: Tensor) -> Tensor:
        return value if self._inverse is None else value[..., self._inverse]
