"""Coupling layers that shift and scale."""

from torch import Tensor

from ppgen.distributions.flows.coupling_step import CouplingStep
from ppgen.distributions.flows.sweep import bounded


class AffineCoupling(CouplingStep):
    r"""Coupling layer that shifts and scales one half of the entries, by numbers that the other half chooses.

    .. math:: z_A = \epsilon_A, \quad z_B = m + e^{a} \epsilon_B, \quad
              (m, 5 \operatorname{artanh}(a / 5)) = f(\epsilon_A, \text{given}), \qquad
              \log q(z) = \log q_0(\epsilon) - \sum_i a_i

    A draw and the density of any value take one pass of the network each: so it serves guides under every objective,
    priors and densities. Log-scales stay within 5 of 0.

    References:
        | Density Estimation Using Real NVP (Dinh, Sohl-Dickstein and Bengio, 2017)
        | https://arxiv.org/abs/1605.08803

    Args:
        base: Law of the noise, reparameterised, with events of shape (D,), D at least 2; perhaps such a law itself.
        network: Module from D // 2 kept entries, and what is given behind them, to two numbers for each of the others:
            a shift and a log-scale, entry by entry.
        order: Permutation of 0, ..., D - 1: the entry that stands at each position; the first D // 2 are kept.
        given: What the network is conditioned on beside, shape (..., numbers).

    Raises:
        TypeError: If the network is no module.
        ValueError: If the base has one entry, other events or no `rsample`, or the order is no permutation; when it is
            used, if the network returns another number of parameters.

    Example:
        >>> import pyro.distributions as dist, torch
        >>> from ppgen import distributions, nn
        >>> base = dist.Normal(torch.zeros(5, 3), 1.0).to_event(1)
        >>> law = distributions.AffineCoupling(base, nn.MLP((1, 8, 4)))
        >>> law.rsample().shape, law.log_prob(torch.zeros(5, 3)).shape
        (torch.Size([5, 3]), torch.Size([5]))
    """

    @property
    def num_parameters(self) -> int:
        """A shift and a log-scale."""
        return 2

    def transform(self, entries: Tensor, parameters: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        """Entries shifted and scaled, or back, and their log-scales."""
        shift, raw = parameters.unbind(-1)
        log_scale = bounded(raw)
        moved = (entries - shift) * (-log_scale).exp() if inverse else entries * log_scale.exp() + shift
        return moved, log_scale
