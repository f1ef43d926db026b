"""Kernels leave the law of a machine as it is."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from examples.kernels import KERNELS, POSTERIOR_KERNELS
from repetitions import repeated

from ppgen import registry, testing


def made() -> list[Any]:
    """For every registered name, functions from a machine to the kernel; the class itself where none is given."""
    return [
        pytest.param(name, make, id=f"{name}-{index}")
        for name in registry.TABLES["kernel"]
        for index, make in enumerate(KERNELS.get(name, [registry.lookup("kernel", name)]))
    ]


@pytest.mark.parametrize(("name", "make"), made())
def test_kernels(name: str, make: Callable[[Any], Any], device: torch.device) -> None:
    """Catches a kernel that leaves another law invariant, or whose steps depend on more than state and generator."""
    assert type(make(testing.boltzmann_machine((3, 2)))).__name__ == name
    chains, steps = repeated(device, 20_000, 4000), repeated(device, 60, 12)
    testing.check_kernel(make, device=device, num_chains=chains, num_steps=steps)


@pytest.mark.parametrize("name", [name for name, machines in KERNELS.items() if not machines])
def test_posterior_kernels(name: str, device: torch.device) -> None:
    """Catches a kernel of posteriors that leaves another law invariant, tells another density than that of its
    position, or whose steps depend on more than state and generator."""
    for make in POSTERIOR_KERNELS[name]:
        kernel = make()
        assert type(kernel).__name__ == name
        chains, steps = repeated(device, 2000, 200), repeated(device, 40, 24)
        testing.check_posterior_kernel(kernel, device=device, num_chains=chains, num_steps=steps)
