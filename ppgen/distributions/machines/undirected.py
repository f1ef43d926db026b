"""Pyro distributions known up to their normaliser: what they share, whatever their energy."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Size, Tensor
from torch.distributions import constraints

from ppgen.checks.shapes import broadcast_shapes
from ppgen.distributions.machines.layered_energy import LayeredEnergy
from ppgen.distributions.machines.samplers import Sampler, resolve_sampler

Surrogate = Callable[["UndirectedDistribution", Tensor], Tensor]


@dataclass(frozen=True)
class Attached:
    """A log-partition function and the versions of the weights that it was attached for; none for a surrogate.

    A surrogate may be a function of the law and the value whose density is asked for.
    """

    value: Tensor | float | Surrogate
    versions: tuple[tuple[int, int], ...] | None


class UndirectedDistribution(TorchDistribution):
    r"""A law exp(-F(x)) / Z whose log Z is unknown until it is attached.

    `log_prob` raises until `with_log_partition` has attached log Z (under a negative phase or an evaluation that is
    done by a handler), `sample` until `with_sampler` has attached a sampler. A log Z is tied to the weights that it
    was made for: after more training it raises.

    Args:
        energy: The layered energy; its weights have no batch dimensions.
        batch_shape: Shape of independent copies, as `expand` and plates make them.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012 - torch reads it as a class attribute
    has_rsample = False

    def __init__(
        self,
        energy: LayeredEnergy,
        event_size: int,
        batch_shape: Size = Size(),  # noqa: B008 - torch's own signature
        attached: Attached | None = None,
        sampler: Sampler | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self.base_energy = energy
        self.attached = attached
        self.sampler = sampler
        batch_shape = broadcast_shapes(Size(batch_shape), energy.batch_shape)
        super().__init__(Size(batch_shape), Size((event_size,)), validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint:
        """Values that the units can have; that of layers of different units is told by each layer's own."""
        units = [self.base_energy.units[layer] for layer in self._layers()]
        kinds = [layer.support for layer in units]
        if all(kind is kinds[0] for kind in kinds):
            return constraints.independent(kinds[0], 1)
        lengths = [layer.size for layer in units]
        return constraints.independent(constraints.cat(kinds, -1, lengths), 0)

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Names of the layers of which an event consists."""
        return tuple(self.base_energy.names[layer] for layer in self._layers())

    def _layers(self) -> Sequence[int]:
        """Layers of which an event consists, in the order in which they stand there."""
        return range(len(self.base_energy.units))

    @abstractmethod
    def unnormalised(self, value: Tensor) -> Tensor:
        """log p(x) + log Z, in nats: (..., event) -> (...,)."""

    @abstractmethod
    def even_side(self, value: Tensor) -> Tensor:
        """Values of the even side that a chain can start from: the value itself or a draw given it."""

    @abstractmethod
    def side_means(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """Values of the even and of the odd side: as given, or their mean given the other."""

    @property
    def from_odd_side(self) -> bool:
        """Whether an event is the odd side alone."""
        return False

    @property
    def holds_one_side(self) -> bool:
        """Whether an event is one side alone, the other summed out."""
        return False

    @abstractmethod
    def _event(self, even: Tensor, odd: Tensor) -> Tensor:
        """Event of this law in a joint state."""

    def _own(self, value: Tensor) -> Tensor:
        """The value in the dtype of the weights, whose products with another one would fail."""
        return value.to(self.base_energy.parameters()[0].dtype)

    def _copy(self, **changes: Any) -> "UndirectedDistribution":
        new = type(self).__new__(type(self))
        new.__dict__.update(self.__dict__)
        new.__dict__.update(changes)
        return new

    def with_log_partition(self, log_partition: Any) -> "UndirectedDistribution":
        """The law with a log Z attached, so that log-probabilities are normalised.

        Args:
            log_partition: log Z in nats: a number, a tensor (its gradient is kept), or an estimate of
                `ppgen.evaluation.log_partition`.

        Raises:
            ValueError: If the estimate was made for other weights.
        """
        made_for = getattr(log_partition, "fingerprint", None)
        if made_for is not None and made_for != self.base_energy.fingerprint():
            raise ValueError(
                "The log Z given was estimated for other weights than this machine has now"
                + (", or for other data. " if self.base_energy.conditions() else ". ")
                + "Estimate it again: ppgen.evaluation.log_partition(pair)."
            )
        value = getattr(log_partition, "value", log_partition)
        if self.base_energy.batch_shape and made_for is not None:
            weight = self.base_energy.parameters()[0]
            value = torch.as_tensor(log_partition.per_datum["log_partition"], device=weight.device)
        return self._copy(attached=Attached(value, self.base_energy.versions()))

    def with_surrogate(self, surrogate: Tensor | float | Surrogate) -> "UndirectedDistribution":
        """The law with a tensor in the place of log Z of which only the gradient counts, or a function.

        Args:
            surrogate: The tensor; or from the law and a value, (..., event), what stands there in the place of log Z,
                (...,).
        """
        return self._copy(attached=Attached(surrogate, None))

    def with_sampler(self, sampler: "Sampler | str") -> "UndirectedDistribution":
        """The law with a sampler attached: `"exact"` (enumeration), or a `Sampler` such as `GibbsSampler`."""
        return self._copy(sampler=resolve_sampler(sampler))

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(x) in nats: (..., event) -> broadcast of (...,) and the batch shape.

        Raises:
            ValueError: If no log Z is attached, if it was attached for other weights, or, with validation on, if the
                value is not binary.
        """
        if self.attached is None:
            raise ValueError(
                "log Z of this Boltzmann machine is not known, so it has no normalised density. Train it under a "
                "negative phase (inference.PCD(), CD, ExactPartition), or attach an estimate: "
                "machine.with_log_partition(ppgen.evaluation.log_partition(pair)), "
                "and for a whole program: with inference.attach(log_partition=...):"
            )
        if self.attached.versions is not None and self.attached.versions != self.base_energy.versions():
            raise ValueError(
                "The weights of this Boltzmann machine changed after log Z was attached. Estimate it again: "
                "machine.with_log_partition(ppgen.evaluation.log_partition(pair))."
            )
        value = self._own(value)
        if self._validate_args:
            self._validate_sample(value)
        log_partition = self.attached.value
        if callable(log_partition):
            log_partition = log_partition(self, value)
        log_prob = self.unnormalised(value)
        log_prob = log_prob - (log_partition.to(log_prob) if isinstance(log_partition, Tensor) else log_partition)
        return log_prob.expand(broadcast_shapes(log_prob.shape, self.batch_shape))

    @torch.no_grad()
    def sample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008 - torch's own signature
        """Draws by the attached sampler: `sample_shape + batch_shape + event_shape`.

        Raises:
            ValueError: If no sampler is attached.
        """
        if self.sampler is None:
            raise ValueError(
                "This Boltzmann machine cannot be sampled directly. Attach a sampler: "
                'machine.with_sampler("exact") for small machines, machine.with_sampler(GibbsSampler(sweeps=1000)) '
                "else, and for a whole program: with inference.attach(sampler=...):"
            )
        even, odd = self.sampler(self.base_energy, Size(sample_shape) + self.batch_shape)
        return self._event(even, odd)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "UndirectedDistribution":
        """Law of independent copies, as many as the larger `batch_shape` says."""
        return self._copy(_batch_shape=Size(batch_shape))
