"""Copies of a machine's even side at several inverse temperatures, moved, weighed and swapped as one tensor."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ppgen.checks.shapes import broadcast_shapes
from ppgen.distributions.machines.base_rate_path import BaseRatePath
from ppgen.distributions.machines.layered_energy import EVEN, ODD
from ppgen.distributions.units.units import Units, join_layers


class Replicas:
    r"""Replicas along a base-rate path, one for each inverse temperature, under the product of the tempered laws.

    .. math:: \pi(v_1, \dots, v_T) = \prod_t f_{\beta_t}(v_t), \quad
              \alpha_t = \min\Big\{1, \frac{f_{\beta_t}(v_{t+1}) \, f_{\beta_{t+1}}(v_t)}
              {f_{\beta_t}(v_t) \, f_{\beta_{t+1}}(v_{t+1})}\Big\}

    A swap of neighbours is accepted with probability alpha, on the free energies of the *tempered* laws of the even
    side, the odd side summed out. Values are (temperatures, ..., units); products with the weights are taken for all
    temperatures at once, what depends on the temperature is mapped over them.

    References:
        | Non-Reversible Parallel Tempering: a Scalable Highly Parallel MCMC Scheme (Syed et al., 2022)

    Args:
        path: Tempered laws between independent units and the machine.
        betas: Inverse temperatures, increasing, (temperatures,).

    Example:
        >>> from ppgen import testing
        >>> path = BaseRatePath(testing.boltzmann_machine((3, 2)).base_energy)
        >>> replicas = Replicas(path, torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64))
        >>> even = path.sample_base(12).unflatten(0, (3, 4))
        >>> replicas.log_ratio(even, replicas.inputs(even)).shape
        torch.Size([2, 4])
    """

    def __init__(self, path: BaseRatePath, betas: Tensor) -> None:
        self.path, self.energy = path, path.energy
        self.betas = betas.to(path.energy.parameters()[0].dtype)

    def inputs(self, even: Tensor) -> list[Tensor]:
        """Inputs of the odd layers at inverse temperature 1: a list of (temperatures, ..., units)."""
        return self.energy.inputs(even, EVEN)

    def sample_odd(self, inputs: Sequence[Tensor], generator: torch.Generator | None = None) -> Tensor:
        """Odd side given the inputs of the even one: (temperatures, ..., odd units)."""
        return self._draw(lambda beta: [units.scaled(beta) for units in self.path.odd], inputs, generator)

    def sample_even(self, odd: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Even side given the odd one: (temperatures, ..., odd units) -> (temperatures, ..., even units)."""
        path = self.path

        def tempered(beta: Tensor) -> list[Units]:
            return [units.interpolated(base, beta) for units, base in zip(path.even, path.base, strict=True)]

        return self._draw(tempered, self.energy.inputs(odd, ODD), generator)

    def log_ratio(self, even: Tensor, inputs: Sequence[Tensor]) -> Tensor:
        """Logarithm of the ratio in a swap's acceptance, for each pair of neighbours: (temperatures - 1, ...), nats.

        Args:
            even: Values of the even side, (temperatures, ..., even units).
            inputs: Inputs that they give the odd layers.
        """
        low, high = slice(None, -1), slice(1, None)

        def at(values: slice, betas: slice) -> Tensor:
            density = torch.vmap(self.path.log_density)
            return density(even[values], self.betas[betas], [input[values] for input in inputs])

        own = at(slice(None), slice(None))
        return at(low, high) + at(high, low) - own[:-1] - own[1:]

    def _draw(
        self, tempered: Callable[[Tensor], list[Units]], inputs: Sequence[Tensor], generator: torch.Generator | None
    ) -> Tensor:
        counts = [units.num_uniforms for units in tempered(self.betas[0])]
        like, lead = inputs[0], broadcast_shapes(*(input.shape[:-1] for input in inputs))
        lead = broadcast_shapes(lead, (1, *self.energy.batch_shape))
        uniform = torch.rand((*lead, sum(counts)), dtype=like.dtype, device=like.device, generator=generator)

        def draw(beta: Tensor, inputs: list[Tensor], uniforms: list[Tensor]) -> Tensor:
            layers = zip(tempered(beta), inputs, uniforms, strict=True)
            return join_layers([units.sample(beta * input, each) for units, input, each in layers])

        return torch.vmap(draw)(self.betas, list(inputs), list(uniform.split(counts, -1)))


def accepted_swaps(log_ratio: Tensor, parity: Tensor, uniform: Tensor) -> Tensor:
    """Which pairs of neighbours swap when every second pair is offered a swap: a mask, (pairs, ...).

    Args:
        log_ratio: Logarithm of the acceptance ratio of each pair, (pairs, ...), nats.
        parity: 0 to offer the first, third, ... pair a swap, 1 for the others; an integer scalar.
        uniform: Uniforms, (pairs, ...).

    Example:
        >>> accepted_swaps(torch.ones(3, 1), torch.tensor(0), torch.rand(3, 1)).flatten().tolist()
        [True, False, True]
    """
    index = torch.arange(len(log_ratio), device=log_ratio.device).reshape(-1, *(1,) * (log_ratio.dim() - 1))
    return ((index - parity) % 2 == 0) & (uniform < log_ratio.exp())


def exchanged(values: Tensor, accepted: Tensor) -> Tensor:
    """Values (temperatures, ..., units) after neighbours changed places where they were to, (temperatures - 1, ...).

    Example:
        >>> exchanged(torch.arange(3).reshape(3, 1, 1), torch.tensor([[True], [False]])).flatten().tolist()
        [1, 0, 2]
    """
    # By shifts and not by an index, which machine code could not read in vectors.
    swaps = accepted.unsqueeze(-1)
    never = torch.zeros_like(swaps[:1])
    from_above = torch.where(torch.cat([swaps, never]), torch.cat([values[1:], values[:1]]), values)
    return torch.where(torch.cat([never, swaps]), torch.cat([values[-1:], values[:-1]]), from_above)
