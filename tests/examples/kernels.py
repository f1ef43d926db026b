"""Kernels of a given machine; a name without an example is called with the machine alone."""

import copy
from collections.abc import Callable
from typing import Any

import torch

from ppgen import distributions, inference


def earlier(machine: distributions.BoltzmannMachine) -> distributions.BoltzmannMachine:
    """The machine as if it were less trained."""
    copied = copy.deepcopy(machine)
    with torch.no_grad():
        for each in copied.parameters():
            each.mul_(0.5)
    return copied


KERNELS: dict[str, list[Callable[[Any], Any]]] = {
    "BlockGibbs": [inference.BlockGibbs, lambda machine: inference.BlockGibbs(machine, sweeps=2)],
    "ParallelTempering": [lambda machine: inference.ParallelTempering(machine, betas=(0.0, 0.5, 1.0))],
    "TrajectoryTempering": [lambda machine: inference.TrajectoryTempering([earlier(machine), machine])],
    "HMC": [],  # these move latents of a pair, not states of a machine
    "SparseGibbs": [],
}

POSTERIOR_KERNELS: dict[str, list[Callable[[], Any]]] = {
    "HMC": [lambda: inference.HMC(num_steps=2, step_size=0.5, step_size_per="datum")],
    "SparseGibbs": [inference.SparseGibbs],
}
