"""Vectors of which one half chooses how the other half is moved."""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ppgen.checks.arguments import check_kind
from ppgen.distributions.flows.flow_step import FlowStep


class CouplingStep(FlowStep):
    r"""Base of coupling layers: the first half of the entries is kept, and chooses how the second one is moved.

    .. math:: z_A = \epsilon_A, \quad z_B = T(\epsilon_B; f(\epsilon_A, \text{given}))

    Both directions take one pass of the network. D // 2 entries are kept, those that stand first in the order; the next
    step moves the others, with the order reversed. A subclass says by `transform` how an entry is moved, and by
    `num_parameters` of how many numbers of the network.

    References:
        | Density Estimation Using Real NVP (Dinh, Sohl-Dickstein and Bengio, 2017)
        | https://arxiv.org/abs/1605.08803

    Args:
        base: Law of the noise, reparameterised, with events of shape (D,), D at least 2.
        network: Module from the kept entries, and what is given behind them, to the parameters of all that are moved.
        order: Permutation of 0, ..., D - 1: the entry that stands at each position; by default as they are.
        given: What the network is conditioned on beside, shape (..., numbers).

    Raises:
        TypeError: If the network is no module.
        ValueError: If the base has one entry, other events or no `rsample`, or the order is no permutation; when it is
            used, if the network returns another number of parameters.

    Example:
        >>> from ppgen import distributions
        >>> issubclass(distributions.SplineCoupling, distributions.CouplingStep)
        True
    """

    def __init__(
        self,
        base: Any,
        network: nn.Module,
        order: Tensor | None = None,
        given: Tensor | None = None,
        *,
        validate_args: bool | None = None,
    ) -> None:
        check_kind("network", network, nn.Module, "a module from kept entries to parameters, such as an nn.MLP")
        check_kind("base", base, Distribution, "a reparameterised law, such as dist.Normal(loc, scale).to_event(1)")
        if len(base.event_shape) != 1 or base.event_shape[0] < 2:
            raise ValueError(
                f"base must have events of at least two entries, one half of which moves the other, got events of "
                f"shape {tuple(base.event_shape)}. For one entry take an InverseAutoregressive."
            )
        self.network, self.kept = network, base.event_shape[0] // 2
        super().__init__(base, base.event_shape[0], order, given, validate_args=validate_args)

    @property
    @abstractmethod
    def num_parameters(self) -> int:
        """Parameters of one moved entry."""

    @abstractmethod
    def transform(self, entries: Tensor, parameters: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        """Entries moved, or moved back, and `log |dz / d noise|` of each.

        Args:
            entries: Shape (..., M).
            parameters: Shape (..., M, num_parameters).
            inverse: Whether they are moved back.
        """

    def push(self, noise: Tensor, given: Tensor | None) -> tuple[Tensor, Tensor]:
        """Values of noise and their log-determinant: one pass of the network."""
        return self._moved(noise, given, False)

    def pull(self, value: Tensor, given: Tensor | None) -> tuple[Tensor, Tensor]:
        """Noise of values and their log-determinant: one pass of the network."""
        return self._moved(value, given, True)

    def _moved(self, entries: Tensor, given: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor]:
        first, rest = entries[..., : self.kept], entries[..., self.kept :]
        found = self.network(first if given is None else torch.cat([first, given], -1))
        wanted = rest.shape[-1] * self.num_parameters
        if found.shape[-1] != wanted:
            raise ValueError(
                f"network must return {wanted} numbers, {self.num_parameters} for each of {rest.shape[-1]} moved "
                f"entries, got {found.shape[-1]}."
            )
        moved, log_slopes = self.transform(rest, found.unflatten(-1, (rest.shape[-1], self.num_parameters)), inverse)
        return torch.cat([first, moved], -1), log_slopes.sum(-1)
