"""The shortest eager PyTorch loops for RBMs: no autograd, nothing computed twice. What ppgen has to beat."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from benchmarks.speed import synthetic

WARM_UP = 5


def bits(probability: Tensor) -> Tensor:
    """Draws of Bernoulli variables, three times as fast on a CPU as `torch.bernoulli`."""
    return (torch.rand_like(probability) < probability).to(probability.dtype)


def pcd_gradient(
    weight: Tensor, visible_bias: Tensor, hidden_bias: Tensor, data: Tensor, hidden: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Ascent directions of the three parameters under PCD-1, and the chains after their sweep: five products.

    Args:
        weight: W, (V, H).
        visible_bias: b, (V,).
        hidden_bias: c, (H,).
        data: Bits, (B, V).
        hidden: Hidden bits of the persistent chains, (C, H).
    """
    chains = bits(torch.sigmoid(torch.addmm(visible_bias, hidden, weight.T)))
    positive = torch.sigmoid(torch.addmm(hidden_bias, data, weight))
    negative = torch.sigmoid(torch.addmm(hidden_bias, chains, weight))
    gradient = torch.addmm(data.T @ positive, chains.T, negative, beta=1 / len(data), alpha=-1 / len(chains))
    return gradient, data.mean(0) - chains.mean(0), positive.mean(0) - negative.mean(0), bits(negative)


@torch.no_grad()
def pcd_step(num_chains: int = 128, batch_size: int = 128, device: str = "cpu") -> Callable[[int], None]:
    """Steps of PCD-1 with momentum."""
    torch.manual_seed(0)
    parameters = [torch.from_numpy(each).to(device) for each in synthetic.random_machine()]
    parameters[0] *= 0.5
    velocities = [torch.zeros_like(each) for each in parameters]
    data = torch.from_numpy(synthetic.bits(synthetic.BATCHES * batch_size)).to(device)
    batches = synthetic.order(len(data), batch_size)
    chains = bits(torch.sigmoid(torch.addmm(parameters[2], data[:num_chains], parameters[0])))

    @torch.no_grad()
    def run(steps: int) -> None:
        nonlocal chains
        for _ in range(steps):
            batch = data[torch.from_numpy(next(batches))]
            *gradients, chains = pcd_gradient(*parameters, batch, chains)
            for parameter, velocity, gradient in zip(parameters, velocities, gradients, strict=True):
                velocity.mul_(synthetic.MOMENTUM).add_(gradient)
                parameter.add_(velocity, alpha=synthetic.RBM_LEARNING_RATE)
        if device != "cpu":
            torch.cuda.synchronize()

    run(WARM_UP)
    return run


@torch.no_grad()
def anneal(machine: tuple[Tensor, ...], betas: Tensor, num_chains: int, generator: torch.Generator) -> Tensor:
    """log (Z_A w) of every chain, annealed from the machine's own biases without couplings: (chains,), float64."""
    weight, visible_bias, hidden_bias = machine
    levels = betas.tolist()
    base = torch.sigmoid(visible_bias).expand(num_chains, -1)
    values = torch.bernoulli(base, generator=generator)
    log_weights = torch.zeros(num_chains, dtype=torch.float64, device=weight.device)
    for before, beta in zip(levels, levels[1:], strict=False):
        inputs = torch.addmm(hidden_bias, values, weight)
        log_weights += (softplus(beta * inputs) - softplus(before * inputs)).sum(-1, dtype=torch.float64)
        if beta < 1:
            hidden = torch.bernoulli(torch.sigmoid(beta * inputs), generator=generator)
            means = torch.sigmoid(torch.addmm(visible_bias, hidden, weight.T, alpha=beta))
            values = torch.bernoulli(means, generator=generator)
    log_base = softplus(visible_bias.double()).sum() + len(hidden_bias) * math.log(2)
    return log_weights + log_base


def salakhutdinov_2008() -> np.ndarray:
    """The usual 14,500 steps, written down a second time."""
    coarse, middle = np.arange(0, 0.5, 1e-3), np.arange(0.5, 0.9, 1e-4)
    return np.concatenate([coarse, middle, np.linspace(0.9, 1, 10_001)])


def annealing(num_chains: int, betas: int | str, device: str = "cpu") -> Callable[[int], dict[str, Any]]:
    """log Z of the random machine and its standard error, another seed in every run."""
    machine = tuple(torch.from_numpy(each).to(device) for each in synthetic.random_machine())
    ladder = torch.linspace(0, 1, betas + 1) if isinstance(betas, int) else torch.from_numpy(salakhutdinov_2008())
    generator = torch.Generator(device=device).manual_seed(100)

    def run(steps: int) -> dict[str, Any]:
        for _ in range(steps):
            found = anneal(machine, ladder, num_chains, generator)
        log_mean = torch.logsumexp(found, 0) - math.log(num_chains)
        error = (found - log_mean).exp().std() / math.sqrt(num_chains)
        return {"log_z": float(log_mean), "se": float(error)}

    anneal(machine, torch.linspace(0, 1, 21), num_chains, generator)
    return run


@torch.no_grad()
def gibbs(num_chains: int, device: str = "cpu") -> Callable[[int], None]:
    """Gibbs sweeps of many chains of the random machine."""
    weight, visible_bias, hidden_bias = (torch.from_numpy(each).to(device) for each in synthetic.random_machine())
    values = torch.zeros(num_chains, synthetic.FEATURES, device=device)

    @torch.no_grad()
    def run(steps: int) -> None:
        nonlocal values
        for _ in range(steps):
            hidden = torch.bernoulli(torch.sigmoid(torch.addmm(hidden_bias, values, weight)))
            values = torch.bernoulli(torch.sigmoid(torch.addmm(visible_bias, hidden, weight.T)))
        if device != "cpu":
            torch.cuda.synchronize()

    run(WARM_UP)
    return run
