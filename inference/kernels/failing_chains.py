"""Chains at whose position a program raises: found and held, so that one of them does not end all."""

from collections.abc import Callable

import torch
from torch import Tensor

# What programs raise where numbers leave the range in which they have a density: a matrix without a Cholesky factor, an
# argument that a law refuses, an overflow of Python's floats. Other errors are those of the program itself.
OUTSIDE = (torch.linalg.LinAlgError, ValueError, ArithmeticError)


def value_and_gradient(log_density: Callable[[Tensor], Tensor], position: Tensor) -> tuple[Tensor, Tensor]:
    """Log-density of each chain (...) and its gradient (..., dim), from one backward pass of the sum.

    Example:
        >>> value_and_gradient(lambda z: -z.square().sum(-1) / 2, torch.ones(2, 1))
        (tensor([-0.5000, -0.5000]), tensor([[-1.],
                [-1.]]))
    """
    with torch.enable_grad():
        position = position.detach().requires_grad_()
        value = log_density(position)
        (gradient,) = torch.autograd.grad(value.sum(), position)
    return value.detach(), gradient


def value_and_gradient_or_start(
    log_density: Callable[[Tensor], Tensor], position: Tensor, start: Tensor
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Log-density and gradient where the program runs, and which chains raise: they have those of their start.

    A batched factorisation raises for all chains at once. Chains do not depend on each other, so that halves of them
    are tried with all others at their start, where the program is known to run, until those that raise are left: about
    2 log2(chains) evaluations for one of them. Where none raises, the program runs once as it would alone.

    Args:
        log_density: Function of positions (..., dim) to nats (...).
        position: Positions, (..., dim).
        start: Positions at which it runs, (..., dim).

    Returns:
        Values (...), gradients (..., dim), and a mask (...) of the chains that raise, None where there is none.

    Raises:
        Exception: What the program raised, if it does so at the start as well, or by what chains have in common.

    Example:
        >>> def log_density(z):
        ...     if (z > 1).any():
        ...         raise ValueError("z must be at most 1")
        ...     return -z.square().sum(-1)
        >>> value_and_gradient_or_start(log_density, torch.tensor([[0.5], [2.0], [-1.0]]), torch.zeros(3, 1))[2]
        tensor([False,  True, False])
    """
    try:
        return *value_and_gradient(log_density, position), None
    except OUTSIDE as error:
        failing = _failing(log_density, position, start, error)
    held = torch.where(failing.unsqueeze(-1), start, position)
    return *value_and_gradient(log_density, held), failing


def _failing(log_density: Callable[[Tensor], Tensor], position: Tensor, start: Tensor, error: BaseException) -> Tensor:
    """Mask (...) of the chains at which the program raises, by halves of those that do."""
    chains = position.shape[:-1]

    def mask(group: Tensor) -> Tensor:
        return torch.zeros(chains.numel(), dtype=torch.bool, device=position.device).index_fill(0, group, True)

    def raises(group: Tensor) -> bool:
        moved = mask(group).view(*chains, 1)
        try:
            value_and_gradient(log_density, torch.where(moved, position, start))
        except OUTSIDE:
            return True
        return False

    everyone = torch.arange(chains.numel(), device=position.device)
    if raises(everyone[:0]):
        raise error
    groups, found = [everyone], []
    while groups:
        group = groups.pop()
        if len(group) == 1:
            found.append(group)
            continue
        halves = [half for half in group.tensor_split(2) if raises(half)]
        if not halves:  # the program takes chains together: no one of them is what it cannot run with
            raise error
        groups += halves
    return mask(torch.cat(found)).view(chains)
