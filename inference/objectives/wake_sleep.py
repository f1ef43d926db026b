"""Wake-sleep and reweighted wake-sleep: two objectives, one for the model and one for the guide."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from ppgen.checks.switches import check_switches
from ppgen.inference.estimators.estimator import Estimator
from ppgen.inference.objectives.elbo import ELBO
from ppgen.inference.objectives.iwelbo import IWELBO
from ppgen.inference.objectives.own_gradient import OwnGradient, guide_density, outside_density
from ppgen.inference.particles.fantasies import Fantasy, sleep_log_density
from ppgen.inference.particles.log_weights import LogWeights
from ppgen.inference.structure.layout import EXACT_POSTERIOR, Layout


@dataclass(frozen=True)
class WakeSleep(OwnGradient):
    r"""Wake-sleep algorithm.

    .. math:: \text{wake: } \nabla_\theta E_{q(z \mid x)}[\log p_\theta(x, z)], \quad
              \text{sleep: } \nabla_\phi E_{p(x, z)}[\log q_\phi(z \mid x)]

    The value is the ELBO per datum, in nats; the sleep phase follows another gradient, so it need not rise. Where the
    model holds a Boltzmann machine that the guide recognises, as a `models.DBN` does, fantasies start from the chains
    of the negative phase: with `CD(k)`, k sweeps after what was recognised, it is the up-down algorithm.

    References:
        | The Wake-Sleep Algorithm for Unsupervised Neural Networks (Hinton, Dayan, Frey and Neal, 1995)
        | A Fast Learning Algorithm for Deep Belief Nets (Hinton, Osindero and Teh, 2006)

    Args:
        num_particles: Draws of the guide for each datum in the wake phase.
        vectorize_particles: Whether they are drawn at once.
        fantasy: Makes the guide's batch from the trace of the model (run under `poutine.uncondition`), for programs
            that do not observe their argument as it is.

    Raises:
        ValueError: If there is no particle; before training, if fantasies cannot be drawn or given to the guide.

    Example:
        >>> from ppgen import inference
        >>> inference.WakeSleep().num_particles
        1
    """

    fantasy: Fantasy | None = field(default=None, compare=False)

    @property
    def uses_fantasies(self) -> bool:
        """Whether the objective trains on fantasies: always, as they are what the guide learns from."""
        return True

    def value(self, weights: LogWeights, num_data: int) -> Tensor:
        """Evidence lower bound per datum, in nats: a scalar."""
        return ELBO(self.num_particles).value(weights, num_data)

    def surrogate(self, weights: LogWeights, pair: Any, batch: Any, layout: Layout) -> Tensor:
        """log p of the wake phase and log q of the sleep phase."""
        wake = weights.local + guide_density(weights, weights.local)
        total = wake.mean()
        if weights.outside is not None:
            total = total + (weights.outside + outside_density(weights)).mean() / weights.num_data
        return total + sleep_log_density(pair, batch, layout, weights.num_data, self.fantasy)


@dataclass(frozen=True)
class ReweightedWakeSleep(OwnGradient):
    r"""Reweighted wake-sleep.

    .. math:: \text{wake: } \sum_k \tilde w_k \nabla_\theta \log p_\theta(x, z_k), \quad
              \sum_k \tilde w_k \nabla_\phi \log q_\phi(z_k \mid x), \quad
              \text{sleep: } \nabla_\phi E_{p(x, z)}[\log q_\phi(z \mid x)]

    The value is the importance-weighted bound per datum, in nats. With both updates of the guide each counts half.
    Where the guide reparameterises all it draws, `DoublyReparameterized` estimates its wake update with less noise.

    References:
        | Reweighted Wake-Sleep (Bornschein and Bengio, 2015), https://arxiv.org/abs/1406.2751
        | Doubly Reparameterized Gradient Estimators for Monte Carlo Objectives (Tucker et al., 2019),
          https://arxiv.org/abs/1810.04152

    Args:
        num_particles: Draws K of the guide for each datum.
        vectorize_particles: Whether they are drawn at once.
        wake: Whether the guide follows the reweighted particles of the data.
        sleep: Whether it follows fantasies.
        fantasy: As for `WakeSleep`.

    Raises:
        ValueError: If there is no particle, or the guide would not be trained at all; before training, as `IWELBO`, and
            if nothing but fantasies could train the guide (one particle) and there are none, or the wake update is to
            be reparameterised but there is none, or no second particle.

    Example:
        >>> from ppgen import inference
        >>> inference.ReweightedWakeSleep(num_particles=10).wake
        True
    """

    weight_shares: ClassVar[bool] = True

    num_particles: int = 10
    wake: bool = True
    sleep: bool = False
    fantasy: Fantasy | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_switches(wake=self.wake, sleep=self.sleep)
        if not self.wake and not self.sleep:
            raise ValueError("wake and sleep are both False, so nothing trains the guide: set one of them.")

    @property
    def uses_fantasies(self) -> bool:
        """Whether the objective trains on fantasies: where there is a sleep phase."""
        return self.sleep

    def check(self, layout: Layout, num_rows: int, num_data: int) -> None:
        """Raise where a scale or a global latent would stand inside the logarithm, or nothing trains the guide."""
        self._weighted.check(layout, num_rows, num_data)
        if self.num_particles == 1 and not self.sleep and not (layout.exact_posterior or layout.marked):
            site = next(name for name, kind in layout.latent.items() if kind != EXACT_POSTERIOR)
            raise ValueError(
                f"ReweightedWakeSleep without a sleep phase needs num_particles of at least 2, got 1: a lone particle "
                f"has all of the weight, so that the gradient of the guide at site {site!r}, the mean of that of "
                "log q(z | x), is zero, and noise alone moves it. Use more particles, or sleep=True."
            )

    def check_estimator(self, site: str, estimator: Estimator) -> None:
        """Raise where an estimator of the wake update would leave the guide as it is."""
        name = type(estimator).__name__
        if not self.wake:
            raise ValueError(
                f"{name} at site {site!r} estimates the wake update of the guide, which wake=False leaves out. Use "
                'estimator="auto", or set wake=True.'
            )
        if self.num_particles < 2:
            raise ValueError(
                f"{name} at site {site!r} needs num_particles of at least 2, got {self.num_particles}: the wake update "
                'of one particle is zero. Give the objective more particles, or use estimator="auto".'
            )

    def value(self, weights: LogWeights, num_data: int) -> Tensor:
        """Importance-weighted bound per datum, in nats: a scalar."""
        return self._weighted.value(weights, num_data)

    def surrogate(self, weights: LogWeights, pair: Any, batch: Any, layout: Layout) -> Tensor:
        """Scalar with the gradient of weighted log p and log q of the particles, and of log q of fantasies."""
        columns = IWELBO.datum_weights(weights)
        normalised = columns.detach().softmax(0)
        scale = 0.5 if self.wake and self.sleep else 1.0
        if weights.leaves:  # log q has constant parameters, so that the weights hold the model's alone
            follow = (normalised - normalised.square()) * scale
            total = ((normalised * columns).sum() + _paths(weights, columns, follow)) / weights.local.shape[1]
        else:
            density = guide_density(weights, columns)
            if weights.shared:
                density = density + outside_density(weights).unsqueeze(1)
            followed = columns + density * (1 + scale if self.wake else 1)  # log p = log w + log q
            total = (normalised * followed).sum() / weights.local.shape[1]
        if weights.outside is not None and not weights.shared:
            total = total + weights.outside.mean() / weights.num_data
        if self.sleep:
            total = total + scale * sleep_log_density(pair, batch, layout, weights.num_data, self.fantasy)
        return total

    @property
    def _weighted(self) -> IWELBO:
        return IWELBO(self.num_particles, vectorize_particles=self.vectorize_particles)


def _paths(weights: LogWeights, columns: Tensor, factor: Tensor) -> Tensor:
    """A scalar whose gradient is that of log-weights, each times a factor, through the values of the guide's sites."""
    runs = [run for site in weights.leaves.values() for run in site]
    leaves = [leaf for _, leaf in runs]
    slopes = torch.autograd.grad(columns, leaves, factor, retain_graph=True, allow_unused=True)
    paths = [(drawn * slope).sum() for (drawn, _), slope in zip(runs, slopes, strict=True) if slope is not None]
    return sum(paths[1:], paths[0])
