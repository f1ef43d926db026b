"""The prior of codes that have none."""

from typing import Any

from pyro.distributions import ImproperUniform, constraints
from torch import Size, Tensor

from ppgen.checks.shapes import broadcast_shapes


class NoLawError(ValueError):
    """Nothing can be drawn from a flat prior; in one line, without the shapes of the trace that Pyro appends."""

    def __init__(self, message: str) -> None:
        super().__init__(message.partition("\n")[0])


class Flat(ImproperUniform):
    """Density 1 at every vector of `size` real numbers: no law, so that nothing can be drawn and no integral exists.

    A model with such a code states p(x | code) alone. What is made of log-weights refuses it (Pyro's `ImproperUniform`
    likewise), as it would depend on the scale of the code, which is arbitrary.

    Args:
        size: Numbers of a code.
        num_whole: How many of them, the last ones, are whole numbers from 0 on, along which no chain can move.

    Example:
        >>> import torch
        >>> Flat(3).log_prob(torch.zeros(2, 3))
        tensor([0., 0.])
    """

    def __init__(self, size: int, num_whole: int = 0) -> None:
        support = constraints.real_vector
        if num_whole:
            parts = [constraints.real, constraints.nonnegative_integer]
            support = constraints.independent(constraints.cat(parts, -1, [size - num_whole, num_whole]), 1)
        super().__init__(support, Size(), Size((size,)))

    def expand(self, batch_shape: Any, _instance: Any = None) -> "Flat":
        """Flat prior of a batch of codes."""
        new: Flat = self._get_checked_instance(Flat, _instance)
        new._support = self._support
        super(ImproperUniform, new).__init__(Size(batch_shape), self.event_shape)
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        """Zero for each vector: (..., size) -> (...)."""
        return value.new_zeros(broadcast_shapes(self.batch_shape, value.shape[:-1]))

    def sample(self, sample_shape: Any = None) -> Tensor:
        """Refuses.

        Raises:
            ValueError: Always; it says what to do instead.
        """
        raise NoLawError(
            "The code of this model has no law (a flat prior), so that neither codes nor data can be drawn from it. "
            "Decode codes of your own (model.decode(codes)), or take a model with a prior: "
            "models.Autoencoder(..., prior='normal') or models.VAE."
        )
