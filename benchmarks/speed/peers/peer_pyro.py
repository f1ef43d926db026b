"""Pyro as its tutorials write it: a VAE with `pyro.module` under SVI, by the ELBO or RenyiELBO(alpha=0)."""

from collections.abc import Callable

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import SVI, RenyiELBO, Trace_ELBO
from torch import Tensor, nn

from benchmarks.speed import synthetic
from benchmarks.speed.synthetic import FEATURES, HIDDEN, LATENT

WARM_UP = 5


class VAE(nn.Module):
    """784-200-200-50 and back, tanh units."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, HIDDEN), nn.Tanh())
        self.loc, self.log_scale = nn.Linear(HIDDEN, LATENT), nn.Linear(HIDDEN, LATENT)
        self.decoder = nn.Sequential(
            nn.Linear(LATENT, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, FEATURES)
        )

    def model(self, x: Tensor) -> None:
        pyro.module("vae", self)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(LATENT), x.new_ones(LATENT)).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=self.decoder(z)).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        pyro.module("vae", self)
        with pyro.plate("data", len(x)):
            hidden = self.encoder(x)
            pyro.sample("z", dist.Normal(self.loc(hidden), self.log_scale(hidden).exp()).to_event(1))


def vae_step(
    particles: int = 1, batch_size: int = 128, validation: bool = True, device: str = "cpu"
) -> Callable[[int], None]:
    """Steps of `pyro.infer.SVI`; validation is on by default, as Pyro has it."""
    torch.manual_seed(0)
    pyro.enable_validation(validation)
    vae = VAE().to(device)
    data = torch.from_numpy(synthetic.bits(synthetic.BATCHES * batch_size)).to(device)
    batches = synthetic.order(len(data), batch_size)
    if particles == 1:
        loss = Trace_ELBO()
    else:
        loss = RenyiELBO(alpha=0, num_particles=particles, vectorize_particles=True, max_plate_nesting=1)
    svi = SVI(vae.model, vae.guide, pyro.optim.Adam({"lr": synthetic.LEARNING_RATE}), loss)

    def run(steps: int) -> None:
        for _ in range(steps):
            svi.step(data[torch.from_numpy(next(batches))])
        if device != "cpu":
            torch.cuda.synchronize()

    run(WARM_UP)
    return run
