"""Block Gibbs chains with the free energy of every sweep, two matrix products a sweep, and their compilation."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from ppgen.distributions.machines.layered_energy import EVEN, ODD, LayeredEnergy
from ppgen.distributions.units.units import draw_layers
from ppgen.graphs.compiler import compiled_or_none
from ppgen.graphs.threefry import make_key
from ppgen.inference.kernels.block_gibbs import free_energy
from ppgen.inference.kernels.compiled_steps import worth_compiling_sweeps
from ppgen.rhat import UnitMoments

Moved = tuple[Tensor, list[Tensor], Tensor]


class Sweep:
    """One full block Gibbs sweep, odd side given the even one and then the even side given that.

    A chain is carried from sweep to sweep as the inputs that its even side gives the odd one: their product with the
    weights serves the free energy after a sweep and the first draw of the next.

    Args:
        energy: The machine.

    Example:
        >>> from ppgen.distributions import Bernoulli, BoltzmannMachine, Dense
        >>> layers = {"visible": Bernoulli(torch.zeros(3)), "hidden": Bernoulli(torch.zeros(2))}
        >>> sweep = Sweep(BoltzmannMachine(layers, [Dense(torch.zeros(3, 2))]).base_energy)
        >>> values, _, free_energy = sweep(sweep.energy.inputs(torch.zeros(4, 3), EVEN))
        >>> values.shape, free_energy.shape
        (torch.Size([4, 3]), torch.Size([4]))
    """

    def __init__(self, energy: LayeredEnergy) -> None:
        self.energy = energy

    def __call__(self, inputs: list[Tensor], key: Tensor | None = None) -> Moved:
        """Even side after the sweep, the inputs it gives the odd side, and its free energy in nats.

        Args:
            inputs: Inputs of each odd layer, (chains, units).
            key: Key of the uniforms, (2,) int32; they come from torch's generator without it.

        Returns:
            (chains, even units), a list of (chains, units), and (chains,).
        """
        energy = self.energy
        odd = draw_layers(energy.opposite(EVEN), inputs, key=key, stream=ODD)
        even = draw_layers(energy.opposite(ODD), energy.inputs(odd, ODD), key=key, stream=EVEN)
        following = energy.inputs(even, EVEN)
        return even, following, free_energy(energy, even, following)


@torch.no_grad()
def gibbs_chains(
    energy: LayeredEnergy,
    values: Tensor,
    *,
    warmup_steps: int,
    draws: int,
    sweeps: int,
    chunk: int | None = None,
    compile: bool | Literal["auto"] = "auto",
    advance: Callable[[int], None] | None = None,
    moments: UnitMoments | None = None,
) -> tuple[Tensor, Tensor]:
    """Run block Gibbs chains; the randomness is that of torch's generator.

    Args:
        energy: The machine.
        values: Even side of every chain to start from, (chains, even units), or (chains, rows, even units) for a
            machine that is conditioned on rows.
        warmup_steps: Sweeps before the others.
        draws: Values kept of each chain.
        sweeps: Sweeps between two of them.
        chunk: Chains moved at once, which bounds the memory beside what is returned; None for all.
        compile: Whether a sweep runs as machine code; `"auto"` decides by the size of the run. Such sweeps compute
            uniforms of their own from keys of torch's generator.
        advance: Called now and then with the number of sweeps done.
        moments: Takes every sweep after the first `warmup_steps`, `draws x sweeps` of them.

    Returns:
        Values kept, (draws, *values.shape), and the free energies of all sweeps after the first `warmup_steps`, in
        nats: (chains, draws x sweeps), or (chains, rows, draws x sweeps).
    """
    total = warmup_steps + draws * sweeps
    by_program = Sweep(energy)
    compiles = compile is True or (
        compile == "auto" and worth_compiling_sweeps(energy, total * values.shape[:-1].numel())
    )
    move: Callable[[list[Tensor]], Moved] | None = None
    blocks = values.split(len(values) if chunk is None else chunk)
    found = []
    for block, start in enumerate(blocks):
        inputs = energy.inputs(start, EVEN)
        if move is None:
            move = compiled_sweep(by_program, inputs) if compiles else by_program
        step = move if len(start) == len(blocks[0]) else by_program  # machine code is for one shape
        kept, energies = [], []
        for done in range(1, total + 1):
            current, inputs, free_energy = step(inputs)
            if done > warmup_steps:
                energies.append(free_energy)
                if moments is not None:
                    moments.add(current)
                if (done - warmup_steps) % sweeps == 0:
                    kept.append(current)
            if advance is not None and (done % 10 == 0 or done == total):
                advance((block * total + done) // len(blocks))
        found.append((torch.stack(kept), torch.stack(energies, -1)))
        if moments is not None:
            moments.end_block()
    return torch.cat([kept for kept, _ in found], 1), torch.cat([energies for _, energies in found])


def compiled_sweep(sweep: Sweep, inputs: list[Tensor]) -> Callable[[list[Tensor]], Moved]:
    """The sweep as machine code for these shapes; the sweep itself, with a warning, where there is no compiler.

    Uniforms are computed where they are used, from one key a sweep, which comes from torch's generator.
    """
    device = inputs[0].device
    key = torch.zeros(2, dtype=torch.int32, device=device)
    told = "Gibbs sampling could not be compiled, so it runs uncompiled"
    machine_code = compiled_or_none(sweep, [inputs, key], told, stacklevel=3)
    if machine_code is None:
        return sweep

    def run(inputs: list[Tensor]) -> Moved:
        values, *following, free_energy = machine_code(inputs, make_key(device))
        return values, following, free_energy

    return run
