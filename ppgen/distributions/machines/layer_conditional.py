"""Law of one layer of a Boltzmann machine given its neighbours, as a Pyro distribution that knows where it belongs."""

from collections.abc import Mapping
from typing import Any

from pyro.distributions import TorchDistribution
from torch import Size, Tensor
from torch.distributions import constraints

from ppgen.distributions.machines.layered_energy import LayeredEnergy


class LayerConditional(TorchDistribution):
    """Independent units of a layer given the layers next to it; made by `BoltzmannMachine.conditional`.

    Args:
        law: The law of the layer's units, with one event dimension.
        energy: Energy of the machine.
        layer: Index of the layer.
        given: Values of its neighbours, by the index of their layer.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012 - torch reads it as a class attribute

    def __init__(self, law: TorchDistribution, energy: LayeredEnergy, layer: int, given: Mapping[int, Tensor]) -> None:
        self.law, self.machine_energy, self.layer, self.given = law, energy, layer, given
        super().__init__(law.batch_shape, law.event_shape, validate_args=False)

    @property
    def support(self) -> constraints.Constraint | None:
        """Values that the layer as a whole can have."""
        return self.law.support

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        """Whether the units can be reparameterised."""
        return bool(self.law.has_rsample)

    @property
    def mean(self) -> Tensor:
        """Mean of each unit: (..., units)."""
        return self.law.mean

    @property
    def mode(self) -> Tensor:
        """The most probable values: (..., units)."""
        energy, heard = self.machine_energy, self.given.items()
        inputs = [energy.sent(index, self.layer, energy.units[index].statistic(value)) for index, value in heard]
        return energy.units[self.layer].mode(sum(inputs[1:], inputs[0])).expand(*self.batch_shape, -1)

    @property
    def variance(self) -> Tensor:
        """Variance of each unit: (..., units)."""
        return self.law.variance

    def log_prob(self, value: Tensor) -> Tensor:
        """log p of a layer's values in nats: (..., units) -> (...,)."""
        return self.law.log_prob(value)

    def entropy(self) -> Tensor:
        """Entropy in nats: (...,)."""
        return self.law.entropy()

    def sample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008 - torch's own signature
        """Draws: `sample_shape + batch_shape + (units,)`."""
        return self.law.sample(sample_shape)

    def rsample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008 - torch's own signature
        """Reparameterised draws, where the units have them."""
        return self.law.rsample(sample_shape)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "LayerConditional":
        """Law of independent copies, as many as the larger `batch_shape` says."""
        return LayerConditional(self.law.expand(Size(batch_shape)), self.machine_energy, self.layer, self.given)
