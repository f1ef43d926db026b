"""A free guide for every datum, fitted from the amortised one, and the gap between the two."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from ppgen.batch import as_batch
from ppgen.checks.arguments import check_count
from ppgen.checks.likelihood import check_has_likelihood
from ppgen.checks.program_errors import WholePlates
from ppgen.checks.room import check_room
from ppgen.checks.seeding import check_seed
from ppgen.inference.kernels.latent_density import LatentDensity, frozen
from ppgen.inference.particles.log_weights import log_weights
from ppgen.inference.structure.points import check_no_points
from ppgen.inference.structure.recognition import reads_other_data
from ppgen.inference.structure.support import check_support, explaining_missing
from ppgen.pair import as_pair
from ppgen.undisturbed import held_constant

FAMILIES = ("normal", "full-rank")
_MOMENTS = 500  # draws of the amortised guide from which its moments are taken
_AT_ONCE = 10_000  # draws evaluated at once, of all data together: with 784 features an activation takes 30 MiB


@dataclass(frozen=True)
class Refinement:
    """ELBO of the amortised guide and of a guide fitted to each datum, in nats; errors are those of Monte Carlo.

    Where latents are common to all data, the data set is one datum: there is one row, whose bounds are those of all.

    Attributes:
        elbo_amortised: ELBO of the pair's own guide: (rows,).
        elbo_refined: ELBO of the fitted Normal: (rows,).
        amortised_se: Standard error of the first: (rows,).
        refined_se: Standard error of the second: (rows,).
        loc: Means of the fitted Normals in unconstrained space: (rows, dim).
        scale_tril: Cholesky factors of their covariances: (rows, dim, dim).
        family: `"normal"` or `"full-rank"`.
        history: Mean ELBO per datum of the fit, step by step, noisy: (steps,).
        joint: Whether latents are common to all data.
        amortised: Whether the pair's own guide reads its data. One that does not is a fit as well, and the gap is what
            its training, or its family, has left.
    """

    elbo_amortised: Tensor
    elbo_refined: Tensor
    amortised_se: Tensor
    refined_se: Tensor
    loc: Tensor = field(repr=False)
    scale_tril: Tensor = field(repr=False)
    family: str
    history: Tensor = field(repr=False)
    joint: bool = False
    amortised: bool = True

    @property
    def gap(self) -> Tensor:
        """Amortisation gap of each datum, refined minus amortised ELBO: (rows,)."""
        return self.elbo_refined - self.elbo_amortised

    @property
    def gap_se(self) -> Tensor:
        """Monte Carlo standard error of the amortisation gap of each datum: (rows,)."""
        return torch.hypot(self.amortised_se, self.refined_se)

    def __repr__(self) -> str:
        rows = len(self.gap)
        parts = (
            ("amortised ELBO" if self.amortised else "ELBO of the guide", self.elbo_amortised, self.amortised_se),
            ("refined", self.elbo_refined, self.refined_se),
            ("gap", self.gap, self.gap_se),
        )
        text = ", ".join(
            f"{name} {value.mean():.4f} ± {se.square().sum().sqrt() / rows:.2g}" for name, value, se in parts
        )
        of = ("nats of all data", "") if self.joint else ("nats per datum", f", {rows} rows")
        return f"Refinement({text} {of[0]}, family {self.family!r}{of[1]})"


def refine(
    pair: Any,
    x: Any,
    *,
    steps: int = 500,
    lr: float = 0.05,
    family: Literal["normal", "full-rank"] = "normal",
    num_particles: int = 10,
    num_samples: int = 1000,
    seed: int = 0,
) -> Refinement:
    r"""Fit a free Normal to the posterior of each datum, and measure what amortisation costs.

    .. math::
        \text{gap}(x) = \max_{m, S} E_{u \sim N(m, S)}
        \Big[ \log \frac{p(x, z(u)) |\partial z / \partial u|}{N(u; m, S)} \Big]
        - E_{z \sim q(z \mid x)} \Big[ \log \frac{p(x, z)}{q(z \mid x)} \Big]

    The Normal lives in the unconstrained space of all latents of a datum, starts from the moments of the pair's own
    guide there, and is fitted by Adam with reparameterised draws, its entropy in closed form and a learning rate that
    falls to zero; both bounds are then estimated from fresh draws. All rows are fitted at once. Where latents are
    common to all data, one Normal is fitted to the latents of all of them together. Parameters, buffers and
    gradients of the pair, its training flags and the caller's random state are left alone. The gap can be negative
    where the pair's guide is richer than a Normal.

    Args:
        pair: A model of the zoo, a `ppgen.Pair` or a run, with continuous latents.
        x: Data: a tensor or an array, or a tuple or a mapping, as the pair takes it.
        steps: Steps of Adam.
        lr: Learning rate at the first step.
        family: `"normal"`: independent Normals; `"full-rank"`: one with any covariance.
        num_particles: Draws of each datum for a step.
        num_samples: Draws of each datum for the bounds that are returned.
        seed: Seed of all randomness.

    Raises:
        ValueError: If an argument is out of its range, data lie outside the support of their law, a latent site is
            discrete, there is none, or the fit met a bound that is not finite.
        TypeError: If `pair` is none, or `x` holds no data.

    References:
        Cremer, Li and Duvenaud (2018), Inference suboptimality in variational autoencoders, arXiv:1801.03558.

    Example:
        >>> import torch
        >>> from ppgen import models, training
        >>> vae = models.VAE(features=4, latent=2, hidden=(3,))
        >>> found = training.refine(vae, torch.ones(5, 4), steps=50)
        >>> found.gap.shape, bool(found.gap.mean() > 0)
        (torch.Size([5]), True)
    """
    seed = check_seed(seed)
    pair = as_pair(pair)
    check_has_likelihood(pair, "Gaps of a guide")
    check_settings(steps, lr, family, num_particles, num_samples)
    x = as_batch(x, pair)
    with WholePlates("the bounds"), explaining_missing(x):
        pair.prepare(x)
        x = as_batch(x, pair)  # parameters made at the first call decide the type
    with frozen(pair, seed), held_constant(pair.parameters()):
        with explaining_missing(x):
            density = LatentDensity(pair, x, num_particles)
            check_support(pair, x)
        check_no_points(density.layout.points, "its ELBO", "Give a guide that draws the site, such as from a Normal.")
        # With one particle the program may be one that cannot run several at once.
        together = density.layout.num_rows if density.joint else density.num_rows
        at_once = max(1, _AT_ONCE // max(1, together)) if num_particles > 1 else 1
        counts = [min(at_once, _MOMENTS - first) for first in range(0, _MOMENTS, at_once)]
        draws = [LatentDensity(pair, x, count, layout=density.layout).draw("guide") for count in counts]
        guide = _Normals(torch.cat(draws), family)
        history = _fit(guide, density, steps, lr)
        amortised, refined = [], []
        for first in range(0, num_samples, at_once):
            count = min(at_once, num_samples - first)
            weights = log_weights(pair, x, count, layout=density.layout)
            amortised.append(weights.joint.unsqueeze(1) if density.joint else weights.local)
            density = LatentDensity(pair, x, count, layout=density.layout)
            position = guide.draw(count)
            refined.append(density(position) - guide.log_prob(position))
        own, free = torch.cat(amortised), torch.cat(refined)
        return Refinement(
            own.mean(0),
            free.mean(0),
            own.std(0) / math.sqrt(num_samples),
            free.std(0) / math.sqrt(num_samples),
            guide.loc.detach(),
            guide.scale_tril().detach(),
            family,
            history,
            density.joint,
            reads_other_data(pair, x),
        )


class _Normals:
    """Normals over unconstrained latents, one a datum, in terms of free parameters."""

    def __init__(self, draws: Tensor, family: str) -> None:
        """Start from the moments of draws (num_draws, rows, dim), correlations left out: they may be singular."""
        self.family = family
        self.loc = draws.mean(0).requires_grad_()
        scale = draws.std(0).clamp(min=1e-6)
        self.log_scale = scale.log().requires_grad_()
        # Below the diagonal in units of the standard deviation of their rows.
        self.lower = torch.zeros(*scale.shape, scale.shape[-1], dtype=scale.dtype, device=scale.device).requires_grad_()

    @property
    def parameters(self) -> list[Tensor]:
        """What is fitted."""
        return [self.loc, self.log_scale] + ([self.lower] if self.family == "full-rank" else [])

    def scale_tril(self) -> Tensor:
        """Cholesky factors (rows, dim, dim)."""
        unit = torch.eye(self.loc.shape[-1], dtype=self.loc.dtype, device=self.loc.device)
        return self.log_scale.exp().unsqueeze(-1) * (self.lower.tril(-1) + unit)

    def draw(self, count: int) -> Tensor:
        """Reparameterised draws (count, rows, dim)."""
        noise = torch.randn(count, *self.loc.shape, dtype=self.loc.dtype, device=self.loc.device)
        return self.loc + (self.scale_tril() @ noise.unsqueeze(-1)).squeeze(-1)

    def entropy(self) -> Tensor:
        """Entropy, nats: (rows,)."""
        return self.log_scale.sum(-1) + self.loc.shape[-1] / 2 * (1 + math.log(2 * math.pi))

    def log_prob(self, position: Tensor) -> Tensor:
        """Log-density of positions (count, rows, dim), nats: (count, rows)."""
        normals = torch.distributions.MultivariateNormal(self.loc, scale_tril=self.scale_tril(), validate_args=False)
        return normals.log_prob(position)


@torch.enable_grad()
def _fit(guide: _Normals, density: LatentDensity, steps: int, lr: float) -> Tensor:
    """Maximise the ELBO by Adam; the mean ELBO per datum of each step, in nats."""
    optimizer = torch.optim.Adam(guide.parameters, lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    history = []
    for step in range(steps):
        optimizer.zero_grad()
        elbo = density(guide.draw(density.num_chains)).mean(0) + guide.entropy()
        if not elbo.isfinite().all():
            row = int((~elbo.isfinite()).nonzero()[0])
            raise ValueError(f"The ELBO of row {row} was {elbo[row]:g} at step {step} of the fit; use a smaller lr.")
        (-elbo.sum()).backward()
        optimizer.step()
        schedule.step()
        history.append(elbo.detach().mean())
    return torch.stack(history)


def check_settings(steps: int, lr: float, family: str, num_particles: int, num_samples: int) -> None:
    """Raise a `ValueError` where a setting of `refine` is out of its range."""
    check_count("steps", steps, room=False)
    check_count("num_particles", num_particles)
    check_count("num_samples", num_samples, 2)
    check_room("num_particles", num_particles)
    check_room("num_samples", num_samples)
    if not isinstance(lr, (int, float)) or isinstance(lr, bool) or not (lr > 0 and math.isfinite(lr)):
        raise ValueError(f"lr must be positive and finite, got {lr!r}.")
    if family not in FAMILIES:
        raise ValueError(f"family must be one of {', '.join(map(repr, FAMILIES))}, got {family!r}.")
