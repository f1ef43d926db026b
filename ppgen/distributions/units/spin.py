"""Spins of a Boltzmann machine: units of two values of opposite sign."""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ppgen.distributions.units.supports import spins
from ppgen.distributions.units.two_valued import TwoValued


class Spin(TwoValued):
    r"""Spins, x in {-1, 1}: the units of an Ising model.

    .. math:: E(x) = -b \cdot x, \quad p(x_i = 1 \mid \text{input}) = \sigma(2 (b_i + \text{input}_i)), \quad
              E[x_i \mid \text{input}] = \tanh(b_i + \text{input}_i)

    A machine of spins is one of bits (x + 1) / 2 with four times the weights, and biases to match; neither value is
    nothing, so that turning all spins of a layer over changes no more than signs.

    References:
        | A Learning Algorithm for Boltzmann Machines (Ackley, Hinton and Sejnowski, 1985)

    Args:
        bias: Biases b, shape (size,).
        positions: Units next to each other that share a bias, as the positions of an image do; then bias has shape
            (size / positions,).

    Raises:
        ValueError: If the bias is not one-dimensional.

    Example:
        >>> import torch
        >>> from ppgen.distributions import BoltzmannMachine, Dense
        >>> from ppgen.distributions import Spin
        >>> layers = {"left": Spin(torch.zeros(2)), "right": Spin(torch.zeros(2))}
        >>> ising = BoltzmannMachine(layers, [Dense(torch.ones(2, 2))])
        >>> round(float(ising.exact_log_partition()), 4)  # log(2 e^4 + 12 + 2 e^-4)
        4.7977
    """

    support = spins

    def log_partition_terms(self, input: Tensor) -> Tensor:
        """Log-partition of each unit given the input, log(2 cosh(b + input)), nats: (..., size)."""
        full = self.bias + input
        return softplus(2 * full) - full

    def log_partition_ratio_terms(self, input: Tensor, before: Tensor, after: Tensor) -> Tensor:
        r"""log cosh(after a) - log cosh(before a) with a = b + input, of each unit: (..., size), nats.

        .. math:: \log \frac{\cosh(s + d)}{\cosh s} = \log\Big(1 + 2 \sinh^2 \frac{d}{2} + \tanh s \sinh d\Big)

        No digits are lost where d is small.
        """
        full = self.bias + input
        start, growth = before.to(full.dtype) * full, (after - before).to(full.dtype) * full
        near = growth.clamp(-1, 1)  # no more is taken from this form, whose exponents would overflow
        fine = torch.log1p(2 * (near / 2).sinh().square() + start.tanh() * near.sinh())
        coarse = softplus(2 * (start + growth)) - softplus(2 * start) - growth
        return torch.where(growth.abs() < 1, fine, coarse)

    def mean(self, input: Tensor) -> Tensor:
        """Mean given the input, tanh(b + input): (..., size)."""
        return torch.tanh(self.bias + input)

    def mode(self, input: Tensor) -> Tensor:
        """Most probable value given the input, 1 where b + input is above zero, else -1: (..., size)."""
        return 2 * (self.bias + input > 0).to(input.dtype) - 1

    def variance(self, input: Tensor) -> Tensor:
        """Variance given the input, 1 - mean squared: (..., size)."""
        return 1 / torch.cosh((self.bias + input).clamp(-40, 40)).square()

    def sample(self, input: Tensor, uniform: Tensor) -> Tensor:
        """1 where `uniform < sigmoid(2 (b + input))`, else -1, in the dtype of the input."""
        return 2 * (uniform < torch.sigmoid(2 * (self.bias + input))).to(input.dtype) - 1

    def states(self, index: Tensor) -> Tensor:
        """Binary digits of the index, most significant first, 0 as -1: (n,) -> (n, size)."""
        return (2 * self.digits(index) - 1).to(self.bias.dtype)

    def base_rate(self, mean: Tensor | None) -> "Spin":
        """Units with bias artanh(mean), the odds held within 1e-4 of 0 and 1 so that no unit is frozen."""
        if mean is None:
            return Spin(self.bias.detach())
        return Spin(torch.atanh(mean.to(self.bias).clamp(2e-4 - 1, 1 - 2e-4)))
