"""Bernoulli variables each of which depends on those before it."""

from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Size, Tensor
from torch.distributions import constraints
from torch.nn.functional import softplus

from ppgen.checks.arguments import check_tensors

_BLOCK = 16  # bits whose effect on all later ones is added by one product


# One operator, as a traced step would else hold some operations for each bit and take minutes to compile.
@torch.library.custom_op("ppgen::autoregressive_bits", mutates_args=())
def autoregressive_bits(logits: Tensor, weight: Tensor, uniforms: Tensor) -> Tensor:
    """Bits `u < p`, each with the logit given those before it.

    Args:
        logits: Logits without the bits before, shape (..., bits).
        weight: Weights of which the strictly lower triangle counts, shape (bits, bits).
        uniforms: Uniform numbers in [0, 1), shape (..., bits).

    Returns:
        Bits in the dtype of the logits, shape (..., bits).
    """
    size = logits.shape[-1]
    inputs = logits.reshape(-1, size).T.clone(memory_format=torch.contiguous_format)  # (bits, draws)
    columns = uniforms.reshape(-1, size).T.contiguous()
    bits = torch.empty_like(inputs)
    for start in range(0, size, _BLOCK):
        stop = min(start + _BLOCK, size)
        for index in range(start, stop):
            bits[index] = columns[index] < inputs[index].sigmoid()
            inputs[index + 1 : stop].addr_(weight[index + 1 : stop, index], bits[index])
        inputs[stop:].addmm_(weight[stop:, start:stop], bits[start:stop])
    return bits.T.reshape(logits.shape).contiguous()


@autoregressive_bits.register_fake
def _(logits: Tensor, weight: Tensor, uniforms: Tensor) -> Tensor:
    return torch.empty_like(uniforms, memory_format=torch.contiguous_format)


class AutoregressiveBernoulli(TorchDistribution):
    r"""Vector of bits, each a Bernoulli variable given the bits before it.

    .. math:: p(x) = \prod_i \mathrm{Bernoulli}\Big(x_i \;\Big|\; \sigma\big(a_i + \sum_{j < i} W_{ij} x_j\big)\Big)

    Draws are made bit by bit; the log-density of a whole vector takes one product with the strictly lower triangle
    of W, the only part of W that counts. Events have shape (bits,), and W is common to the batch. With W = 0 the bits
    are independent.

    References:
        | Connectionist Learning of Belief Networks (Neal, 1992)
        | Deep AutoRegressive Networks (Gregor, Danihelka, Mnih, Blundell and Wierstra, 2014)
        | https://arxiv.org/abs/1310.8499

    Args:
        logits: a, shape (..., bits).
        weight: W, shape (bits, bits).

    Raises:
        ValueError: If the shapes do not fit.

    Example:
        >>> import torch
        >>> from ppgen.distributions import AutoregressiveBernoulli
        >>> law = AutoregressiveBernoulli(torch.zeros(4, 3), torch.ones(3, 3))
        >>> law.sample().shape, law.log_prob(torch.zeros(3))
        (torch.Size([4, 3]), tensor([-2.0794, -2.0794, -2.0794, -2.0794]))
    """

    arg_constraints = {"logits": constraints.real_vector, "weight": constraints.independent(constraints.real, 2)}  # noqa: RUF012 - torch reads it as a class attribute
    support = constraints.independent(constraints.boolean, 1)
    has_rsample = False

    def __init__(self, logits: Tensor, weight: Tensor, *, validate_args: bool | None = None) -> None:
        check_tensors(logits=logits, weight=weight)
        if logits.dim() < 1 or weight.shape != (logits.shape[-1], logits.shape[-1]):
            raise ValueError(
                "weight must have shape (bits, bits) beside logits of shape (..., bits), got "
                f"{tuple(weight.shape)} beside {tuple(logits.shape)}."
            )
        self.logits, self.weight = logits, weight
        super().__init__(logits.shape[:-1], logits.shape[-1:], validate_args=validate_args)

    def conditional_logits(self, value: Tensor) -> Tensor:
        """Logit of each bit given those before it: (..., bits) -> (..., bits)."""
        return self.logits + value @ self.weight.tril(-1).T

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(x) in nats: (..., bits) -> broadcast of (...,) and the batch shape."""
        if self._validate_args:
            self._validate_sample(value)
        logits = self.conditional_logits(value)
        return (value * logits - softplus(logits)).sum(-1)

    @torch.no_grad()
    def sample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008 - torch's own signature
        """Draws, `u < p` bit by bit: `sample_shape + batch_shape + (bits,)`."""
        logits = self.logits.expand(self._extended_shape(sample_shape))
        uniforms = torch.rand(logits.shape, dtype=logits.dtype, device=logits.device)
        return autoregressive_bits(logits, self.weight, uniforms)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "AutoregressiveBernoulli":
        """Law of independent vectors of bits, as many as the larger `batch_shape` says."""
        logits = self.logits.expand(Size(batch_shape) + self.event_shape)
        return AutoregressiveBernoulli(logits, self.weight, validate_args=self._validate_args)
