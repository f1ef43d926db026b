"""Contract of a Markov chain kernel of Boltzmann machines."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ppgen.distributions import BoltzmannMachine
from ppgen.distributions.machines.layered_energy import EVEN
from ppgen.testing.examples import boltzmann_machine, enumerated, state_index
from ppgen.testing.pairs import seeded
from ppgen.testing.statistics import check_close, check_frequencies, fail


def check_kernel(
    make: Callable[[BoltzmannMachine], Any],
    *,
    device: torch.device | str = "cpu",
    num_chains: int = 20_000,
    num_steps: int = 60,
) -> None:
    r"""Raise unless the chains of a kernel reach the law of the machine, whatever they start from, and keep it.

    .. math:: x_{t+1} \sim T(\cdot \mid x_t), \quad \pi T = \pi

    On machines of two and of three layers whose states are enumerated: from the kernel's own start and from the one
    state of all zeros, after enough steps and after one more. A step must not write into the state that it is given,
    and must follow from that state and the generator alone; what it tells of the energy must be that of the state.

    Args:
        make: Gives the kernel of a machine, as `inference.BlockGibbs` does.
        device: Where to run.
        num_chains: Chains, each of which is one draw.
        num_steps: Steps until the law is looked at; the machines of the test mix in ten sweeps.

    Example:
        >>> from ppgen import inference, testing
        >>> testing.check_kernel(inference.BlockGibbs, num_chains=2000, num_steps=30)
    """
    for sizes in ((4, 3), (3, 2, 2)):
        machine = boltzmann_machine(sizes, device=device)
        with torch.no_grad():
            for parameter in machine.parameters():  # the modes of a machine of large weights are left too seldom
                parameter.mul_(0.7)
        kernel = make(machine)
        with seeded(torch.device(device)):
            _check_law(kernel, machine, num_chains, num_steps)
            _check_state(kernel, torch.device(device))


def _check_law(kernel: Any, machine: BoltzmannMachine, num_chains: int, num_steps: int) -> None:
    name = f"{type(kernel).__name__} on {machine}"
    law = enumerated(machine)[1].detach().softmax(0)
    fresh = kernel.init(num_chains)
    even, odd = kernel.sides(fresh)
    for start, state in (("its own start", fresh), ("zeros", kernel.moved_to(fresh, 0 * even, 0 * odd))):
        for _ in range(num_steps):
            state, info = kernel.step(state)
        for what in ("steps", "steps and one more"):
            drawn = torch.cat(list(kernel.values(state).values()), -1)
            check_frequencies(state_index(drawn).cpu(), law.cpu(), f"{name}, {num_steps} {what} from {start}")
            state, info = kernel.step(state)
        energy = machine.base_energy
        if hasattr(info, "energy"):
            check_close(info.energy, energy.energy(*kernel.sides(state)), f"energy told by {name}")
        if hasattr(info, "free_energy"):
            expected = energy.free_energy(kernel.sides(state)[0], EVEN)
            check_close(info.free_energy, expected, f"free energy told by {name}")


def _check_state(kernel: Any, device: torch.device) -> None:
    name = type(kernel).__name__
    generators = [torch.Generator(device=device).manual_seed(5) for _ in range(2)]
    state = kernel.init(7, torch.Generator(device=device).manual_seed(1))
    before = [each.clone() for each in state]
    (first, told), (second, told_again) = (kernel.step(state, generator) for generator in generators)
    if not all(map(torch.equal, state, before)):
        fail(f"{name}.step writes into the state that it is given; make new tensors.")
    if not (all(map(torch.equal, first, second)) and all(map(torch.equal, told, told_again))):
        fail(f"{name}.step must follow from its state and the generator: two calls from the same differ.")
    _check_shapes(kernel, first, told, 7)


def _check_shapes(kernel: Any, state: Any, info: Any, num_chains: int) -> None:
    name = type(kernel).__name__
    values = kernel.values(state)
    sizes = {layer: units.size for layer, units in kernel.energy.layers.items()}
    found = {layer: tuple(value.shape) for layer, value in values.items()}
    if found != {layer: (num_chains, size) for layer, size in sizes.items()}:
        fail(f"{name}.values must give every layer as (num_chains, units), got {found}.")
    told: dict[str, Tensor] = info._asdict()
    wrong = {key: tuple(value.shape) for key, value in told.items() if value.dim() < 1 or len(value) != num_chains}
    if wrong:
        fail(f"{name}.step must tell tensors with the chains first, (num_chains, ...), got {wrong}.")
    for key, names in kernel.dims().items():
        if told[key].dim() != 1 + len(names):
            fail(f"{name}.dims names {names} for {key}, which has {told[key].dim() - 1} dimensions after the chains.")
    repeated = kernel.values(kernel.repeated(state, 3))
    for layer, value in values.items():
        if not torch.equal(repeated[layer], value.repeat_interleave(3, 0)):
            fail(f"{name}.repeated must hold each chain several times, one after another.")
