"""Steps of a kernel's chains as machine code, where the run is long enough to pay for making it."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from ppgen.distributions.machines.layered_energy import EVEN, ODD, LayeredEnergy
from ppgen.graphs.compiler import compiled_or_none, worth_compiling
from ppgen.inference.kernels.machine_kernel import MachineKernel

# Multiply-adds of a run, couplings times chains times sweeps, from which on it is compiled. On one core a sweep of a
# 784-500 machine takes 75 picoseconds each as a program and 50 as machine code, which takes 6 seconds to make: it pays
# from 3e11 on, after some twenty seconds.
WORTH_COMPILING = 3e11

Step = Callable[[Any], tuple[Any, Any]]


def worth_compiling_sweeps(energy: LayeredEnergy, num_moves: int) -> bool:
    """Whether so many sweeps of single chains make up a run that pays for compiling it."""
    multiplications = num_moves * energy.size(EVEN) * energy.size(ODD)
    return worth_compiling(multiplications, WORTH_COMPILING, energy.parameters()[0].device)


def make_step(
    kernel: MachineKernel[Any],
    state: Any,
    steps: int,
    *,
    adapt: bool,
    generator: torch.Generator,
    compile: bool | Literal["auto"],
) -> Step:
    """Function from one state of the chains to the next and what is told of the step.

    Args:
        kernel: The kernel.
        state: Its state, a NamedTuple of tensors, for whose shapes machine code is made.
        steps: Steps that are to be taken.
        adapt: Whether they adapt the kernel.
        generator: Source of randomness of steps that are not compiled; machine code uses torch's own.
        compile: Whether to make machine code; `"auto"` decides by the size of the run.

    Example:
        >>> from ppgen import inference, models
        >>> kernel, generator = inference.BlockGibbs(models.RBM(visible=4, hidden=3)), torch.Generator()
        >>> state = kernel.init(10, generator)
        >>> step = make_step(kernel, state, 5, adapt=False, generator=generator, compile="auto")
        >>> state, info = step(state)
        >>> info.energy.shape
        torch.Size([10])
    """

    def by_program(state: Any) -> tuple[Any, Any]:
        return kernel.step(state, generator, adapt=adapt)

    chains = state[0].shape[:-1].numel()  # with all their replicas
    if compile is False or not steps:
        return by_program
    if compile == "auto" and not worth_compiling_sweeps(kernel.energy, steps * kernel.sweeps * chains):
        return by_program
    leaves: list[Tensor] = list(state)
    told: list[type] = []

    def program(*leaves: Tensor) -> Any:
        following, info = kernel.step(type(state)(*leaves), None, adapt=adapt)
        told[:] = [type(info)]
        return list(following), list(info)

    message = "The chains could not be compiled, so they run uncompiled"
    machine_code = compiled_or_none(program, leaves, message, stacklevel=3)
    if machine_code is None:
        return by_program

    def run(state: Any) -> tuple[Any, Any]:
        found = machine_code(*state)
        return type(state)(*found[: len(state)]), told[0](*found[len(state) :])

    return run
