"""Posteriors of a trained decoder: all at once by our Hamiltonian Monte Carlo, one by one by Pyro's NUTS.

A step is one effective sample: the effective sample size of the worst latent variable of a datum, summed over the data.
Each datum gets one chain, whose warm-up is in the time; estimating the effective sample size is not.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro.infer import MCMC, NUTS
from torch import Tensor

import ppgen
from ppgen import datasets, inference, models

Run = Callable[[int], dict[str, Any]]
FEATURES, LATENT, HIDDEN = 64, 8, 64
EPOCHS = 20


def batched(num_rows: int = 1000, num_samples: int = 200, warmup_steps: int = 200) -> Run:
    """Chains of all data in one tensor, with other random numbers in every run."""
    vae, x = _trained()
    seed = 0

    def run(steps: int) -> dict[str, Any]:
        nonlocal seed
        effective, seconds = 0.0, 0.0
        for _ in range(steps):
            seed += 1
            start = time.perf_counter()
            samples = inference.sample_posterior(
                vae, x[:num_rows], num_samples=num_samples, warmup_steps=warmup_steps, seed=seed
            )
            seconds += time.perf_counter() - start
            effective += effective_samples(samples.draws["z"])
        return {"seconds": seconds, "steps": effective}

    inference.sample_posterior(vae, x[:2], num_samples=2, warmup_steps=2)
    return run


def one_by_one(num_samples: int = 200, warmup_steps: int = 200) -> Run:
    """Pyro's NUTS on the posterior of a single datum, another one in every run."""
    vae, x = _trained()
    decoder = vae.decoder.requires_grad_(False)
    pyro.enable_validation(False)
    row = 0

    def model(x: Tensor) -> None:
        z = pyro.sample("z", dist.Normal(x.new_zeros(LATENT), x.new_ones(LATENT)).to_event(1))
        pyro.sample("x", decoder(z), obs=x)

    def draws(num_samples: int, warmup_steps: int) -> Tensor:
        chain = MCMC(NUTS(model), num_samples=num_samples, warmup_steps=warmup_steps, disable_progbar=True)
        chain.run(x[row % len(x)])
        return chain.get_samples()["z"]

    def run(steps: int) -> dict[str, Any]:
        nonlocal row
        effective, seconds = 0.0, 0.0
        for _ in range(steps):
            row += 1
            start = time.perf_counter()
            found = draws(num_samples, warmup_steps)
            seconds += time.perf_counter() - start
            effective += effective_samples(found[None, :, None])
        return {"seconds": seconds, "steps": effective}

    torch.manual_seed(1)
    draws(2, 2)
    return run


def effective_samples(draws: Tensor) -> float:
    """Bulk effective sample size of the worst variable of each datum, summed over the data.

    Args:
        draws: (chains, draws, rows, variables).
    """
    from arviz_stats.base import array_stats

    found = array_stats.ess(draws.detach().numpy().astype(np.float64), chain_axis=0, draw_axis=1)
    return float(found.min(-1).sum())


def _trained() -> tuple[Any, Tensor]:
    """A VAE after a short training, the same in every process, and its data."""
    digits = datasets.load("digits", binarize="threshold")
    torch.manual_seed(0)
    vae = models.VAE(FEATURES, LATENT, (HIDDEN,))
    ppgen.fit(vae, digits, inference.ELBO(), epochs=EPOCHS, batch_size=50, seed=0, compile=False, progress=False)
    return vae, digits.train
