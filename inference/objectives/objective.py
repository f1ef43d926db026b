"""Objectives: which bound or divergence is followed, and which way it errs."""

import math
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from ppgen.checks.arguments import check_count
from ppgen.checks.room import check_room
from ppgen.inference.particles.log_weights import LogWeights
from ppgen.inference.particles.row_weights import row_mean
from ppgen.inference.pyro_loss import PyroLoss
from ppgen.inference.structure.layout import Layout

SENSES = ("lower bound", "upper bound", "exact", "estimate")
"""How an objective, or its value, may relate to log p(x)."""


@dataclass(frozen=True)
class Objective(PyroLoss):
    """A bound on the log-likelihood as a function of log-weights.

    An objective is a value: it holds no state and one can train many models. It is a loss for `pyro.infer.SVI` too.

    Args:
        num_particles: Draws of the guide for each datum.
        vectorize_particles: Whether they are drawn at once; else one by one, for programs that cannot broadcast.
        plate: Name of the plate over the data, where the objective is a loss of `pyro.infer.SVI`; in `ppgen.fit` the
            pair names it.

    Attributes:
        sense: How the objective relates to log p(x), in the words of `ppgen.evaluation.Estimate`: `"lower bound"`,
            `"upper bound"`, `"exact"` or `"estimate"`. Training raises it, unless it is an upper bound.
        trains_model: Whether the model has a gradient of it; an upper bound that has none moves the guide alone.
        own_gradient: Whether it says by itself how its gradient is estimated.
        exact: Whether no latent may be drawn but from its exact posterior.
        mean_log_weight: Whether the value is a mean of log-weights, as the ELBO is.
        compares_draws: Whether it compares draws of the model with data: then there is no guide and no log-weight.
        weight_shares: Whether its gradient is that of log-weights, each by its weight's part of the sum, as that of the
            importance-weighted bound is.

    Raises:
        ValueError: If there is no particle.
        TypeError: If `vectorize_particles` is no truth value, or `plate` no name.
    """

    sense: ClassVar[str] = "lower bound"
    trains_model: ClassVar[bool] = True
    own_gradient: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    mean_log_weight: ClassVar[bool] = False
    weight_shares: ClassVar[bool] = False
    compares_draws: ClassVar[bool] = False

    num_particles: int = 1
    vectorize_particles: bool = field(default=True, kw_only=True)
    plate: str | None = field(default=None, kw_only=True, repr=False, metadata={"recorded": "where it is given"})

    def __post_init__(self) -> None:
        count = self.num_particles
        check_count("num_particles", count)
        check_room("num_particles", count)
        if not isinstance(self.vectorize_particles, bool):
            raise TypeError(f"vectorize_particles must be True or False, got {self.vectorize_particles!r}.")
        if self.plate is not None and not isinstance(self.plate, str):
            raise TypeError(f"plate must be the name of the plate over the data, got {self.plate!r}.")

    @abstractmethod
    def value(self, weights: LogWeights, num_data: int) -> Tensor:
        """Bound per datum of the batch in nats, a scalar; its gradient is pathwise.

        Args:
            weights: Log-weights, of which `local` is (particles, rows).
            num_data: Rows of the whole data set; what lies outside the data plate counts once for all of them.
        """

    @property
    def value_kind(self) -> str:
        """How the value that is reported relates to log p(x) in expectation: as the objective does, by default.

        The value of an upper bound may err both ways: the logarithm of a mean of few weights lies below that of the
        expectation, and is an `"estimate"`.
        """
        return self.sense

    @property
    def value_chooses(self) -> bool:
        """Whether its value may choose the best epoch.

        The estimate of an upper bound may not: it is low both where the guide is good and where it misses the
        posterior.
        """
        return not (self.descended and self.value_kind == "estimate")

    @property
    def descended(self) -> bool:
        """Whether training makes it less: an upper bound.

        Raises:
            ValueError: If the sense is none of `SENSES`.
        """
        if self.sense not in SENSES:
            raise ValueError(
                f"sense of {type(self).__name__} must be one of {', '.join(map(repr, SENSES))}, got {self.sense!r}."
            )
        return self.sense == "upper bound"

    def check(self, layout: Layout, num_rows: int, num_data: int) -> None:
        """Raise ValueError if the objective is not sound for a pair of this structure; sound for any by default."""

    def check_estimator(self, site: str, estimator: Any) -> None:
        """Raise ValueError if an estimator that is sound for its kind cannot serve it as it is set."""

    @property
    def uses_fantasies(self) -> bool:
        """Whether the objective trains on fantasies, data drawn from the model."""
        return False

    def with_own_runs(self, total: Tensor, pair: Any, batch: Any, weights: LogWeights, layout: Layout) -> Tensor:
        """The scalar that is followed, with what other runs of the pair than those of the guide add; as it is here.

        Args:
            total: Scalar per datum with the gradient of the estimators.
            pair: The pair.
            batch: The batch.
            weights: Log-weights of the guide's runs, which know the weights of rows.
            layout: Structure of the pair.
        """
        return total

    def signal(self, log_weights: Tensor) -> Tensor:
        """Learning signal of each particle, up to `signal_weight`: what of the objective depends on its draw.

        Args:
            log_weights: (particles, rows), nats.
        """
        raise TypeError(f"{type(self).__name__} has no learning signal: it estimates its gradient by itself.")

    def control(self, log_weights: Tensor) -> Tensor:
        """Control variate of each particle's signal, made of the other particles: (particles, rows), nats."""
        raise TypeError(f"{type(self).__name__} has no learning signal: it estimates its gradient by itself.")

    def signal_weight(self, num_particles: int) -> float:
        """Factor of a particle's signal in the objective."""
        return 1.0

    def columns(self, weights: LogWeights, site: str, layout: Layout, num_data: int) -> Tensor:
        """Log-weights that a draw at a site changes, from which its signal is made: (particles, rows or 1).

        Args:
            weights: Log-weights with the terms of each site.
            site: The site.
            layout: Structure of the pair.
            num_data: Rows of the whole data set.
        """
        return self.datum_weights(weights)

    def over_rows(self, term: Tensor, weights: LogWeights) -> Tensor:
        """Terms of the columns, (rows or 1,), as the value takes them together: a scalar per datum."""
        lone = weights.shared and len(term) == 1
        return term.sum() / weights.local.shape[1] if lone else row_mean(weights, term)

    def in_training(
        self, weights: LogWeights, scored: list[str], latent: list[str], state: dict[str, Tensor] | None
    ) -> tuple[LogWeights, dict[str, Tensor]]:
        """Log-weights as training follows them, and the state after the step; those of the value by default.

        Args:
            weights: Log-weights with the terms of each site.
            scored: Sites whose draws carry no gradient.
            latent: All sites that the guide draws.
            state: What the last step left; None before the first one.
        """
        return weights, {}

    @staticmethod
    def datum_weights(weights: LogWeights) -> Tensor:
        """Log-weights between which particles compete: (particles, rows), or (particles, 1) with global latents."""
        if not weights.shared or weights.outside is None:
            return weights.local
        return (weights.local.sum(1) + weights.outside).unsqueeze(1)

    @classmethod
    def has_signal(cls) -> bool:
        """Whether it says what of its value a draw changes: `signal` and `columns`, with the value or after it."""
        return not cls.own_gradient and cls._states("signal") and cls._states("columns")

    @classmethod
    def is_mean_log_weight(cls) -> bool:
        """Whether the value is a mean of log-weights, each of which its own draw alone changes."""
        return cls.mean_log_weight and cls._states("mean_log_weight")

    @classmethod
    def follows_weights(cls) -> bool:
        """Whether the gradient is that of log-weights, each by its weight's part of the sum."""
        return (
            cls.weight_shares and cls._states("weight_shares") and cls._place("weight_shares") <= cls._place("average")
        )

    @classmethod
    def _states(cls, name: str) -> bool:
        """Whether an attribute is that of a class that states the value, or of one derived from it: of this value."""
        return cls._place(name) <= cls._place("value")

    @classmethod
    def _place(cls, name: str) -> int:
        return next((place for place, each in enumerate(cls.__mro__) if name in vars(each)), len(cls.__mro__))


@dataclass(frozen=True)
class MultiSampleObjective(Objective):
    """An objective that averages particles inside the logarithm."""

    @abstractmethod
    def average(self, log_weights: Tensor) -> Tensor:
        """The bound of each row: (particles, rows) -> (rows,)."""

    @property
    def power(self) -> float:
        """Exponent of the weights in the average."""
        return 1.0

    def columns(self, weights: LogWeights, site: str, layout: Layout, num_data: int) -> Tensor:
        """Log-weights between which particles compete, (particles, rows or 1), nats."""
        return self.datum_weights(weights)

    def value(self, weights: LogWeights, num_data: int) -> Tensor:
        """The bound per datum of the batch."""
        bound = self.average(self.datum_weights(weights))
        if weights.shared:
            return bound.sum() / weights.local.shape[1]
        # Terms outside the data plate without latents there are the same for every particle: a factor, a prior.
        mean = row_mean(weights, bound)
        return mean if weights.outside is None else mean + weights.outside.mean() / num_data

    def signal(self, log_weights: Tensor) -> Tensor:
        """Learning signal of each particle, the bound itself: (particles, rows), nats."""
        return self.average(log_weights).expand_as(log_weights)

    def control(self, log_weights: Tensor) -> Tensor:
        """The bound with the weight of a particle replaced by the geometric mean of the others."""
        count, power = len(log_weights), self.power
        scaled = power * log_weights
        others = torch.full_like(scaled[:1], -math.inf)
        before = torch.cat([others, torch.logcumsumexp(scaled, 0)[:-1]])
        after = torch.cat([torch.logcumsumexp(scaled.flip(0), 0)[:-1].flip(0), others])
        geometric = (scaled.sum(0) - scaled) / (count - 1)
        rest = torch.logaddexp(torch.logaddexp(before, after), geometric)
        return (rest - math.log(count)) / power

    def check(self, layout: Layout, num_rows: int, num_data: int) -> None:
        """Raise where a scale or a global latent would stand inside the logarithm."""
        name = type(self).__name__
        if layout.scaled:
            raise ValueError(
                f"Site {layout.scaled[0]!r} carries a scale of its own (poutine.scale or an inner subsampled plate). "
                f"Inside the logarithm of {name} it would give no bound: use ELBO, or take the scale away."
            )
        if layout.coupled and not layout.global_latents:  # with them one weight covers all rows anyway
            raise ValueError(
                f"Site {layout.coupled[0]!r} lies outside plate {layout.plate!r} and depends on latents inside of it, "
                f"so that rows have no weights of their own; {name} would be no bound. Use ELBO, or draw the site "
                "inside the plate."
            )
        if layout.global_latents and num_rows != num_data:
            raise ValueError(
                f"Site {layout.global_latents[0]!r} lies outside plate {layout.plate!r}, so one particle's weight "
                f"covers the whole data set; {name} on a batch of {num_rows} of {num_data} rows is no bound. Use "
                "batch_size=len(data), or ELBO."
            )


def average_in_log(log_weights: Tensor) -> Tensor:
    """log of the mean over particles of exp: (particles, ...) -> (...,)."""
    return torch.logsumexp(log_weights, 0) - math.log(log_weights.shape[0])
