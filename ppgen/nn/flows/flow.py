"""The base of flows: several steps with their networks, put upon a law."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from ppgen.checks.arguments import check_count


class Flow(nn.Module):
    r"""Base of flows of several steps: a module that makes a law of another one.

    .. math:: z = T_S \circ \dots \circ T_1(\epsilon), \quad \epsilon \sim q_0

    A subclass builds `networks`, one for each order of `orders`, and says by `step` what law a step makes. What is
    given, if anything, goes to the network of each step.

    Args:
        features: Entries D of the vector.
        orders: Permutation of the entries for each step.
        given: Numbers that each vector is conditioned on; 0 for none.

    Raises:
        ValueError: If a number is not positive, or `given` is negative.

    Example:
        >>> from ppgen import nn
        >>> isinstance(nn.CouplingFlow(4), nn.Flow)
        True
    """

    def __init__(self, features: int, orders: Sequence[Sequence[int]], given: int = 0) -> None:
        super().__init__()
        self.features, self.given = check_count("features", features), check_count("given", given, 0)
        self.networks = nn.ModuleList()
        for number, order in enumerate(orders):
            self.register_buffer(f"order_{number}", torch.as_tensor(order))
        # Steps that leave the entries in their places, so that a compiled step moves none. By lists, as a model that is
        # loaded is made without numbers in its tensors.
        self._in_place = {number for number, order in enumerate(orders) if list(order) == list(range(features))}

    @abstractmethod
    def step(
        self, base: TorchDistribution, network: nn.Module, order: Tensor | None, given: Tensor | None
    ) -> TorchDistribution:
        """The law of one step upon the law of those before it; None is the order of the entries as they are."""

    def forward(self, base: TorchDistribution, given: Tensor | None = None) -> TorchDistribution:
        """Law of the moved draws of a base law with events of shape (features,).

        Args:
            base: Reparameterised law of the noise, such as a Normal of an encoder.
            given: What the vectors are conditioned on, shape (..., given).

        Raises:
            ValueError: If nothing is given where the flow is conditioned on something, or something of another size.
        """
        size = None if given is None else given.shape[-1]
        if (size or 0) != self.given:
            raise ValueError(
                f"given must have shape (..., {self.given}), the numbers that the flow is conditioned on, got "
                f"{None if given is None else tuple(given.shape)}."
                if self.given
                else f"given must be None, as the flow has given=0, got a tensor of shape (..., {size})."
            )
        for number, network in enumerate(self.networks):
            order = None if number in self._in_place else getattr(self, f"order_{number}")
            base = self.step(base, network, order, given)
        return base


def reversals(features: int, steps: int) -> list[list[int]]:
    """The order as it is and its reverse, in turn."""
    order = list(range(check_count("features", features)))
    return [order[::-1] if number % 2 else order for number in range(check_count("steps", steps))]
