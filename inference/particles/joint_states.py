"""Joint states of discrete sites as values of particles: what is given to a program that would draw them."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor

from ppgen.inference.structure.layout import Layout
from ppgen.inference.structure.traces import data_frame, element_law

MAX_STATES = 1024


@dataclass(frozen=True)
class JointStates:
    """All combinations of the values of some discrete sites, numbered from 0 on.

    Attributes:
        sizes: By site, how many values a variable has and how many variables there are in a row.

    Example:
        >>> JointStates({"b": (2, 4), "c": (3, 1)}).count
        48
    """

    sizes: Mapping[str, tuple[int, int]]

    @property
    def count(self) -> int:
        """Number of joint states."""
        return math.prod(values**variables for values, variables in self.sizes.values())

    def indices(self, name: str, number: Tensor) -> Tensor:
        """Which value each variable of a site has in the joint states of some numbers: (numbers, variables)."""
        stride = 1
        for site, (values, variables) in self.sizes.items():
            if site == name:
                break
            stride *= values**variables
        size, variables = self.sizes[name]
        steps = [stride * size**at for at in range(variables)]
        return torch.stack([number // step % size for step in steps], -1)

    @property
    def told(self) -> str:
        """The number as words for an error message; it may be too large for a float."""
        exponent = math.log10(self.count)
        return str(self.count) if exponent < 12 else f"about 10^{int(exponent)}"


def joint_states(names: Iterable[str], laws: Mapping[str, Any], layout: Layout) -> JointStates:
    """The joint states in a row of sites of finite support.

    Args:
        names: The sites.
        laws: Distribution at each of them.
        layout: Structure of the pair.

    Raises:
        ValueError: If a site has no finite set of values.
    """
    sizes = {}
    for name in names:
        law, element = laws[name], element_law(laws[name])
        if not getattr(element, "has_enumerate_support", False):
            raise ValueError(
                f"Site {name!r} cannot be summed over: {type(element).__name__} has no finite set of values. Use "
                'estimator="auto" there.'
            )
        plates = list(law.batch_shape)
        if layout.data_dim is not None and name not in layout.global_latents:
            plates[layout.data_dim] = 1
        variables = math.prod(plates) * math.prod(law.event_shape) // math.prod(element.event_shape)
        sizes[name] = (len(element.enumerate_support(expand=False)), variables)
    return JointStates(sizes)


def check_marginal(layout: Layout) -> None:
    """Raise where the rows are joined, so that no row has a sum of its own over the sites that are summed out."""
    if layout.marginalised and layout.coupled:
        raise ValueError(
            f"Site {layout.marginalised[0]!r} of the model, marked to be enumerated, is summed out in each row by "
            f"itself, but site {layout.coupled[0]!r} outside plate {layout.plate!r} joins the rows: it depends on "
            "latents inside of the plate. Draw the marked site in the guide."
        )


def states_one_by_one(layout: Layout) -> JointStates | None:
    """Joint states in a row of the sites of the model that are summed out, few enough to run one after another."""
    if not layout.marginalised:
        return None
    states = joint_states(layout.marginalised, layout.model_laws, layout)
    return states if states.count <= MAX_STATES else None


class Forced(Messenger):
    """Handler under which sites take all their joint states: particle s * num_particles + k has state s.

    Args:
        states: The joint states.
        layout: Structure of the pair.
        num_particles: Particles K of each state.
        shared: Sites whose draws are the same in all states.
        vectorized: Whether particles are run at once, in a plate; else one by one, in their order.
    """

    def __init__(
        self,
        states: JointStates,
        layout: Layout,
        num_particles: int,
        shared: frozenset[str] = frozenset(),
        vectorized: bool = True,
    ) -> None:
        super().__init__()
        self.states, self.layout, self.num_particles = states, layout, num_particles
        self.shared, self.vectorized = shared, vectorized
        self._runs: dict[str, int] = {}  # of the program so far, as each site has counted them

    def _pyro_sample(self, msg: Any) -> None:
        name, fn = msg["name"], msg["fn"]
        if msg["is_observed"] or msg["value"] is not None or not (name in self.shared or name in self.states.sizes):
            return
        if self.vectorized and len(fn.batch_shape) < -self.layout.particle_dim:
            return  # one particle is tried alone, to explain an error
        if name in self.shared:
            if self.vectorized:
                value = fn(*msg["args"], **msg["kwargs"])[: self.num_particles]
                msg["value"] = value.repeat((self.states.count,) + (1,) * (value.dim() - 1))
                msg["done"] = True
            return
        msg["value"], msg["done"] = self._value(msg), True

    def _value(self, msg: Any) -> Tensor:
        name, fn = msg["name"], msg["fn"]
        element = element_law(fn)
        support = element.enumerate_support(expand=False)
        support = support.reshape(len(support), *element.event_shape)
        if self.vectorized:
            number = torch.arange(self.states.count * self.num_particles, device=support.device) // self.num_particles
        else:
            run = self._runs.get(name, 0)
            self._runs[name] = run + 1
            number = torch.full((1,), run // self.num_particles % self.states.count, device=support.device)
        plates = list(fn.batch_shape[1:] if self.vectorized else fn.batch_shape)
        if self.layout.data_dim is not None and data_frame(msg, self.layout.plate) is not None:
            plates[self.layout.data_dim] = 1
        value = support[self.states.indices(name, number)].reshape(len(number), *plates, *fn.event_shape)
        return (value if self.vectorized else value[0]).expand(fn.shape())
