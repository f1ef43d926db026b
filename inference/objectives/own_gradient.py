"""Objectives that say by themselves which gradients model and guide follow."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from ppgen.inference.objectives.objective import Objective
from ppgen.inference.particles.log_weights import LogWeights
from ppgen.inference.structure.layout import Layout


@dataclass(frozen=True)
class OwnGradient(Objective):
    """An objective that draws without gradients and says by itself which gradients model and guide follow."""

    own_gradient: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        fantasy = getattr(self, "fantasy", None)
        if fantasy is not None and not callable(fantasy):
            raise TypeError(f"fantasy must be a callable of the model's trace or None, got {fantasy!r}.")

    @abstractmethod
    def surrogate(self, weights: LogWeights, pair: Any, batch: Any, layout: Layout) -> Tensor:
        """A scalar per datum whose gradient model and guide follow, whatever the sense; its value means nothing.

        Args:
            weights: Log-weights of particles drawn without gradients.
            pair: The pair, running, for fantasies.
            batch: The batch.
            layout: Structure of the pair.
        """


def guide_density(weights: LogWeights, like: Tensor) -> Tensor:
    """log q of the sites inside the data plate, in the columns of `like`: (particles, rows) or (particles, 1)."""
    total = weights.local.new_zeros(1, 1)
    for name, term in weights.guide_terms.items():
        if name in weights.inside:
            total = total + term
    total = total.expand(weights.local.shape)
    return total if like.shape == total.shape and not weights.shared else total.sum(1, keepdim=True)


def outside_density(weights: LogWeights) -> Tensor:
    """log q of the sites outside the data plate: (particles,)."""
    total = weights.local.new_zeros(1, 1)
    for name, term in weights.guide_terms.items():
        if name not in weights.inside:
            total = total + term
    return total.squeeze(1)
