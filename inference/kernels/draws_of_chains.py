"""Draws of a kernel's chains as ArviZ reads them: `inference.sample`."""

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ppgen.checks.arguments import check_count
from ppgen.checks.room import check_room
from ppgen.checks.seeding import check_seed
from ppgen.checks.switches import check_switches
from ppgen.inference.kernels.compiled_steps import make_step
from ppgen.inference.kernels.machine_kernel import MachineKernel
from ppgen.progress import progress_bar
from ppgen.trees import Group, make_tree, to_array
from ppgen.undisturbed import forked


@torch.no_grad()
def sample(
    kernel: MachineKernel[Any],
    num_samples: int,
    *,
    num_chains: int = 100,
    num_superchains: int | None = None,
    warmup_steps: int = 500,
    seed: int = 0,
    compile: bool | Literal["auto"] = "auto",
    progress: bool = False,
) -> Any:
    """Run the chains of a kernel and return their draws as an `xarray.DataTree` for ArviZ.

    Groups: `posterior` with one variable for each layer, of dimensions chain, draw, `data` where the machine was
    conditioned on several rows, and `<layer>_unit`; `sample_stats` with what the kernel tells of each step. Bits are
    stored as int8. The caller's random state is not touched.

    Args:
        kernel: A `BlockGibbs`, a `ParallelTempering` or a `TrajectoryTempering`.
        num_samples: Draws kept of each chain, one a step.
        num_chains: Chains (of each row that the machine was conditioned on).
        num_superchains: Groups of chains of which each starts from one state, for the nested R-hat of many short chains
            (`diagnostics.convergence`); `num_chains` must be a multiple of it. None starts every chain by itself.
        warmup_steps: Steps before those, in which the kernel adapts what it can.
        seed: Seed of all randomness.
        compile: Whether steps run as machine code. `"auto"` does it for long runs of large machines, by their size and
            not by the clock. Compiled steps draw uniforms of their own: they follow from the seed, but agree with those
            of the program only in law. Where there is no compiler, a warning says why and the program runs.
        progress: Whether to show a progress bar.

    Raises:
        TypeError: If the kernel is none of a machine.
        ValueError: If a number is out of its range, the groups of chains are not of one size, or `compile` is none of
            its values.

    Example:
        >>> from ppgen import inference, models
        >>> rbm = models.RBM(visible=4, hidden=3)
        >>> chains = inference.sample(inference.BlockGibbs(rbm), 20, num_chains=10, warmup_steps=50)
        >>> dict(chains.posterior.sizes)
        {'chain': 10, 'draw': 20, 'visible_unit': 4, 'hidden_unit': 3}
        >>> list(chains.sample_stats.data_vars)
        ['energy', 'free_energy']
    """
    check_switches(progress=progress)
    seed = check_seed(seed)
    if not isinstance(kernel, MachineKernel):
        raise TypeError(
            "kernel must be an inference.BlockGibbs, ParallelTempering or TrajectoryTempering, got "
            f"{type(kernel).__name__}; "
            "posteriors of a pair are drawn by inference.sample_posterior."
        )
    counts = (("num_samples", num_samples, 1), ("num_chains", num_chains, 1), ("warmup_steps", warmup_steps, 0))
    for name, number, least in counts:
        check_count(name, number, least)
    together = 1 if num_superchains is None else num_chains // check_count("num_superchains", num_superchains)
    if num_superchains is not None and (together < 1 or num_chains % num_superchains):
        raise ValueError(
            f"num_chains must be a multiple of num_superchains={num_superchains}, so that all groups are of one size, "
            f"got {num_chains}."
        )
    if compile not in (True, False, "auto"):
        raise ValueError(f'compile must be True, False or "auto", got {compile!r}.')
    energy = kernel.energy
    check_room("num_chains", num_chains)
    check_room("num_samples", num_samples, values=num_chains)
    generator = torch.Generator(device=energy.parameters()[0].device).manual_seed(seed)
    arrays: dict[str, dict[str, np.ndarray]] = {"posterior": {}, "sample_stats": {}}
    supports = {name: units.support for name, units in energy.layers.items()}

    def keep(group: str, name: str, value: Tensor, draw: int) -> None:
        array = to_array(value, supports.get(name) if group == "posterior" else None)
        kept = arrays[group]
        if name not in kept:
            kept[name] = np.empty((num_chains, num_samples, *array.shape[1:]), array.dtype)
        kept[name][:, draw] = array

    phases = [(True, warmup_steps), (False, num_samples)] if kernel.adaptive else [(False, warmup_steps + num_samples)]
    with (
        forked(generator.device),  # which machine code draws from
        progress_bar(f"{type(kernel).__name__} steps", warmup_steps + num_samples, progress) as advance,
    ):
        state = kernel.repeated(kernel.init(num_chains // together, generator), together)
        torch.manual_seed(seed)
        done = 0
        for adapt, steps in phases:
            step = make_step(kernel, state, steps, adapt=adapt, generator=generator, compile=compile)
            for _ in range(steps):
                state, info = step(state)
                if done >= warmup_steps:
                    for name, value in kernel.values(state).items():
                        keep("posterior", name, value, done - warmup_steps)
                    for name, value in info._asdict().items():
                        keep("sample_stats", name, value, done - warmup_steps)
                done += 1
                if advance is not None:
                    advance(done)
    rows = batch_dims(len(energy.batch_shape))
    groups = {}
    for group, variables in arrays.items():
        groups[group] = Group()
        for name, array in variables.items():
            own = [f"{name}_unit"] if group == "posterior" else kernel.dims().get(name, [])
            groups[group].add(name, array.reshape(-1, *array.shape[2:]), [*rows, *own])
    attrs: dict[str, Any] = {"inference": "mcmc", "kernel": type(kernel).__name__}
    if num_superchains is not None:
        attrs["num_superchains"] = num_superchains  # chains of a group stand side by side
    coords = kernel.coords(state)
    return make_tree(groups, sample_dims=["chain", "draw"], coords=coords, attrs=attrs, num_chains=num_chains)


def batch_dims(count: int) -> list[str]:
    """Names of the dimensions of a machine's batch shape.

    Example:
        >>> batch_dims(1), batch_dims(2)
        (['data'], ['data_0', 'data_1'])
    """
    return ["data"] if count == 1 else [f"data_{index}" for index in range(count)]
