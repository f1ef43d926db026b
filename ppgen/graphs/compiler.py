"""From a program of tensors to machine code."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from ppgen.devices import has_inductor, is_accelerator
from ppgen.graphs.draws import vectorised_draws
from ppgen.graphs.machine_code import machine_code
from ppgen.graphs.passes import functional, simplify
from ppgen.graphs.products import joined_products, products_in_bfloat16
from ppgen.graphs.scanned_cells import with_machine_code
from ppgen.graphs.stacks import sliced_stacks
from ppgen.undisturbed import device_of, forked

FASTER = 100  # times that a GPU does the work of a core, so that so much more of it pays for compiling


def compiled(
    program: Callable[..., Any], inputs: list[Any], *, bfloat16: bool = False, faithful: bool = False
) -> Callable[..., list[Any]]:
    """A program for tensors of these shapes as machine code: traced, made functional, simplified, given to Inductor.

    Args:
        program: Takes inputs (nested lists of tensors) and returns nested lists of tensors; may write to its inputs.
        inputs: Tensors of the shapes to compile for; nothing runs on them.
        bfloat16: Whether factors of matrix products are rounded to bfloat16.
        faithful: Whether the machine code draws the random numbers of the program, one by one: for comparisons.

    Returns:
        Function of the same inputs that gives a flat list of results, without gradients.

    Raises:
        RuntimeError: If there is no Inductor for the device.
    """
    flat, spec = tree_flatten(inputs)
    for device in {leaf.device for leaf in flat}:
        if not has_inductor(device.type):
            raise RuntimeError(f"PyTorch has no Inductor for {device.type}")
    module = functional(lambda *leaves: tree_leaves(program(*tree_unflatten(leaves, spec))), flat)
    module = sliced_stacks(simplify(module, keep_draws=faithful))
    if not faithful:
        module = joined_products(simplify(vectorised_draws(module, flat)))
    if bfloat16:
        module = products_in_bfloat16(module)
    code = machine_code(with_machine_code(module), flat)

    def run(*arguments: Any) -> list[Any]:
        with torch.no_grad():
            return list(code(*tree_leaves(arguments)))

    return run


def compiled_or_none(
    program: Callable[..., Any], inputs: list[Any], told: str, *, stacklevel: int = 2
) -> Callable[..., list[Any]] | None:
    """The program as machine code, tried once; None, with a warning, where there is no compiler or it fails.

    What the program reads beside its inputs, such as weights, becomes a constant of the code, to be thrown away before
    that changes. The random state is left as it is.

    Args:
        program: As `compiled` takes it.
        inputs: Tensors of the shapes to compile for, with which the machine code is tried.
        told: What could not be compiled and is done instead, for the warning, which adds the reason.
        stacklevel: Of the warning, counted from the caller.
    """
    try:
        with forked(device_of(inputs)):
            machine_code = compiled(program, inputs)
            machine_code(*inputs)
    except Exception as error:  # no compiler, or one that cannot do with this graph
        warnings.warn(f"{told}: {in_a_line(error)}", stacklevel=stacklevel + 1)
        return None
    return machine_code


def worth_compiling(work: float, least: float, device: torch.device) -> bool:
    """Whether a run is so large, by its size and not by the clock, that compiling it pays.

    Args:
        work: What the run computes, in any unit.
        least: From how much on it pays on one core.
        device: Where it runs.

    Example:
        >>> worth_compiling(2e12, 1e12, torch.device("cpu")), worth_compiling(2e12, 1e12, torch.device("cuda"))
        (True, False)
    """
    return work >= (FASTER * least if is_accelerator(device) else least)


def in_a_line(error: Exception) -> str:
    r"""Kind of an error and the first line of what it says, for a warning.

    Example:
        >>> in_a_line(RuntimeError("no compiler\nlong story"))
        'RuntimeError: no compiler'
    """
    return f"{type(error).__name__}: {f'{error}'.strip().partition(chr(10))[0]}"
