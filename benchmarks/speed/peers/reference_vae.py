"""The shortest reasonable PyTorch: a VAE, or an importance weighted autoencoder, with a fused Adam."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, tanh

from benchmarks.speed import synthetic
from benchmarks.speed.synthetic import FEATURES, HIDDEN, LATENT

WARM_UP = 5


class VAE(nn.Module):
    """784-200-200-50 and back, tanh units."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, HIDDEN), nn.Tanh())
        self.loc, self.log_scale = nn.Linear(HIDDEN, LATENT), nn.Linear(HIDDEN, LATENT)
        self.first, self.second = nn.Linear(LATENT, HIDDEN), nn.Linear(HIDDEN, HIDDEN)
        self.logits = nn.Linear(HIDDEN, FEATURES)

    def loss(self, x: Tensor, particles: int) -> Tensor:
        """Minus the bound per datum: with one particle the ELBO, else log of the mean weight."""
        hidden = self.encoder(x)
        loc, log_scale = self.loc(hidden), self.log_scale(hidden)
        noise = torch.randn(particles, *loc.shape, device=x.device)
        z = loc + log_scale.exp() * noise
        logits = self.logits(tanh(self.second(tanh(self.first(z)))))
        reconstruction = binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none").sum(-1)
        prior_minus_guide = (0.5 * (noise.square() - z.square()) + log_scale).sum(-1)
        log_weight = prior_minus_guide - reconstruction
        return -(torch.logsumexp(log_weight, 0) - math.log(particles)).mean()


def vae_step(
    particles: int = 1, batch_size: int = 128, compiled: bool = False, device: str = "cpu"
) -> Callable[[int], None]:
    """Steps of the hand-written VAE, as they are or under `torch.compile`."""
    torch.manual_seed(0)
    vae = VAE().to(device)
    optimizer = torch.optim.Adam(vae.parameters(), lr=synthetic.LEARNING_RATE, fused=True)
    data = torch.from_numpy(synthetic.bits(synthetic.BATCHES * batch_size)).to(device)
    batches = synthetic.order(len(data), batch_size)
    loss = torch.compile(vae.loss, dynamic=False) if compiled else vae.loss

    def run(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            loss(data[torch.from_numpy(next(batches))], particles).backward()
            optimizer.step()
        if device != "cpu":
            torch.cuda.synchronize()

    run(WARM_UP)
    return run
