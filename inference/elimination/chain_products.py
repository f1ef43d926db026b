"""Products of the matrices of a chain, one after another, by a tree as deep as the logarithm of their number."""

import math
from typing import Any

import torch
from torch import Tensor

from ppgen.inference.elimination.sums import Sum, log_sum


def chain_product(matrices: Tensor, sum_over: Sum = log_sum) -> Tensor:
    r"""Product of matrices of log-densities in the order of the steps, their inner indices eliminated.

    .. math:: \log P_{ij} = \log \sum_{k_1 \dots k_{T-1}} \exp(A^1_{i k_1} + A^2_{k_1 k_2} + \dots + A^T_{k_{T-1} j})

    Neighbours are joined in pairs, all pairs of a level at once.

    Args:
        matrices: One a step: (steps, *plates, states, states).
        sum_over: By what an index is eliminated.

    Returns:
        The product, (*plates, states, states).
    """
    if sum_over is log_sum and len(matrices) > 1:
        product: Tensor = _Product.apply(matrices)
        return product
    while len(matrices) > 1:
        pairs = len(matrices) // 2
        left, right = matrices[: 2 * pairs : 2], matrices[1 : 2 * pairs : 2]
        done = sum_over(left.unsqueeze(-1) + right.unsqueeze(-3), -2)
        matrices = done if len(matrices) == 2 * pairs else torch.cat([done, matrices[-1:]])
    return matrices[0]


class _Product(torch.autograd.Function):
    """The product by sums, and its gradient from what was joined on the way."""

    @staticmethod
    def forward(ctx: Any, matrices: Tensor) -> Tensor:
        product, joined = torch.ops.ppgen.log_chain_product(matrices)
        ctx.save_for_backward(matrices, joined)
        found: Tensor = product
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return _Gradient.apply(*ctx.saved_tensors, gradients[0])


class _Gradient(torch.autograd.Function):
    """The gradient of a product; its own, which expectations under a chain need, is that of the tree as it stands."""

    @staticmethod
    def forward(ctx: Any, matrices: Tensor, joined: Tensor, gradient: Tensor) -> Any:
        ctx.save_for_backward(matrices, gradient)
        return torch.ops.ppgen.log_chain_gradient(matrices, joined, gradient)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        more = torch.is_grad_enabled()
        with torch.enable_grad():
            matrices, gradient = (
                each.view_as(each) if each.requires_grad else each.detach().requires_grad_()
                for each in ctx.saved_tensors
            )
            product = chain_product(matrices, lambda tensor, dim: tensor.logsumexp(dim))
            (first,) = torch.autograd.grad(product, matrices, gradient, create_graph=True)
            in_matrices, in_gradient = torch.autograd.grad(first, (matrices, gradient), gradients[0], create_graph=more)
        return in_matrices, None, in_gradient


# Operators of their own, for a traced step would else hold some twenty operations a level, and take several times as
# long to compile. They are not made by `custom_op`, which imports the compiler at its first call, in eager runs too.
_LIBRARY = torch.library.Library("ppgen", "FRAGMENT")
_LIBRARY.define("log_chain_product(Tensor matrices) -> (Tensor, Tensor)")
_LIBRARY.define("log_chain_gradient(Tensor matrices, Tensor joined, Tensor gradient) -> Tensor")


@torch.library.impl(_LIBRARY, "log_chain_product", "CompositeExplicitAutograd")
def _log_chain_product(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """The product of two matrices or more, and the products of all levels: (states, states, products, rows)."""
    levels = [_states_first(matrices)]
    while levels[-1].shape[2] > 1:
        below = levels[-1]
        done = _pairs(below).logsumexp(1)
        levels.append(done if below.shape[2] % 2 == 0 else torch.cat([done, below[:, :, -1:]], 2))
    product = levels[-1][:, :, 0].permute(2, 0, 1).reshape(matrices.shape[1:]).contiguous()
    return product, torch.cat(levels[1:], 2)


@torch.library.impl(_LIBRARY, "log_chain_gradient", "CompositeExplicitAutograd")
def _log_chain_gradient(matrices: Tensor, joined: Tensor, gradient: Tensor) -> Tensor:
    """Gradient in the matrices, from that in their product: the levels in the opposite order."""
    levels = [_states_first(matrices)]
    while levels[-1].shape[2] > 1:
        size = -(-levels[-1].shape[2] // 2)
        levels.append(joined[:, :, :size])
        joined = joined[:, :, size:]
    found = _states_first(gradient.unsqueeze(0))
    for below, above in zip(levels[-2::-1], levels[:0:-1], strict=True):
        pairs = below.shape[2] // 2
        done = above[:, :, :pairs]
        # What cannot happen, of log-density minus infinity, has no gradient.
        share = (_pairs(below) - done.masked_fill(done == -torch.inf, 0.0).unsqueeze(1)).exp_()
        share *= found[:, :, :pairs].unsqueeze(1)
        both = torch.stack([share.sum(2), share.sum(0)], 3).flatten(2, 3)
        found = both if below.shape[2] % 2 == 0 else torch.cat([both, found[:, :, -1:]], 2)
    return found.permute(2, 3, 0, 1).reshape(matrices.shape).contiguous()


@torch.library.register_fake("ppgen::log_chain_product")
def _(matrices: Tensor) -> tuple[Tensor, Tensor]:
    steps, states, joined = len(matrices), matrices.shape[-1], 0
    while steps > 1:
        steps = -(-steps // 2)
        joined += steps
    shape = (states, states, joined, math.prod(matrices.shape[1:-2]))
    return matrices.new_empty(matrices.shape[1:]), matrices.new_empty(shape)


@torch.library.register_fake("ppgen::log_chain_gradient")
def _(matrices: Tensor, joined: Tensor, gradient: Tensor) -> Tensor:
    return matrices.new_empty(matrices.shape)


def _states_first(matrices: Tensor) -> Tensor:
    """Matrices as (states, states, steps, rows), so that all steps and rows lie side by side."""
    states = matrices.shape[-1]
    return matrices.reshape(len(matrices), -1, states, states).permute(2, 3, 0, 1).contiguous()


def _pairs(level: Tensor) -> Tensor:
    """Sums of the entries of neighbours: (states, inner index, states, pairs, rows)."""
    pairs = level.shape[2] // 2
    return level[:, :, : 2 * pairs : 2].unsqueeze(2) + level[:, :, 1 : 2 * pairs : 2].unsqueeze(0)
