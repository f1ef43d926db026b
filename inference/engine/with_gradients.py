"""A scalar with gradients that were computed elsewhere."""

from typing import Any

import torch
from torch import Tensor


class WithGradients(torch.autograd.Function):
    """A scalar whose gradient in some tensors is known already."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, *rest: Tensor) -> Tensor:
        count = len(rest) // 2
        ctx.save_for_backward(*rest[:count])
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        gradients = ctx.saved_tensors
        return (None, *(None for _ in gradients), *(grad_outputs[0] * gradient for gradient in gradients))
