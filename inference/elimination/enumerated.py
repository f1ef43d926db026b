"""The handler under which marked sites take all their values, each along a dimension of its own."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor

from ppgen.inference.structure.traces import element_law, samples_asked

MAX_VALUES = 1024  # of one site: of its variables together
MAX_DRAWS = 1_000_000  # numbers that one site holds whose draws are combined with those of sites before it


@dataclass(frozen=True)
class Variable:
    """A site that is summed over.

    Attributes:
        name: Name of the site.
        dim: Dimension of the log-densities along which its values lie (negative); 0 if it has but one value.
        support: Its values: (values, *event shape); of drawn ones, as they lie in the program: (draws, ...).
        drawn: Whether its values are draws, each of which counts alike, and not all that there are.
        has_path: Whether drawn values have a gradient of their own.
    """

    name: str
    dim: int
    support: Tensor
    drawn: bool = False
    has_path: bool = False

    @property
    def size(self) -> int:
        """Number of its values."""
        return len(self.support)


class Enumerated(Messenger):
    """Handler under which sites take all their values at once, left of plates and particles.

    Dimensions are handed out as in Pyro: each site has one of its own, which inside of `pyro.markov` is used again as
    soon as the site is out of reach.

    Args:
        names: The sites.
        first_dim: The first dimension that is free for values, left of the deepest plate and of particles (negative).
    """

    def __init__(self, names: Collection[str], first_dim: int) -> None:
        super().__init__()
        self.names, self.first_dim = names, first_dim
        self.variables: dict[str, Variable] = {}
        self.dims: dict[str, dict[int, str]] = {}  # by site, which variable lies at which dimension of its log-density
        self._lasting: dict[int, str] = {}  # variables outside of pyro.markov, which stay in reach
        self._carried: dict[str, dict[int, str]] = {}  # by site, the variables at the dimensions of its value
        self._depths: dict[str, int] = {}
        self._values: dict[Any, tuple[Tensor, Tensor]] = {}

    def _pyro_sample(self, msg: Any) -> None:
        name, scope = msg["name"], msg["infer"].get("_markov_scope")
        reach = dict(self._lasting)
        if scope is not None:
            for other, depth in scope.items():
                if self._depths.get(other) == depth:  # its own loop is left, or it is in reach of this one
                    reach.update(self._carried.get(other, {}))
            self._depths[name] = msg["infer"]["_markov_depth"]
        self.dims[name] = reach
        known = self.variables.get(name)
        if known is not None and known.dim and msg["value"] is not None:  # replayed, as the model's of the guide
            reach[known.dim] = name
        if name not in self.names or msg["is_observed"] or msg["value"] is not None:
            return
        count = samples_asked(msg)
        if not count and self._is_constant(msg["fn"]):
            support = site_values(name, msg["fn"])
            self.variables[name] = Variable(name, 0, support)
            msg["value"], msg["done"] = support[0], True
            return
        used = [*reach, *(variable.dim for variable in self.variables.values())] if scope is None else [*reach]
        dim = min([self.first_dim + 1, *used]) - 1
        if scope is not None:
            dim = next(free for free in range(self.first_dim, dim - 1, -1) if free not in reach)
        self._check_free(msg, dim)
        support, value = _draws(msg, count, dim) if count else self._value(name, msg["fn"], dim)
        self.variables[name] = Variable(name, dim, support, count > 0, msg["fn"].has_rsample)
        reach[dim] = name
        if scope is None:
            self._lasting[dim] = name
        msg["value"], msg["done"] = value, True

    def _pyro_post_sample(self, msg: Any) -> None:
        value, fn = msg["value"], msg["fn"]
        if not isinstance(value, Tensor) or msg["name"] not in self.dims:
            return
        shape = value.shape[: value.dim() - getattr(fn, "event_dim", 0)]
        reach = self.dims[msg["name"]]
        self._carried[msg["name"]] = {dim: name for dim, name in reach.items() if len(shape) >= -dim and shape[dim] > 1}

    def _value(self, name: str, fn: Any, dim: int) -> tuple[Tensor, Tensor]:
        """Values of a site, and the same along a dimension; one tensor for all categories of one number there."""
        element = element_law(fn)
        key = None
        if isinstance(element, torch.distributions.Categorical) and not fn.event_shape:
            key = (element._num_events, dim)
        if key not in self._values:
            support = site_values(name, fn)
            value = support.reshape(len(support), *(1,) * (-dim - 1), *fn.event_shape)
            if key is None:
                return support, value
            self._values[key] = support, value
        return self._values[key]

    @staticmethod
    def _is_constant(fn: Any) -> bool:
        """Whether a site has but one value, which needs no dimension."""
        element = element_law(fn)
        if isinstance(element, torch.distributions.Categorical):
            return bool(element._num_events == 1)
        support = getattr(element, "enumerate_support", None)
        return support is not None and len(support(expand=False)) == 1

    def _check_free(self, msg: Any, dim: int) -> None:
        """Raise if the law of a site holds values of a variable that is out of reach where its own shall lie."""
        shape = msg["fn"].batch_shape
        if len(shape) >= -dim and shape[dim] > 1:
            raise ValueError(out_of_reach(msg["name"], tuple(shape)))


def _draws(msg: Any, count: int, dim: int) -> tuple[Tensor, Tensor]:
    """Draws of a site for each value of the sites that its law depends on, and the same along a dimension."""
    fn = msg["fn"]
    size = count * math.prod(fn.shape())
    if size > MAX_DRAWS:
        raise ValueError(
            f"Site {msg['name']!r} is marked to be drawn num_samples={count} times for each of the draws that its law "
            f"depends on, {size:,} numbers in all, more than {MAX_DRAWS:,}: draws of sites after each other multiply. "
            f"Take the marks away and inference.ELBO(num_particles={count}) instead, or mark fewer sites."
        )
    draws: Tensor = fn(*msg["args"], sample_shape=torch.Size([count]), **msg["kwargs"])
    batch, event = tuple(fn.batch_shape), tuple(fn.event_shape)
    if len(batch) >= -dim:  # there is one entry where they shall lie
        value = draws.transpose(0, 1 + len(batch) + dim).squeeze(0)
    else:
        value = draws.reshape(count, *(1,) * (-dim - 1 - len(batch)), *batch, *event)
    return draws, value


def out_of_reach(name: str, shape: tuple[int, ...]) -> str:
    """Why the shape of a site's log-density is not explained by its plates and the variables in its reach."""
    return (
        f"Site {name!r} has log-densities of shape {shape}, which its plates and the marked sites in its reach do not "
        "explain: inside of pyro.markov a site may depend on the marked sites of the last `history` steps alone, and "
        "after the loop on none of them. Give the loop a longer history, pyro.markov(range(T), history=2), or take "
        "pyro.markov away; index tables by the values of marked sites (table[z]) and do not ask for them (if z == 1)."
    )


def site_values(name: str, fn: Any) -> Tensor:
    """All values of a site in one row: (values, *event shape); all combinations of variables in its event dimensions.

    Raises:
        ValueError: If it has no finite set of values, or too many.
    """
    element = element_law(fn)
    if not getattr(element, "has_enumerate_support", False):
        raise ValueError(f"Site {name!r} cannot be summed over: {type(element).__name__} has no finite set of values.")
    support = element.enumerate_support(expand=False)
    variables = math.prod(fn.event_shape) // math.prod(element.event_shape)
    if element.event_shape == fn.event_shape:
        values: Tensor = support.reshape(len(support), *fn.event_shape)
        return values
    count = len(support) ** variables
    if count > MAX_VALUES:
        exponent = math.log10(count)
        told = str(count) if exponent < 12 else f"about 10^{int(exponent)}"
        raise ValueError(
            f"Site {name!r} holds {variables} variables of {len(support)} values in its event dimensions, which have "
            f"{told} joint states for each datum, more than {MAX_VALUES}. Draw them in the guide and take an "
            "estimator such as inference.LeaveOneOut() there, or put them into a plate (without .to_event), where each "
            "is summed out by itself."
        )
    number = torch.arange(count, device=support.device)
    steps = [len(support) ** at for at in range(variables)]
    chosen = torch.stack([number // step % len(support) for step in steps], -1)
    return support.reshape(len(support), *element.event_shape)[chosen].reshape(count, *fn.event_shape)
