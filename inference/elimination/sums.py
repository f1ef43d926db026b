"""What a variable is eliminated by: a sum, a maximum, or a sum whose gradient is an exact draw."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Sum = Callable[[Tensor, int], Tensor]  # of log-densities, over one dimension


def log_sum(tensor: Tensor, dim: int) -> Tensor:
    """Logarithm of the sum; its gradient is the posterior probability."""
    return tensor.logsumexp(dim)


def maximum(tensor: Tensor, dim: int) -> Tensor:
    """The largest; its gradient is 1 at one place where it is taken."""
    value: Tensor = _Chosen.apply(tensor, dim, False)
    return value


def sampled(tensor: Tensor, dim: int) -> Tensor:
    """Logarithm of the sum; its gradient is 1 at a place that is drawn from the posterior."""
    value: Tensor = _Chosen.apply(tensor, dim, True)
    return value


class _Chosen(torch.autograd.Function):
    """A sum or maximum whose backward pass goes to one place alone, chosen when it is reached.

    The backward pass goes through the eliminations in the opposite order, so that the place of each variable is chosen
    given those of the variables eliminated later: forward filtering, backward sampling, whatever the order is.
    """

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, dim: int, draws: bool) -> Tensor:
        ctx.save_for_backward(tensor)
        ctx.dim, ctx.draws = dim, draws
        return tensor.logsumexp(dim) if draws else tensor.amax(dim)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (tensor,) = ctx.saved_tensors
        dim = ctx.dim % tensor.dim()
        if ctx.draws:
            # The largest of the logits and Gumbel noise is a draw of their softmax.
            tensor = tensor - (-torch.rand_like(tensor).clamp_min(torch.finfo(tensor.dtype).tiny).log()).log()
        place = tensor.argmax(dim, keepdim=True)
        chosen = torch.zeros_like(tensor).scatter(dim, place, 1.0)
        return chosen * gradients[0].unsqueeze(dim), None, None
