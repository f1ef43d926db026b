"""The path from independent units to a Boltzmann machine along which annealed importance sampling moves."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ppgen.checks.arguments import check_kind, check_tensors
from ppgen.distributions.machines.layered_energy import EVEN, ODD, LayeredEnergy
from ppgen.distributions.units.units import Units, draw_layers


class BaseRatePath:
    r"""Tempered laws of the even side, the odd side summed out, from base rates (beta = 0) to the machine (beta = 1).

    .. math:: \log f_\beta(v) = v \cdot ((1 - \beta) b_A + \beta b) + \sum_j \log(1 + \exp(\beta (c + v^\top W)_j))

    written here for binary units. The base b_A holds the logits of the data mean, or the machine's own biases.

    References:
        | On the Quantitative Analysis of Deep Belief Networks (Salakhutdinov and Murray, 2008)

    Args:
        energy: The machine's energy.
        mean: Mean of the even side under the data, shape (even units,), or of its first layer, the others then keeping
            their own biases, (units,); the machine's own biases if None.

    Raises:
        ValueError: If the mean has another shape.
    """

    def __init__(self, energy: LayeredEnergy, mean: Tensor | None = None) -> None:
        check_kind("energy", energy, LayeredEnergy, "the base_energy of a machine")
        if mean is not None:
            check_tensors(mean=mean)
        self.energy, self.mean = energy, mean
        even = [energy.units[layer] for layer in energy.sides[EVEN]]
        means: list[Tensor | None] = [None] * len(even)
        if mean is not None and mean.shape == (even[0].size,):
            means[0] = mean
        elif mean is not None and mean.shape == (energy.size(EVEN),):
            means = list(mean.split([units.size for units in even]))
        elif mean is not None:
            raise ValueError(
                f"mean must hold the means of the {even[0].size} units of layer {energy.names[0]!r}"
                + (f", or of all {energy.size(EVEN)} units of the even side" if len(even) > 1 else "")
                + f", in one dimension; got shape {tuple(mean.shape)}."
            )
        self.even = even
        self.base: list[Units] = [units.base_rate(each) for units, each in zip(even, means, strict=True)]
        self.odd = energy.opposite(EVEN)

    def rows(self, index: Tensor) -> "BaseRatePath":
        """The path of the data of given index, where the energy has a batch shape of one dimension."""
        return BaseRatePath(self.energy.rows(index), self.mean)

    def log_base_partition(self) -> Tensor:
        """log Z at beta = 0, in nats: float64, a scalar or one for each datum that the energy depends on."""
        total = torch.zeros((), dtype=torch.float64, device=self.energy.parameters()[0].device)
        for units in self.base:
            total = total + units.to(torch.float64).log_partition(_zeros(units, torch.float64))
        for units in self.odd:
            free = units.scaled(0.0).to(torch.float64)
            total = total + free.log_partition(_zeros(units, torch.float64))
        return total

    def sample_base(self, num_chains: int, generator: torch.Generator | None = None) -> Tensor:
        """Exact draws at beta = 0, one for each chain (of each datum): (num_chains, ..., even units)."""
        lead = (num_chains, *self.energy.batch_shape)
        return draw_layers(self.base, [_zeros(units).expand(*lead, -1) for units in self.base], generator=generator)

    def log_density(self, values: Tensor, beta: float | Tensor, inputs: Sequence[Tensor] | None = None) -> Tensor:
        """log f_beta in nats: (..., even units) -> (...,); `inputs` of the odd layers, if they are known already."""
        parts = self.energy.split(values, EVEN).values()
        own = sum(
            -units.interpolated(base, beta).energy(part)
            for units, base, part in zip(self.even, self.base, parts, strict=True)
        )
        inputs = self.energy.inputs(values, EVEN) if inputs is None else inputs
        summed = sum(
            units.scaled(beta).log_partition(beta * input) for units, input in zip(self.odd, inputs, strict=True)
        )
        return own + summed  # type: ignore[return-value]

    def move(self, values: Tensor, beta: float | Tensor, generator: torch.Generator | None = None) -> Tensor:
        """One block Gibbs sweep that leaves f_beta invariant: (chains, even units) -> (chains, even units)."""
        tempered = [units.scaled(beta) for units in self.odd]
        odd = draw_layers(tempered, [beta * input for input in self.energy.inputs(values, EVEN)], generator=generator)
        kept = [units.interpolated(base, beta) for units, base in zip(self.even, self.base, strict=True)]
        return draw_layers(kept, [beta * input for input in self.energy.inputs(odd, ODD)], generator=generator)


def _zeros(units: Units, dtype: torch.dtype | None = None) -> Tensor:
    like = units.parameters()[0]
    return torch.zeros(units.size, dtype=dtype or like.dtype, device=like.device)
