"""The path from independent units to a Boltzmann machine along which annealed importance sampling moves."""

import torch
from torch import Tensor

from ppgen.distributions.layered_energy import EVEN, LayeredEnergy
from ppgen.distributions.units import Units


class BaseRatePath:
    r"""Tempered laws of the even side, the odd side summed out, from base rates (beta = 0) to the machine (beta = 1).

    .. math:: \log f_\beta(v) = v \cdot ((1 - \beta) b_A + \beta b) + \sum_j \log(1 + \exp(\beta (c + v^\top W)_j))

    written here for binary units. The base b_A holds the logits of the data mean, or the machine's own biases.

    References:
        | On the Quantitative Analysis of Deep Belief Networks (Salakhutdinov and Murray, 2008)

    Args:
        energy: The machine's energy.
        mean: Mean of the even side under the data, shape (even units,); the machine's own biases if None.
    """

    def __init__(self, energy: LayeredEnergy, mean: Tensor | None = None) -> None:
        self.energy = energy
        even = [energy.units[layer] for layer in energy.sides[EVEN]]
        means: list[Tensor | None] = [None] * len(even)
        if mean is not None:
            means = list(mean.split([units.size for units in even]))
        self.even = even
        self.base: list[Units] = [units.base_rate(each) for units, each in zip(even, means, strict=True)]
        self.odd = energy.opposite(EVEN)

    def log_base_partition(self) -> Tensor:
        """log Z at beta = 0, in nats: a float64 scalar."""
        total = torch.zeros((), dtype=torch.float64, device=self.energy.parameters()[0].device)
        for units in self.base:
            total = total + units.to(torch.float64).log_partition(_zeros(units, torch.float64))
        for units in self.odd:
            free = units.scaled(0.0).to(torch.float64)
            total = total + free.log_partition(_zeros(units, torch.float64))
        return total

    def sample_base(self, num_chains: int, generator: torch.Generator | None = None) -> Tensor:
        """Exact draws at beta = 0, one for each chain: (num_chains, even units)."""
        drawn = []
        for units in self.base:
            input = _zeros(units).expand(num_chains, -1)
            uniform = torch.rand(input.shape, dtype=input.dtype, device=input.device, generator=generator)
            drawn.append(units.sample(input, uniform))
        return drawn[0] if len(drawn) == 1 else torch.cat(drawn, -1)

    def log_density(self, values: Tensor, beta: float | Tensor) -> Tensor:
        """log f_beta in nats: (..., even units) -> (...,)."""
        parts = self.energy.split(values, EVEN).values()
        own = sum(
            -units.interpolated(base, beta).energy(part)
            for units, base, part in zip(self.even, self.base, parts, strict=True)
        )
        inputs = self.energy.inputs(values, EVEN)
        summed = sum(
            units.scaled(beta).log_partition(beta * input) for units, input in zip(self.odd, inputs, strict=True)
        )
        return own + summed  # type: ignore[return-value]

    def move(self, values: Tensor, beta: float | Tensor, generator: torch.Generator | None = None) -> Tensor:
        """One block Gibbs sweep that leaves f_beta invariant: (chains, even units) -> (chains, even units)."""
        odd = [
            units.scaled(beta).sample(beta * input, _uniform(input, generator))
            for units, input in zip(self.odd, self.energy.inputs(values, EVEN), strict=True)
        ]
        joined = odd[0] if len(odd) == 1 else torch.cat(odd, -1)
        even = [
            units.interpolated(base, beta).sample(beta * input, _uniform(input, generator))
            for units, base, input in zip(self.even, self.base, self.energy.inputs(joined, 1 - EVEN), strict=True)
        ]
        return even[0] if len(even) == 1 else torch.cat(even, -1)


def _zeros(units: Units, dtype: torch.dtype | None = None) -> Tensor:
    like = units.parameters()[0]
    return torch.zeros(units.size, dtype=dtype or like.dtype, device=like.device)


def _uniform(input: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.rand(input.shape, dtype=input.dtype, device=input.device, generator=generator)
