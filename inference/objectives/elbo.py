"""The evidence lower bound."""

import math
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from torch import Tensor

from ppgen.inference.objectives.objective import Objective
from ppgen.inference.objectives.prior_draws import check_prior_draws, prior_likelihood
from ppgen.inference.objectives.sparsity import activity_penalty, sparse_sites
from ppgen.inference.particles.downstream import costs_of_all_rows, downstream_costs
from ppgen.inference.particles.factors import Factor
from ppgen.inference.particles.log_weights import LogWeights
from ppgen.inference.particles.row_weights import row_mean
from ppgen.inference.schedules import Schedule
from ppgen.inference.structure.guide_factors import apart, outside_densities
from ppgen.inference.structure.layout import Layout


@dataclass(frozen=True)
class ELBO(Objective):
    r"""Evidence lower bound, averaged over particles.

    .. math:: \mathcal{L} = E_{q(z \mid x)}[\log p(x, z) - \log q(z \mid x)] \le \log p(x)

    The value is per datum, in nats. Sites outside the data plate count once for the whole data set. With more
    particles the bound is the same and its gradient less noisy. Where the guide gives a continuous latent a point and
    no law (a Delta: MAP), the value is the log joint log p(x, z) at that point, and no bound.

    While training, the terms log p(z) - log q(z | x) of the latent sites may be weighted, and each site may keep some
    nats free of charge; the value reported is always that of weight 1 without free bits. With `sparsity_target` the
    mean activities of latent bits under the guide are drawn towards it,

    .. math:: \mathcal{L} - \lambda \sum_j \Big(\rho - \frac{1}{B} \sum_b E_q[z_{bj} \mid x_b]\Big)^2

    where units that share a bias share their mean activity, and of a machine only the biases are moved by it; this term
    too is left out of the value reported. With `prior_weight` w the hybrid objective of conditional models is followed,

    .. math:: (1 - w) \, \mathcal{L} + w \, E_{p(z \mid x)}[\log p(y \mid x, z)]

    whose second term, with as many draws, is the objective of a Gaussian stochastic network: that of prediction, where
    latents come from the prior. Both lie below log p(y | x); the value reported is the first, the ELBO, still.

    References:
        | Auto-Encoding Variational Bayes (Kingma and Welling, 2014), https://arxiv.org/abs/1312.6114
        | beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework (Higgins et al., 2017)
        | Improving Variational Inference with Inverse Autoregressive Flow (Kingma et al., 2016),
          https://arxiv.org/abs/1606.04934
        | Sparse Deep Belief Net Model for Visual Area V2 (Lee, Ekanadham and Ng, 2008)
        | Learning Structured Output Representation using Deep Conditional Generative Models (Sohn, Lee and Yan, 2015)

    Args:
        num_particles: Draws of the guide for each datum.
        vectorize_particles: Whether they are drawn at once.
        kl_weight: Weight of the latent terms in training: a number, or a schedule such as `inference.Linear(1000)`.
        free_bits: Nats of each latent site, averaged over the batch, that cost nothing in training.
        sparsity_target: Mean activity rho of latent bits; None leaves it free. Adam takes centred gradients apart, in
            which weights and biases move together; train a machine by it with `centred=False`, or by SGD.
        sparsity_weight: Weight lambda of their distance from it, in nats per datum.
        prior_weight: Weight w in training of what the model says of the data with latents of its own prior, from 0 up
            to below 1. At 1 the guide would learn nothing: that is the ELBO of a guide that is the prior, as
            `models.ConditionalVAE(recognition="prior")` has it.

    Raises:
        ValueError: If there is no particle, a weight or the free nats are negative, the target is no probability, or
            `prior_weight` does not lie in [0, 1); before training, if the model's latents are not reparameterised.

    Example:
        >>> from ppgen import inference
        >>> inference.ELBO(num_particles=5).num_particles
        5
    """

    mean_log_weight: ClassVar[bool] = True

    kl_weight: float | Schedule = 1.0
    free_bits: float = 0.0
    sparsity_target: float | None = None
    sparsity_weight: float = 1.0
    prior_weight: float = field(default=0.0, kw_only=True, metadata={"recorded": "where it is given"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.kl_weight, Schedule) and not _nats(self.kl_weight):
            raise ValueError(f"kl_weight must be a schedule or a finite number of at least 0, got {self.kl_weight!r}.")
        if not _nats(self.free_bits):
            raise ValueError(f"free_bits must be a finite number of at least 0 nats, got {self.free_bits!r}.")
        if self.sparsity_target is not None and not (_nats(self.sparsity_target) and 0 < self.sparsity_target < 1):
            raise ValueError(f"sparsity_target must lie between 0 and 1, got {self.sparsity_target!r}.")
        if not _nats(self.sparsity_weight):
            raise ValueError(f"sparsity_weight must be a finite number of at least 0, got {self.sparsity_weight!r}.")
        if not (_nats(self.prior_weight) and self.prior_weight < 1):
            raise ValueError(f"prior_weight must lie in [0, 1), got {self.prior_weight!r}.")

    def value(self, weights: LogWeights, num_data: int) -> Tensor:
        """Evidence lower bound per datum, the mean log-weight, in nats: a scalar."""
        local, outside = weights.counted()
        mean = row_mean(weights, local)
        return mean if outside is None else mean + outside.mean() / num_data

    def check(self, layout: Layout, num_rows: int, num_data: int) -> None:
        """Raise where latent terms are to be weighted and are not known one by one."""
        if self._weighs_terms and layout.marginalised:
            raise ValueError(
                f"kl_weight and free_bits need the log-density of each latent site by itself, but site "
                f"{layout.marginalised[0]!r} of the model is summed out. Leave them out, or draw it in the guide."
            )
        if self.prior_weight:
            check_prior_draws(layout)
        if self.sparsity_target is not None and not sparse_sites(layout):
            raise ValueError(
                "sparsity_target is the mean activity of latent bits, and the guide draws none. Leave it out."
            )
        auxiliary = [name for name in layout.latent if name not in layout.model_laws]
        if self.free_bits and auxiliary:
            raise ValueError(
                f"free_bits are kept by each latent site, but the guide spreads the log-density of one over the "
                f"auxiliary site {auxiliary[0]!r}. Leave free_bits out, or use kl_weight."
            )

    def with_own_runs(self, total: Tensor, pair: Any, batch: Any, weights: LogWeights, layout: Layout) -> Tensor:
        """The hybrid objective where the prior has a weight; else the scalar as it is."""
        if not self.prior_weight:
            return total
        with pair.running():
            vectorize = self.vectorize_particles
            predicted = prior_likelihood(pair, batch, layout, self.num_particles, vectorize=vectorize)
        predicted = row_mean(weights, predicted)
        return (1 - self.prior_weight) * total + self.prior_weight * predicted

    def signal(self, log_weights: Tensor) -> Tensor:
        """Learning signal of each particle: its own log-weight, for others do not depend on it."""
        return log_weights

    def control(self, log_weights: Tensor) -> Tensor:
        """Control variate of each particle's signal, the mean log-weight of the others: (particles, rows), nats."""
        return (log_weights.sum(0) - log_weights) / (len(log_weights) - 1)

    def signal_weight(self, num_particles: int) -> float:
        """Factor of a particle's signal in the objective: one over the number of particles."""
        return 1 / num_particles

    def columns(self, weights: LogWeights, site: str, layout: Layout, num_data: int) -> Tensor:
        """Costs downstream of the site, by its plates; the weights of its row, or of all, where nothing is left out."""
        if (costs := downstream_costs(weights, site, num_data, bool(layout.coupled))) is not None:
            return costs
        local, outside = weights.counted()
        if site in weights.inside and not layout.coupled:
            joined = apart(layout) is not None and site in outside_densities(layout)
            return costs_of_all_rows(local, outside, num_data) if joined else local
        whole = local.mean(1, keepdim=True)
        return whole if outside is None else whole + outside.unsqueeze(1) / num_data

    def over_rows(self, term: Tensor, weights: LogWeights) -> Tensor:
        """Mean over rows."""
        return row_mean(weights, term)

    def in_training(
        self, weights: LogWeights, scored: list[str], latent: list[str], state: dict[str, Tensor] | None
    ) -> tuple[LogWeights, dict[str, Tensor]]:
        """Log-weights with weighted terms, and without gradients that are zero in expectation."""
        after: dict[str, Tensor] = {}
        followed = weights
        if self._changes_weights:
            groups, after = self.reweighted(weights, latent, state or self.init(weights.local.detach()[0, 0]))
            followed = weights.with_added(*groups)
        for name in scored:  # E[grad log q] = 0: under a mean of log-weights it is noise alone
            density = Factor.of_columns(name, 1, weights.guide_terms[name], weights.plate, name in weights.inside)
            followed = followed.with_added([density], [replace(density, sign=-1, value=density.value.detach())])
        return followed, after

    @property
    def weighted(self) -> bool:
        """Whether training follows something else than the gradient of the bound."""
        return self._changes_weights or self.prior_weight > 0

    @property
    def _changes_weights(self) -> bool:
        return self._weighs_terms or self.sparsity_target is not None

    @property
    def _weighs_terms(self) -> bool:
        return isinstance(self.kl_weight, Schedule) or self.kl_weight != 1 or self.free_bits > 0

    def init(self, like: Tensor) -> dict[str, Tensor]:
        """State before the first step: the number of steps taken, where the weight follows a schedule."""
        return {"steps": like.new_zeros(())} if isinstance(self.kl_weight, Schedule) else {}

    def reweighted(
        self, weights: LogWeights, latent: list[str], state: dict[str, Tensor]
    ) -> tuple[list[list[Factor]], dict[str, Tensor]]:
        """What is added to log-weights inside and outside the data plate in training, and the state after it.

        Args:
            weights: Log-weights with the terms of each site.
            latent: Sites that the guide draws.
            state: State that `init` made, or the last step left.
        """
        weight: Any = self.kl_weight
        if isinstance(weight, Schedule):
            weight, state = weight.value(state["steps"]), {"steps": state["steps"] + 1}
        change: list[Factor] = []
        if self.sparsity_target is not None:
            far = self.sparsity_weight * activity_penalty(weights.guide_traces, latent, self.sparsity_target)
            change.append(Factor.of_columns("", -1, far.reshape(1, 1), weights.plate, inside=True))
        for name in latent if self._weighs_terms else ():
            if name not in weights.guide_terms:  # an exact posterior that is summed out with its machine
                continue
            term = weights.model_terms.get(name, 0.0) - weights.guide_terms[name]  # auxiliary: the guide's alone
            kept: Tensor | float = 1.0
            if self.free_bits:
                kept = (weights.expectation(term) < -self.free_bits).to(term.dtype)  # more than the free nats are spent
            terms = [Factor.of_columns(name, 1, term, weights.plate, name in weights.inside)]
            if weights.dependencies is not None and name not in weights.divergences:  # by element of inner plates
                terms = [factor for factor in weights.factors if factor.name == name]
            for factor in terms:
                weighted = weight * factor.value
                change.append(replace(factor, value=weighted * kept if self.free_bits else weighted))
                change.append(replace(factor, sign=-factor.sign))
        return [change], state


def _nats(value: Any) -> bool:
    """Whether a value is a number that may weigh or bound nats."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf
