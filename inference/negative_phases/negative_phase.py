"""Negative phases: how the gradient of an intractable log Z is supplied, as an effect handler."""

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pyro.distributions import MaskedDistribution
from pyro.poutine.messenger import Messenger
from torch import Size, Tensor

from ppgen.distributions import LayerConditional, UndirectedDistribution
from ppgen.distributions.machines.layered_energy import EVEN, ODD, LayeredEnergy
from ppgen.distributions.machines.samplers import Sampler
from ppgen.distributions.machines.undirected import Surrogate
from ppgen.distributions.units.units import join_layers
from ppgen.inference.pyro_loss import PyroLoss
from ppgen.inference.state_roles import Roles, check_roles
from ppgen.inference.structure.traces import replace_law, undirected_law

State = dict[str, Tensor]

PHASE = "negative_phase"  # under this name the steps of phases that follow a schedule are kept


@dataclass(frozen=True)
class NegativePhase(PyroLoss):
    """How log Z of an undirected site, or its gradient, is supplied in training.

    A value without state; chains and offsets are made when it is bound to a pair.

    Attributes:
        normalised: Whether objective values are normalised: True if log Z itself is known.
        of_values: Whether what stands in the place of log Z is a function of each value, `normaliser`. Then the machine
            must be observed, or its latent side summed out: values that a guide draws are no data.
    """

    normalised: ClassVar[bool] = False
    of_values: ClassVar[bool] = False

    @property
    def scheduled(self) -> bool:
        """Whether the phase follows a schedule, and so is another one after some steps."""
        return False

    def at(self, steps: int) -> "NegativePhase":
        """The phase after some steps, with Python numbers that a traced step freezes; itself by default."""
        return self

    def until_change(self, steps: int) -> float:
        """Steps, from a given one on, in which the phase stays as it is."""
        return math.inf

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the tensors that a state to go on from must hold; none by default."""
        return ()

    @property
    def roles(self) -> Roles:
        """What each tensor of its state is to many processes: `"chains"`, `"common"` or `"own"`; all must be named."""
        return {}

    def check(self, law: UndirectedDistribution) -> None:
        """Raise ValueError, before the first step, if the phase cannot serve a law; it serves any by default."""

    @abstractmethod
    def init(self, law: UndirectedDistribution, value: Tensor) -> State:
        """State before the first step, for the law and the values at a site."""

    @abstractmethod
    def surrogate(self, law: UndirectedDistribution, value: Tensor, state: State) -> tuple[Tensor, State]:
        """A scalar in the place of log Z, whose gradient is that of log Z or an estimate of it, and the next state.

        Args:
            law: The law at the site; `unnormalised` is differentiable in its weights.
            value: Values at the site, (..., rows, units), from data or from the guide.
            state: State left by the last step.
        """

    def observe(self, law: UndirectedDistribution, even: Tensor, odd: Tensor, state: State) -> State:
        """State after the positive phase of a step has been seen; unchanged by default.

        Args:
            law: The law at the site.
            even: Values or means of the even side in the positive phase, (..., units).
            odd: Values or means of the odd side in the positive phase.
            state: State that `surrogate` left.
        """
        return state

    def fantasies(self, law: UndirectedDistribution, value: Tensor, state: State, count: int) -> Tensor:
        """Draws of the even side for a sleep phase, (count, even units): one sweep from the values, by default.

        Args:
            law: The law at the site.
            value: Values at the site in the positive phase, (..., units).
            state: State that `surrogate` left.
            count: Number of draws.
        """
        return swept_from_values(law, value, count, 1)

    def normaliser(self, law: UndirectedDistribution, value: Tensor) -> Tensor:
        """What stands in the place of log Z for each value, (..., units) -> (...,), nats, if that depends on them."""
        raise TypeError(f"{type(self).__name__} has one log Z for all values.")

    def value(self, law: UndirectedDistribution) -> Tensor | float:
        """What is attached when a value is wanted and no gradient: log Z if it is known, else 0."""
        return 0.0


class NegativePhaseHandler(Messenger):
    """Handler under which undirected sites of unknown log Z get the surrogate of a negative phase.

    Args:
        phases: Negative phase by site name.
        states: State by site name; sites without one start afresh.
        training: Whether chains move and gradients are supplied; else values only.
        log_partitions: log Z by site, where values shall be normalised by it.
    """

    def __init__(
        self,
        phases: Mapping[str, NegativePhase],
        states: dict[str, State],
        training: bool,
        log_partitions: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.log_partitions = log_partitions or {}
        self.phases, self.states, self.training = phases, states, training
        self.laws: dict[str, tuple[UndirectedDistribution, Tensor]] = {}
        self._layers: list[tuple[LayerConditional, Tensor]] = []
        self._ended = False

    def end(self) -> dict[str, tuple[UndirectedDistribution, Tensor]]:
        """Tell each negative phase what its machine's positive phase was, once the model has run.

        What runs afterwards is a sleep phase, in which the model draws fantasies.

        Returns:
            The undirected laws that were met, each with the values there, by site.
        """
        self._ended = True
        for name, (law, value) in self.laws.items() if self.training else ():
            if self.phases[name].of_values:
                continue  # nothing is observed beside the values
            energy = law.base_energy
            side = EVEN if law.from_odd_side else ODD
            known = {fn.layer: layer for fn, layer in self._layers if fn.machine_energy is energy}
            missing = [layer for layer in energy.sides[side] if layer not in known]
            if not law.holds_one_side or len(missing) == len(energy.sides[side]):
                even, odd = law.side_means(value)
            else:
                # The other side as the model draws or observes it; layers that it sums out stand by their means.
                means = energy.split(energy.mean_opposite(value, 1 - side), side) if missing else known
                other = join_layers([known.get(layer, means[layer]) for layer in energy.sides[side]])
                own = value if missing or side == ODD else energy.mean_opposite(other, side)
                even, odd = (other, own) if side == EVEN else (own, other)
            phase = self.phases[name]
            self.states[name] = phase.observe(law, even, odd, self.states[name])
            if unknown := self.states[name].keys() - phase.roles.keys():
                check_roles(phase, sorted(unknown), phase.roles)
        return self.laws

    def _pyro_sample(self, msg: Any) -> None:
        law = undirected_law(msg["fn"])
        if law is None and self.laws:
            self._note_layer(msg)
        if law is None or law.attached is not None or msg["name"] not in self.phases:
            return
        name, phase, value = msg["name"], self.phases[msg["name"]], msg["value"]
        if value is None and self._ended and name in self.laws:
            msg["fn"] = replace_law(msg["fn"], law.with_sampler(self._sampler(name)))
            return
        if value is None:
            raise ValueError(
                f"Site {name!r} is undirected and neither observed nor drawn by the guide, so it cannot be trained. "
                "Observe it, or draw it in the guide."
            )
        if phase.of_values and name not in self.log_partitions:
            self.states.setdefault(name, {})
            attached = law.with_surrogate(_for_values(name, phase, law, bool(msg["is_observed"])))
        elif not self.training:
            known = name in self.log_partitions
            attached = law.with_surrogate(self.log_partitions[name] if known else phase.value(law))
        else:
            if name not in self.states:
                self.states[name] = phase.init(law, value.detach())
            surrogate, self.states[name] = phase.surrogate(law, value.detach(), self.states[name])
            attached = law.with_surrogate(surrogate)
        self.laws[name] = (law, value.detach())
        msg["fn"] = replace_law(msg["fn"], attached)

    def _sampler(self, name: str) -> Sampler:
        """A sampler that gives the fantasies of a site's negative phase."""
        law, value = self.laws[name]

        def sampler(energy: LayeredEnergy, shape: Size) -> tuple[Tensor, Tensor]:
            even = self.phases[name].fantasies(law, value, self.states[name], shape.numel())
            return even.reshape(*shape, -1), energy.sample_opposite(even, EVEN).reshape(*shape, -1)

        return sampler

    def _note_layer(self, msg: Any) -> None:
        """Keep the values of a layer that is drawn or observed given the layer under a negative phase."""
        fn = msg["fn"]
        while isinstance(fn, MaskedDistribution):
            fn = fn.base_dist
        if isinstance(fn, LayerConditional) and msg["value"] is not None:
            self._layers.append((fn, msg["value"].detach()))


def _for_values(name: str, phase: NegativePhase, law: UndirectedDistribution, observed: bool) -> Surrogate:
    """The normaliser of a phase at a site, for observed values only."""

    def normaliser(asked: UndirectedDistribution, value: Tensor) -> Tensor:
        if not observed and asked.layer_names == law.layer_names:
            raise ValueError(
                f"{type(phase).__name__} needs the latent units at site {name!r} to be summed out, and they were not: "
                "the guide must draw them by machine.conditional(...) of the same weights from the very values that "
                "the model observes, in the same plates, without masks. Use inference.CD() or inference.PCD()."
            )
        return phase.normaliser(asked, value)

    return normaliser


@torch.no_grad()
def picked(rows: Tensor, count: int) -> Tensor:
    """Rows drawn with replacement, with equal probability: (rows, units) -> (count, units)."""
    return rows[torch.randint(len(rows), (count,), device=rows.device)]


@torch.no_grad()
def swept_from_values(law: UndirectedDistribution, value: Tensor, count: int, sweeps: int) -> Tensor:
    """Even side of chains after Gibbs sweeps from values at a site: (..., units) -> (count, even units)."""
    start = law.even_side(picked(value.flatten(0, -2), count))
    return law.base_energy.gibbs(start, EVEN, sweeps)
